/* epoch.c: has Redis lost data? Its epoch key is gone then, or another's. */
#include <string.h>

#include "base/log.h"
#include "keeper/keeper_private.h"

static void on_epoch(void *arg, const char *epoch, const struct err *err);
static void reconcile(struct keeper *keeper);
static void on_epoch_begun(void *arg, const struct err *err);
static void on_paused(void *arg, const char *json, size_t len, const struct err *err);
static void reconcile_next(struct keeper *keeper);
static void on_full_done(struct walk *walk, bool ok, bool exhausted);
static void on_epoch_set(void *arg, const struct err *err);
static void tell_reconciled(struct keeper *keeper);

void epoch_init(struct keeper *keeper)
{
    keeper->full_walk = (struct walk){ keeper, keeper->scans, WALK_PUSH, .done = on_full_done };
}

void epoch_ask(struct keeper *keeper)
{
    if (keeper->epoch_asked || !broker_is_up(keeper->broker)) return;
    keeper->epoch_asked = true;
    broker_epoch_get(keeper->broker, on_epoch, keeper);
}

void keeper_saw_epoch(struct keeper *keeper, const char *epoch)
{
    if (keeper->leads && strcmp(epoch, keeper->epoch) != 0) epoch_ask(keeper);
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
    ledger_paused(keeper->ledger, on_paused, keeper);
}

/* Redis is told which queues are paused before it gets the hints that this holds back. */
static void on_paused(void *arg, const char *json, size_t len, const struct err *err)
{
    struct keeper *keeper = arg;
    if (keeper->closing) return;
    if (err || !keeper->leads) {
        keeper->reconciling = false;
        return;
    }
    round_tell_paused(keeper, json, len);
    keeper->full_priority = 10;
    reconcile_next(keeper);
}

static void reconcile_next(struct keeper *keeper)
{
    keeper->full_walk.cursor = (struct due_cursor){ .priority = keeper->full_priority };
    keeper->full_walk.pages_left = WALK_ALL_PAGES;
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
