/* unclaimed.c: rows that the ledger counts as run by this runner though nobody here runs them.
 *
 * A start whose connection was given up may still reach its server, long after the same claim was
 * answered "not due" or "stale" on another connection and was forgotten; should the row fit again
 * by then, it commits. Nobody would end such a row before this process does. So from time to time a
 * runner tells the ledger all claims it knows, and rows of its own that are old enough to be
 * settled either way and not among them are given back. The claims are gathered before the
 * statement is sent: what is started later is too young for it. */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "worker/runner_private.h"

#define OLD_US INT64_C(20000000) /* an answer comes, or is given up, within 10 s */

static void look_later(struct runner *runner);
static void on_look(struct timer *timer);
static void on_released(void *arg, const struct ledger_hints *hints, const struct err *err);

void unclaimed_init(struct runner *runner)
{
    timer_init(&runner->loop, &runner->unclaimed, on_look);
    look_later(runner);
}

static void look_later(struct runner *runner)
{
    timer_start(&runner->unclaimed, 2 * config_duration_us(runner->config, SET_LEASE));
}

static void on_look(struct timer *timer)
{
    struct runner *runner = container_of(timer, struct runner, unclaimed);
    size_t room = claimer_starting(runner->claimer, NULL), count;
    look_later(runner);
    if (!runner->registered || !ledger_is_up(runner->starts)) return;
    LIST_EACH (node, &runner->open_slots) room++;
    struct ident *claims = xcalloc(room + 1, sizeof *claims);
    count = claimer_starting(runner->claimer, claims);
    LIST_EACH (node, &runner->open_slots) {
        claims[count++] = container_of(node, struct slot, node)->claim;
    }
    ledger_release_unclaimed(runner->starts, &runner->incarnation, claims, count, OLD_US,
                             on_released, runner);
    free(claims);
}

static void on_released(void *arg, const struct ledger_hints *hints, const struct err *err)
{
    struct runner *runner = arg;
    if (err || !hints->count) return; /* it is asked again */
    log_warn("%zu tasks had been started late, for nobody: they go back to their queues",
             hints->count);
    broker_push(runner->broker, hints->hints, hints->count, NULL, NULL);
}
