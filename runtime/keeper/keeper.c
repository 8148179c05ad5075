/* keeper.c: election and the rounds of duties.
 *
 *   every second    beat; as leader: epoch, pulse
 *   every 5 s       sweep and expire, absent hints, unknown tasks, paused queues, figures;
 *                   also when Redis is reachable again
 *   every hour      partitions ahead, pruning
 *   at run_at       push what became due
 *
 * Leadership is a row whose counter must move; who sees it still for 4 s on its own clock takes it
 * by compare-and-set on that counter. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "keeper/keeper_private.h"
#include "task/params.h"

#define TICK_US       1000000
#define STILL_US      4000000
#define ROUND_US      5000000
#define UNKNOWN_US    30000000
#define HOUR_US       (3600 * INT64_C(1000000))
#define RECENT_US     15000000 /* rows whose submit or settle may have died before the push */
#define STEP_US       500000   /* less is the time that an answer takes */
#define GIVE_THEM_US  1000000  /* time for the submitter to push its hint itself */
#define PAGES_A_ROUND 20
#define ALL_PAGES     INT32_MAX

static void on_tick(struct timer *timer);
static void on_beat(void *arg, const struct keeper_state *state, const struct err *err);
static void follow_clock(struct keeper *keeper, int64_t now_us);
static void watch_leader(struct keeper *keeper, const struct keeper_state *state);
static void lead(struct keeper *keeper);
static void duties(struct keeper *keeper);
static void ask_epoch(struct keeper *keeper);
static void on_epoch(void *arg, const char *epoch, const struct err *err);
static void reconcile(struct keeper *keeper);
static void on_epoch_begun(void *arg, const struct err *err);
static void reconcile_next(struct keeper *keeper);
static void on_full_done(struct walk *walk, bool ok, bool exhausted);
static void on_epoch_set(void *arg, const struct err *err);
static void tell_reconciled(struct keeper *keeper);
static void round_of_duties(struct keeper *keeper);
static void look_for_unknown(struct keeper *keeper);
static void on_swept(void *arg, const struct ledger_hints *hints, const struct err *err);
static void on_unknown(void *arg, int64_t count, bool unknown, const struct err *err);
static void on_paused(void *arg, const char *json, size_t len, const struct err *err);
static void on_absent_done(struct walk *walk, bool ok, bool exhausted);
static void on_recent_done(struct walk *walk, bool ok, bool exhausted);
static void hour_of_duties(struct keeper *keeper);
static void on_partitions(void *arg, int64_t count, bool unknown, const struct err *err);
static void on_pruned(void *arg, const char *json, size_t len, const struct err *err);
static void on_due_timer(struct timer *timer);
static void on_due_done(struct walk *walk, bool ok, bool exhausted);
static void on_due_closed(struct timer *timer);
static void on_tick_closed(struct timer *timer);

struct keeper *keeper_new(struct loop *loop, struct ledger *ledger, struct ledger *scans,
                          struct broker *broker, const struct keeper_options *options)
{
    struct keeper *keeper = xcalloc(1, sizeof *keeper);
    keeper->loop = loop;
    keeper->ledger = ledger;
    keeper->scans = scans;
    keeper->broker = broker;
    keeper->options = *options;
    keeper->seen_counter = -1;
    keeper->look_from_us = INT64_MAX;
    keeper->due_walk = (struct walk){ keeper, ledger, WALK_PUSH, .done = on_due_done };
    keeper->full_walk = (struct walk){ keeper, scans, WALK_PUSH, .done = on_full_done };
    keeper->absent_walk = (struct walk){ keeper, ledger, WALK_ABSENT, .done = on_absent_done };
    keeper->recent_walk = (struct walk){ keeper, ledger, WALK_ABSENT, .done = on_recent_done };
    timer_init(loop, &keeper->tick, on_tick);
    timer_init(loop, &keeper->due, on_due_timer);
    timer_start(&keeper->tick, 0);
    return keeper;
}

void keeper_stop(struct keeper *keeper)
{
    if (!keeper || keeper->closing) return;
    if (keeper->leads) ledger_keeper_resign(keeper->ledger, &keeper->options.me, NULL, NULL);
    keeper->closing = true;
    keeper->leads = false;
    timer_close(&keeper->due, on_due_closed);
}

static void on_due_closed(struct timer *timer)
{
    timer_close(&container_of(timer, struct keeper, due)->tick, on_tick_closed);
}

static void on_tick_closed(struct timer *timer)
{
    struct keeper *keeper = container_of(timer, struct keeper, tick);
    keeper->closed = true;
    if (keeper->freed) free(keeper);
}

