/* ledger.c: opens and closes a ledger; the pause before a call that met a deadlock is sent again.
 *
 * One timer serves all calls that wait: when it fires they all go again. Short pauses with jitter
 * part two batches that met. */
#include "ledger/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/pg.h"
#include "ledger/call.h"

struct ledger {
    struct loop *loop;
    struct pg *pg;
    char *namespace;
    char *control, *submitted, *changed; /* channels */
    struct ledger_hooks hooks;
    struct list again; /* struct call.node */
    struct timer pause;
    bool pausing;
};

static void on_connected(void *arg);
static void on_lost(void *arg, const struct err *why);
static void on_notified(void *arg, const char *channel, const char *payload);
static void on_pause_over(struct timer *timer);
static void on_pause_closed(struct timer *timer);

struct ledger *ledger_new(struct loop *loop, const char *conninfo, const char *namespace,
                          const char *application, const struct ledger_hooks *hooks)
{
    struct ledger *ledger = xcalloc(1, sizeof *ledger);
    ledger->loop = loop;
    ledger->namespace = xstrdup(namespace);
    ledger->control = xasprintf("%s_control", namespace);
    ledger->submitted = xasprintf("%s_submitted", namespace);
    ledger->changed = xasprintf("%s_changed", namespace);
    if (hooks) ledger->hooks = *hooks;
    list_init(&ledger->again);
    timer_init(loop, &ledger->pause, on_pause_over);
    const struct pg_options options = {
        .conninfo = conninfo, .namespace = namespace, .application = application, .index_plan = true
    };
    const struct pg_hooks pg_hooks = {
        .arg = ledger, .connected = on_connected, .lost = on_lost, .notified = on_notified
    };
    ledger->pg = pg_new(loop, &options, &pg_hooks);
    return ledger;
}

static void on_connected(void *arg)
{
    struct ledger *ledger = arg;
    if (ledger->hooks.connected) ledger->hooks.connected(ledger->hooks.arg);
}

static void on_lost(void *arg, const struct err *why)
{
    struct ledger *ledger = arg;
    if (ledger->hooks.lost) ledger->hooks.lost(ledger->hooks.arg, why);
}

static void on_notified(void *arg, const char *channel, const char *payload)
{
    struct ledger *ledger = arg;
    if (strcmp(channel, ledger->control) == 0 && ledger->hooks.control) {
        ledger->hooks.control(ledger->hooks.arg);
    } else if (strcmp(channel, ledger->submitted) == 0 && ledger->hooks.submitted) {
        ledger->hooks.submitted(ledger->hooks.arg, strtoll(payload, NULL, 10));
    } else if (strcmp(channel, ledger->changed) == 0 && ledger->hooks.changed) {
        ledger->hooks.changed(ledger->hooks.arg);
    }
}

/* What waits for its next try goes to pg once more, which ends it with everything else. */
void ledger_free(struct ledger *ledger)
{
    if (!ledger) return;
    on_pause_over(&ledger->pause);
    ledger->hooks = (struct ledger_hooks){ 0 };
    pg_free(ledger->pg);
    timer_close(&ledger->pause, on_pause_closed);
}

static void on_pause_closed(struct timer *timer)
{
    struct ledger *ledger = container_of(timer, struct ledger, pause);
    free(ledger->namespace);
    free(ledger->control);
    free(ledger->submitted);
    free(ledger->changed);
    free(ledger);
}

bool ledger_is_up(const struct ledger *ledger) { return pg_is_up(ledger->pg); }

void ledger_listen(struct ledger *ledger)
{
    if (ledger->hooks.control) pg_listen(ledger->pg, ledger->control);
    if (ledger->hooks.submitted) pg_listen(ledger->pg, ledger->submitted);
    if (ledger->hooks.changed) pg_listen(ledger->pg, ledger->changed);
}

void ledger_again(struct ledger *ledger, struct list *node, int tries)
{
    list_push_back(&ledger->again, node);
    if (ledger->pausing) return;
    ledger->pausing = true;
    int64_t most_ms = (int64_t)4 << tries;
    timer_start(&ledger->pause, (1 + ident_random().bytes[0] % most_ms) * 1000);
}

static void on_pause_over(struct timer *timer)
{
    struct ledger *ledger = container_of(timer, struct ledger, pause);
    struct list due;
    list_init(&due);
    list_move_all(&due, &ledger->again);
    ledger->pausing = false;
    LIST_EACH (it, &due) {
        struct call *call = container_of(it, struct call, node);
        list_del(it);
        call_send(call, call->statement);
    }
}

struct pg *ledger_pg(struct ledger *ledger) { return ledger->pg; }

struct loop *ledger_loop(struct ledger *ledger) { return ledger->loop; }

const char *ledger_namespace(const struct ledger *ledger) { return ledger->namespace; }
