/* isolated.c: tasks that run in processes of their own: their entry asks for it, or they have
 * blocked a loop. The supervisor claims their hints, from lists of their own and only while one of
 * its isolated slots is free, and starts a process for each; that does the start itself, runs the
 * one task and leaves.
 *
 *   wake | poll | a process ended -> broker_claim -> on_hints -> child_start -> ... -> on_exit
 *
 * A hint that its process did not settle is given back when it has ended. */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "worker/supervisor_private.h"

#define POLL_US    1000000 /* a lost wake-up costs no more */
#define FAILED_US  1000000 /* before a hint is claimed again whose process did not come up */
#define CLAIM_MOST 100

static void on_poll(struct timer *timer);
static int32_t count_running(const struct supervisor *supervisor);
static void on_hints(void *arg, const struct broker_claimed *claimed, const struct err *err);
static void take(struct supervisor *supervisor, const struct broker_claimed *claimed);

void isolated_init(struct supervisor *supervisor)
{
    struct isolated *isolated = &supervisor->isolated;
    size_t count = 0;
    isolated->slots = (int32_t)config_int(supervisor->config, SET_ISOLATED);
    while (supervisor->queues[count]) count++;
    isolated->lists = xcalloc(count + 1, sizeof *isolated->lists);
    for (size_t i = 0; i < count; i++)
        isolated->lists[i] = xasprintf("%s/isolated", supervisor->queues[i]);
    timer_init(&supervisor->loop, &isolated->poll, on_poll);
    if (isolated->slots) timer_start(&isolated->poll, POLL_US);
}

static void on_poll(struct timer *timer)
{
    struct supervisor *supervisor = container_of(timer, struct supervisor, isolated.poll);
    timer_start(timer, POLL_US);
    isolated_look(supervisor);
}

void isolated_look(struct supervisor *supervisor)
{
    struct isolated *isolated = &supervisor->isolated;
    int32_t room = isolated->slots - count_running(supervisor);
    isolated->is_woken = isolated->is_asked;
    if (isolated->is_asked || supervisor->draining || !supervisor->serving) return;
    if (room <= 0 || !isolated->kin) return;
    if (!broker_is_up(supervisor->broker) || !ledger_is_up(supervisor->ledger)) return;
    isolated->token = ident_random();
    struct broker_claim claim = { .incarnation = &supervisor->incarnation,
                                  .token = &isolated->token,
                                  .queues = (const char *const *)isolated->lists,
                                  .max = room < CLAIM_MOST ? room : CLAIM_MOST,
                                  .kin = isolated->kin };
    isolated->is_asked = true;
    isolated->is_last_look = supervisor_is_idle(supervisor);
    broker_claim(supervisor->broker, &claim, on_hints, supervisor);
}

static int32_t count_running(const struct supervisor *supervisor)
{
    int32_t running = 0;
    LIST_EACH (node, &supervisor->children) {
        const struct child *child = container_of(node, struct child, node);
        running += child->isolated && child->proc;
    }
    return running;
}

bool isolated_is_quiet(const struct supervisor *supervisor)
{
    return !supervisor->isolated.is_asked && count_running(supervisor) == 0;
}

bool isolated_found_nothing(const struct supervisor *supervisor)
{
    const struct isolated *isolated = &supervisor->isolated;
    return isolated->slots == 0 || !isolated->kin || isolated->is_empty;
}

static void on_hints(void *arg, const struct broker_claimed *claimed, const struct err *err)
{
    struct supervisor *supervisor = arg;
    struct isolated *isolated = &supervisor->isolated;
    isolated->is_asked = false;
    if (!err) {
        isolated->is_empty =
            claimed->count == 0 && isolated->is_last_look && supervisor_is_idle(supervisor);
        keeper_saw_epoch(supervisor->keeper, claimed->epoch);
        take(supervisor, claimed);
        if (isolated->is_woken || (claimed->count && claimed->more)) isolated_look(supervisor);
    }
    supervisor_changed(supervisor); /* else the poll asks again */
}

static void take(struct supervisor *supervisor, const struct broker_claimed *claimed)
{
    for (size_t i = 0; i < claimed->count; i++) {
        const struct hint *hint = &claimed->hints[i];
        const struct claimed_hint mine = { hint->id, supervisor->isolated.token, hint->starts };
        if (supervisor->draining)
            isolated_give_back(supervisor, &mine, false);
        else if (!child_start(supervisor, &mine))
            isolated_give_back(supervisor, &mine, true);
    }
}

/* Touches it only if it was not settled: by the token. */
void isolated_give_back(struct supervisor *supervisor, const struct claimed_hint *hint, bool failed)
{
    struct broker_settle settle = { .id = hint->id,
                                    .token = hint->token,
                                    .not_before_us = failed ? FAILED_US : 0 };
    if (broker_is_up(supervisor->broker)) broker_settle(supervisor->broker, &settle, 1, NULL, NULL);
}

/* In a burst the runners look once more: the process may have left something for them. */
void isolated_ended(struct supervisor *supervisor)
{
    supervisor->isolated.is_empty = false;
    if (supervisor->burst && supervisor->reconciled && !supervisor->draining) {
        LIST_EACH (node, &supervisor->children) {
            struct child *child = container_of(node, struct child, node);
            if (child->isolated || !child->channel_open) continue;
            child->idle = false;
            channel_send(&child->channel, MESSAGE_RECONCILED, NULL, 0);
        }
    }
    isolated_look(supervisor);
}
