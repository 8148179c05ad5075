/* submit.h: insert, commit, answer, then push the hint: never the hint first. Concurrent submits
 * share transactions (the batching rule). Redis away: the submit succeeds, deferred; the keeper
 * pushes later. */
#pragma once
#include <stdbool.h>

#include "broker/broker.h"
#include "ledger/ledger.h"
#include "lifecycle/door.h"
#include "loop/batch.h"

struct submitter; /* opaque */

/* broker may be NULL (then every submit is deferred). Both borrowed. */
struct submitter *submitter_new(struct loop *loop, struct ledger *ledger, struct broker *broker);
void submitter_free(struct submitter *submitter); /* only when nothing is in flight */

struct submit_answer {
    enum insert_verdict verdict;
    struct ident id; /* of the task; of the one that was there for a duplicate */
    bool deferred;   /* Redis is away */
};
/* err NULL on success (all verdicts). ERR_STORE: Postgres away. Exactly once, later. */
typedef void submit_fn(void *arg, const struct submit_answer *answer, const struct err *err);
void submit_task(struct submitter *submitter, struct submission_box *takes_box, submit_fn *done,
                 void *arg);