void keeper_free(struct keeper *keeper)
{
    if (!keeper) return;
    keeper_stop(keeper);
    pulse_close(&keeper->pulse);
    keeper->freed = true;
    if (keeper->closed) free(keeper);
}

bool keeper_leads(const struct keeper *keeper) { return keeper->leads; }

/* Postgres' clock, as far as the last page told: by a clock of mine that nobody sets. */
static int64_t ledger_now_us(const struct keeper *keeper)
{
    return clock_boot_us() + keeper->skew_us;
}

/* ---- election ---- */

static void on_tick(struct timer *timer)
{
    struct keeper *keeper = container_of(timer, struct keeper, tick);
    if (keeper->closing) return;
    timer_start(timer, TICK_US);
    if (keeper->beating) return;
    int64_t still_us = clock_boot_us() - keeper->seen_since_us;
    bool stale = !keeper->leads && keeper->seen_counter >= 0 && still_us >= STILL_US;
    keeper->beating = true;
    ledger_keeper_beat(keeper->ledger, &keeper->options.me, stale ? keeper->seen_counter : -1,
                       on_beat, keeper);
}

static void on_beat(void *arg, const struct keeper_state *state, const struct err *err)
{
    struct keeper *keeper = arg;
    keeper->beating = false;
    if (keeper->closing) return;
    if (err) {
        pulse_forget(keeper); /* what Postgres did not answer proves nothing */
        keeper->seen_counter = -1;
        return;
    }
    if (!state->is_me) {
        watch_leader(keeper, state);
        return;
    }
    if (!keeper->leads) lead(keeper);
    follow_clock(keeper, state->now_us);
    duties(keeper);
}

/* When Postgres' clock was set, what waits may be due. */
static void follow_clock(struct keeper *keeper, int64_t now_us)
{
    int64_t step_us = now_us - ledger_now_us(keeper);
    if (step_us > -STEP_US && step_us < STEP_US) return;
    keeper->skew_us += step_us;
    keeper_wake(keeper, 0);
}

static void watch_leader(struct keeper *keeper, const struct keeper_state *state)
{
    if (keeper->leads) log_warn("another keeper leads now");
    keeper->leads = false;
    if (keeper->seen_counter != state->counter) {
        bool moves = keeper->seen_counter >= 0; /* it lives: what it says of Redis holds */
        keeper->seen_counter = state->counter;
        keeper->seen_since_us = clock_boot_us();
        if (moves && !keeper->told) ask_epoch(keeper);
    }
    int64_t left_us = keeper->seen_since_us + STILL_US - clock_boot_us();
    if (left_us < TICK_US) timer_start(&keeper->tick, left_us);
}

static void lead(struct keeper *keeper)
{
    log_debug("keeper: leading");
    keeper->leads = true;
    keeper->epoch[0] = '\0';
    keeper->round_us = keeper->hour_us = 0;
    pulse_forget(keeper);
    ledger_keeper_limit(keeper->ledger, keeper->options.max_params, NULL, NULL);
    keeper_wake(keeper, 0);
}

static void duties(struct keeper *keeper)
{
    int64_t now_us = clock_boot_us();
    pulse_beat(keeper);
    ask_epoch(keeper);
    bool up = broker_is_up(keeper->broker);
    bool is_back = up && !keeper->broker_was_up; /* what was submitted meanwhile has no hint */
    keeper->broker_was_up = up;
    if (is_back || now_us - keeper->round_us >= ROUND_US) {
        keeper->round_us = now_us;
        round_of_duties(keeper);
    }
    if (now_us - keeper->hour_us >= HOUR_US || !keeper->hour_us) {
        keeper->hour_us = now_us;
        hour_of_duties(keeper);
    }
}

void keeper_push(struct keeper *keeper, const struct ledger_hints *hints)
{
    if (keeper->closing) return;
    if (hints->count) broker_push(keeper->broker, hints->hints, hints->count, NULL, NULL);
    if (hints->next_run_at_us) keeper_wake(keeper, hints->next_run_at_us);
}

/* ---- the epoch: has Redis lost data? ---- */

static void ask_epoch(struct keeper *keeper)
{
    if (keeper->epoch_asked || !broker_is_up(keeper->broker)) return;
    keeper->epoch_asked = true;
    broker_epoch_get(keeper->broker, on_epoch, keeper);
}

void keeper_saw_epoch(struct keeper *keeper, const char *epoch)
{
    if (keeper->leads && strcmp(epoch, keeper->epoch) != 0) ask_epoch(keeper);
}

static void on_epoch(void *arg, const char *epoch, const struct err *err)
{
    struct keeper *keeper = arg;
    keeper->epoch_asked = false;
    if (err || keeper->closing) return;
    if (!keeper->leads) {
        if (epoch[0]) tell_reconciled(keeper);
    } else if (!keeper->epoch[0] || strcmp(epoch, keeper->epoch) != 0) {
        reconcile(keeper);
    }
}

