/* progress.c: how far runs are: to watchers at once, to the ledger at most once a second a task.
 *
 *   report_progress -> fresh -> [turn: one statement in flight at most] -> written
 *                 \-> resting, its last one was written less than a second ago -> timer -> fresh
 * By the batching rule what comes while a statement is in flight goes with the next one, each task
 * with what it said last. While Postgres is away all rest: what was said last is told when it is
 * back. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/runner_private.h"

#define REST_US INT64_C(1000000)
/* Those that rest are looked through no more often than this. */
#define LOOK_US        INT64_C(100000)
#define PROGRESS_BATCH 500

static void on_turn(struct defer *defer);
static size_t take_fresh(struct progress_reports *reports, struct progress *items);
static void on_written(void *arg, int64_t count, bool unknown, const struct err *err);
static void on_rested(struct timer *timer);
static void rest(struct progress_reports *reports, struct list *node, int64_t until_us);

void progress_init(struct runner *runner)
{
    struct progress_reports *reports = &runner->progress;
    reports->runner = runner;
    list_init(&reports->fresh);
    list_init(&reports->resting);
    loop_defer_init(&reports->turn, on_turn);
    timer_init(&runner->loop, &reports->timer, on_rested);
}

void report_progress(struct slot *slot, double percent, const char *metadata)
{
    struct progress_reports *reports = &slot->runner->progress;
    announce_progress(slot->runner->announcer, &slot->id, percent, metadata);
    slot->percent = percent;
    free(slot->progress_metadata);
    slot->progress_metadata = metadata ? xstrdup(metadata) : NULL;
    if (!list_is_empty(&slot->dirty)) return;
    int64_t until_us = slot->progress_written_us + REST_US;
    if (slot->progress_written_us && until_us > clock_boot_us()) {
        rest(reports, &slot->dirty, until_us);
    } else {
        list_push_back(&reports->fresh, &slot->dirty);
        loop_defer(&slot->runner->loop, &reports->turn);
    }
}

void progress_forget(struct slot *slot) { list_del(&slot->dirty); }

static void on_turn(struct defer *defer)
{
    struct progress_reports *reports = container_of(defer, struct progress_reports, turn);
    struct runner *runner = reports->runner;
    if (reports->is_flying || list_is_empty(&reports->fresh)) return;
    if (!ledger_is_up(runner->finishes)) {
        rest(reports, NULL, clock_boot_us() + REST_US);
        return;
    }
    struct progress *items = xcalloc(PROGRESS_BATCH, sizeof *items);
    size_t count = take_fresh(reports, items);
    reports->is_flying = true;
    ledger_progress(runner->finishes, items, count, on_written, reports);
    free(items);
}

static size_t take_fresh(struct progress_reports *reports, struct progress *items)
{
    size_t count = 0;
    int64_t now_us = clock_boot_us();
    struct list *node;
    while (count < PROGRESS_BATCH && (node = list_pop_front(&reports->fresh))) {
        struct slot *slot = container_of(node, struct slot, dirty);
        slot->progress_written_us = now_us;
        items[count++] =
            (struct progress){ slot->id, slot->claim, slot->percent, slot->progress_metadata };
    }
    return count;
}

/* One that was lost with the connection is not repeated: the next one says more. */
static void on_written(void *arg, int64_t count, bool unknown, const struct err *err)
{
    struct progress_reports *reports = arg;
    (void)count, (void)unknown;
    if (err && err->code == ERR_CANCELLED) return;
    reports->is_flying = false;
    loop_defer(&reports->runner->loop, &reports->turn);
}

static void on_rested(struct timer *timer)
{
    struct progress_reports *reports = container_of(timer, struct progress_reports, timer);
    int64_t now_us = clock_boot_us(), next_us = INT64_MAX;
    LIST_EACH (node, &reports->resting) {
        int64_t until_us = container_of(node, struct slot, dirty)->progress_written_us + REST_US;
        if (until_us <= now_us) {
            list_del(node);
            list_push_back(&reports->fresh, node);
        } else if (until_us < next_us) {
            next_us = until_us;
        }
    }
    if (next_us < now_us + LOOK_US) next_us = now_us + LOOK_US;
    if (!list_is_empty(&reports->resting)) timer_start(timer, next_us - now_us);
    loop_defer(&reports->runner->loop, &reports->turn);
}

/* node NULL: only the timer, for those that are fresh. */
static void rest(struct progress_reports *reports, struct list *node, int64_t until_us)
{
    bool is_armed = uv_is_active((uv_handle_t *)&reports->timer.handle);
    if (node) list_push_back(&reports->resting, node);
    if (!is_armed) timer_start(&reports->timer, until_us - clock_boot_us());
}
