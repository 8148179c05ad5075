/* keeper.h: looks after all queues: one elected among all supervisors (and `serve`). No Lua, no
 * truth of its own: all it does is compare-and-set in the ledger and pushing hints, so two at once
 * are harmless.
 *
 * Duties: push what becomes due (sleeps until the earliest run_at, woken when an earlier one is
 * written); push hints that Redis lost; declare dead what does not beat; sweep; expire; unknown
 * tasks; paused queues; partitions ahead; pruning. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "broker/broker.h"
#include "ledger/ledger.h"
#include "loop/loop.h"

struct keeper; /* opaque */

struct keeper_options {
    struct ident me; /* random, of this process */
    int64_t lease_us;
    int64_t unknown_grace_us;
    int64_t max_waiting;
    int64_t max_params;    /* of the SQL door */
    int64_t result_ttl_us; /* -1: forever */
    void *arg;
    void (*reconciled)(void *arg); /* every due task had a hint a moment ago (by whichever keeper
                                      leads); once; may be NULL */
};

/* Two connections to the ledger: what must be prompt (election, heartbeats, what becomes due) never
 * waits for what may read all that waits. Only short statements go over `ledger`, which may be
 * shared with those of others; `scans` is the keeper's own. The broker is shared. All borrowed. */
struct keeper *keeper_new(struct loop *loop, struct ledger *ledger, struct ledger *scans,
                          struct broker *broker, const struct keeper_options *options);
/* Resigns if it leads; does nothing from then on. Then free the stores, then the keeper: nothing
 * may be in flight. */
void keeper_stop(struct keeper *keeper);
void keeper_free(struct keeper *keeper);
/* News from the channels: an earlier run_at (0: look now); Redis' epoch as a runner saw it. */
void keeper_wake(struct keeper *keeper, int64_t run_at_us);
void keeper_saw_epoch(struct keeper *keeper, const char *epoch);
bool keeper_leads(const struct keeper *keeper);