/* Everything due is pushed in rank order: by priority, within it by (run_at, id). What Redis loses
 * meanwhile it loses with the note that it was begun, and all begins again. */
static void reconcile(struct keeper *keeper)
{
    if (keeper->reconciling) return;
    keeper->reconciling = true;
    keeper->epoch[0] = '\0';
    struct ident fresh = ident_random();
    ident_text(&fresh, keeper->next_epoch);
    broker_epoch_begin(keeper->broker, keeper->next_epoch, on_epoch_begun, keeper);
}

static void on_epoch_begun(void *arg, const struct err *err)
{
    struct keeper *keeper = arg;
    if (keeper->closing) return;
    if (err) {
        keeper->reconciling = false;
        return;
    }
    ledger_paused(keeper->ledger, on_paused, keeper); /* before the hints that it holds back */
    keeper->full_priority = 10;
    reconcile_next(keeper);
}

static void reconcile_next(struct keeper *keeper)
{
    keeper->full_walk.cursor = (struct due_cursor){ .priority = keeper->full_priority };
    keeper->full_walk.pages_left = ALL_PAGES;
    walk_start(&keeper->full_walk);
}

static void on_full_done(struct walk *walk, bool ok, bool exhausted)
{
    struct keeper *keeper = walk->keeper;
    (void)exhausted;
    if (!ok || !keeper->leads) {
        keeper->reconciling = false; /* the next tick finds the epoch wrong and begins again */
    } else if (--keeper->full_priority >= 0) {
        reconcile_next(keeper);
    } else {
        broker_epoch_set(keeper->broker, keeper->next_epoch, on_epoch_set, keeper);
    }
}

static void on_epoch_set(void *arg, const struct err *err)
{
    struct keeper *keeper = arg;
    if (keeper->closing) return;
    keeper->reconciling = false;
    if (err) return;
    memcpy(keeper->epoch, keeper->next_epoch, sizeof keeper->epoch);
    log_debug("keeper: every due task has a hint (epoch %s)", keeper->epoch);
    tell_reconciled(keeper);
}

static void tell_reconciled(struct keeper *keeper)
{
    if (keeper->told) return;
    keeper->told = true;
    if (keeper->options.reconciled) keeper->options.reconciled(keeper->options.arg);
}

/* ---- every five seconds ---- */

static void round_of_duties(struct keeper *keeper)
{
    ledger_sweep(keeper->scans, on_swept, keeper);
    look_for_unknown(keeper);
    figures_roll(keeper);
    if (!broker_is_up(keeper->broker)) return;
    ledger_paused(keeper->ledger, on_paused, keeper);
    if (keeper->absent_walk.running) return;
    keeper->absent_walk.cursor.priority = -1;
    keeper->absent_walk.cursor.until_us = ledger_now_us(keeper) - GIVE_THEM_US;
    keeper->absent_walk.pages_left = PAGES_A_ROUND;
    walk_start(&keeper->absent_walk);
}

/* It reads all that waits, so with millions waiting not in every round: it may take a twentieth of
 * Postgres' time, unless the grace asks for more. */
static void look_for_unknown(struct keeper *keeper)
{
    int64_t every_us = keeper->unknown_took_us * 20, now_us = clock_boot_us();
    if (every_us > UNKNOWN_US || !every_us) every_us = UNKNOWN_US;
    if (every_us > keeper->options.unknown_grace_us / 4) {
        every_us = keeper->options.unknown_grace_us / 4;
    }
    if (now_us - keeper->unknown_us < every_us) return;
    keeper->unknown_us = now_us;
    keeper->unknown_took_us = 0;
    ledger_unknown(keeper->scans, keeper->options.unknown_grace_us, keeper->options.max_waiting,
                   on_unknown, keeper);
}

static void on_swept(void *arg, const struct ledger_hints *hints, const struct err *err)
{
    if (!err) keeper_push(arg, hints);
}

static void on_unknown(void *arg, int64_t count, bool unknown, const struct err *err)
{
    struct keeper *keeper = arg;
    (void)unknown;
    if (err || keeper->closing) return;
    keeper->unknown_took_us = clock_boot_us() - keeper->unknown_us + 1;
    if (count)
        log_warn("%lld tasks ended as unknown_task: no living worker carries them",
                 (long long)count);
}

