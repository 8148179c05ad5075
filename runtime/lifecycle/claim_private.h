/* claim_private.h: claim.c (hints from Redis), starts.c (hints held -> started tasks). */
#pragma once
#include "lifecycle/claim.h"
#include "loop/batch.h"

#define CLAIM_POLL_US 1000000 /* a lost wake-up costs no more */

struct start_flight;

struct claimer {
    struct loop *loop;
    struct broker *broker;
    struct ledger *ledger;
    struct ident incarnation;
    const char *const *queues;
    struct claimer_owner owner;
    struct carried *carried;
    size_t carried_count;
    uint64_t kin; /* of the names carried */
    struct batch starts;
    struct start_flight *flight; /* of it; NULL: none */
    struct timer poll;
    struct defer wake;
    int32_t held;    /* hints taken and not yet started or given back */
    int32_t asked;   /* upper bound of what the claim in flight may bring */
    bool woken;      /* while that claim was in flight: it may have looked too early */
    size_t settling; /* broker_settle calls without an answer */
    bool stopped, closing;
    bool isolated; /* starts what must run isolated, and only that */
    char epoch[64];
    int64_t asked_us; /* when the claim in flight went out */
    int unanswered;   /* claims in a row, each on a new connection */
    bool complained;
    int64_t ok_us; /* when a claim was answered, or none was wanted */
    double claim_mean, claim_trip_us, start_trip_us;
};

void starts_init(struct claimer *claimer);
/* Into the batch of the next start. */
void starts_hold(struct claimer *claimer, const struct claimed_hint *claimed);
