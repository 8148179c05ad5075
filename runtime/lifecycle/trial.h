/* trial.h: one task through both stores and out again, by the verbs that everybody uses: accepted,
 * pushed, claimed, started, finished, removed. Its queue, name and incarnation are its own, so that
 * no worker ever sees it; should this process die half-way, the task expires after a minute.
 * Reads downwards: it turns the loop by itself. */
#pragma once
#include <stdint.h>

#include "broker/broker.h"
#include "ledger/ledger.h"
#include "loop/loop.h"

enum trial_step { TRIAL_ACCEPT, TRIAL_DISPATCH, TRIAL_START, TRIAL_FINISH, TRIAL_STEPS };
struct trial {
    char queue[QUEUE_NAME_MAX + 1]; /* what a wake-up names */
    int64_t took_us[TRIAL_STEPS];
    int done; /* steps that went well */
};
void trial_init(struct trial *trial); /* chooses the queue */
MUSTUSE bool trial_run(struct trial *trial, struct loop *loop, struct ledger *ledger,
                       struct broker *broker, struct err *err);