static void on_paused(void *arg, const char *json, size_t len, const struct err *err)
{
    struct keeper *keeper = arg;
    if (err || keeper->closing) return;
    json_t *names = params_load(json, len);
    size_t count = json_array_size(names);
    const char **queues = xcalloc(count + 1, sizeof *queues);
    for (size_t i = 0; i < count; i++) queues[i] = json_string_value(json_array_get(names, i));
    broker_set_paused(keeper->broker, queues, count, NULL, NULL);
    free(queues);
    json_decref(names);
}

/* A long backlog is walked on from where the last round stopped; what is recent is looked at every
 * time. */
static void on_absent_done(struct walk *walk, bool ok, bool exhausted)
{
    struct keeper *keeper = walk->keeper;
    if (!ok || exhausted) {
        walk->cursor = (struct due_cursor){ 0 };
        return;
    }
    if (keeper->recent_walk.running) return;
    keeper->recent_walk.cursor =
        (struct due_cursor){ .run_at_us = ledger_now_us(keeper) - RECENT_US,
                             .priority = -1,
                             .until_us = walk->cursor.until_us };
    keeper->recent_walk.pages_left = PAGES_A_ROUND;
    walk_start(&keeper->recent_walk);
}

static void on_recent_done(struct walk *walk, bool ok, bool exhausted)
{
    (void)walk, (void)ok, (void)exhausted;
}

/* ---- every hour ---- */

static void hour_of_duties(struct keeper *keeper)
{
    ledger_partitions(keeper->scans, on_partitions, keeper);
    if (keeper->options.result_ttl_us >= 0) {
        ledger_prune(keeper->scans, keeper->options.result_ttl_us, false, on_pruned, keeper);
    }
}

static void on_partitions(void *arg, int64_t count, bool unknown, const struct err *err)
{
    (void)arg, (void)count, (void)unknown;
    if (err && err->code != ERR_CANCELLED) log_warn("partitions: %s", err->text);
}

static void on_pruned(void *arg, const char *json, size_t len, const struct err *err)
{
    (void)arg;
    if (err && err->code != ERR_CANCELLED) log_warn("prune: %s", err->text);
    if (!err) log_info("pruned what is older than CTUTOR_RESULT_TTL: %.*s", (int)len, json);
}

/* ---- what becomes due ---- */

void keeper_wake(struct keeper *keeper, int64_t run_at_us)
{
    int64_t now_us = ledger_now_us(keeper);
    int64_t from_us = run_at_us ? run_at_us : now_us - RECENT_US;
    if (!keeper->leads || keeper->closing) return;
    if (from_us < keeper->look_from_us) keeper->look_from_us = from_us;
    if (keeper->due_walk.running) {
        keeper->look_again = true;
        return;
    }
    int64_t wait_us = run_at_us ? run_at_us - now_us : 0;
    if (uv_is_active((uv_handle_t *)&keeper->due.handle)) {
        int64_t left_us = (int64_t)uv_timer_get_due_in(&keeper->due.handle) * 1000;
        if (left_us <= wait_us) return;
    }
    timer_start(&keeper->due, wait_us > 0 ? wait_us : 0);
}

/* Goes on where it stopped. Its cursor moves back for what was written behind it: of that a wake
 * tells, or else the round of absent hints finds it. */
static void on_due_timer(struct timer *timer)
{
    struct keeper *keeper = container_of(timer, struct keeper, due);
    struct due_cursor *cursor = &keeper->due_walk.cursor;
    if (!keeper->leads || keeper->due_walk.running) return;
    if (keeper->look_from_us <= cursor->run_at_us) {
        *cursor = (struct due_cursor){ .run_at_us = keeper->look_from_us };
    }
    keeper->look_from_us = INT64_MAX;
    cursor->priority = -1;
    cursor->delayed_only = true;
    keeper->due_from = *cursor;
    keeper->due_walk.pages_left = ALL_PAGES;
    walk_start(&keeper->due_walk);
}

static void on_due_done(struct walk *walk, bool ok, bool exhausted)
{
    struct keeper *keeper = walk->keeper;
    int64_t seen_us = walk->now_us - RECENT_US; /* what commits late has its wake, as above */
    if (!ok) {
        walk->cursor = keeper->due_from; /* its last page was read, not pushed */
        timer_start(&keeper->due, TICK_US);
        return;
    }
    /* Else all that waits and is not for this walk would be read again at each. */
    if (exhausted && walk->cursor.run_at_us < seen_us)
        walk->cursor = (struct due_cursor){ .run_at_us = seen_us };
    if (keeper->look_again) {
        keeper->look_again = false;
        timer_start(&keeper->due, 0);
    } else if (walk->next_run_at_us) {
        int64_t wait_us = walk->next_run_at_us - walk->now_us;
        timer_start(&keeper->due, wait_us < 3600 * INT64_C(1000000) ? wait_us : HOUR_US);
    }
}
