/* audit.h: are the ledger and Redis' hints what the protocol says? Reads only, may take as long as
 * it takes, and runs beside a living system: what may be in flight counts as a difference only when
 * it is seen twice, seconds apart.
 *
 * Nothing of it grows with the number of tasks. Reads downwards: it turns the loop by itself. */
#pragma once
#include <jansson.h>
#include <stdint.h>

#include "broker/broker.h"
#include "ledger/ledger.h"
#include "loop/loop.h"

#define AUDIT_LISTED_MOST 1000 /* differences that are told one by one; all are counted */

struct audit_stores {
    struct loop *loop;
    struct ledger *ledger;
    struct broker *broker;
    int64_t lease_us; /* of the workers: after it, and a sweep, nothing runs on a dead one */
};
/* gives {counts: {submitted, waiting, delayed, running, final: {SUCCESS, FAILURE, REVOKED}}, hints:
 * {waiting, claimed}, difference_count, differences: [{id, kind, message, remedy}]}. false: a store
 * did not answer. */
MUSTUSE bool audit_run(const struct audit_stores *stores, json_t **out, struct err *err);
