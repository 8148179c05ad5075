/* claim.h: hints -> started tasks: fetch, start, settle the hint. The middle of a task's journey.
 *
 *   claimer_wake -> broker_claim -> on_hints -> (batch) ledger_start -> on_started
 *     -> owner's started() -> broker_settle
 *
 * Claims only what there are free slots for. Polls once a second (a lost wake-up costs no more than
 * that), is woken by every push. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/broker.h"
#include "ledger/ledger.h"
#include "loop/loop.h"

struct claimer; /* opaque */

struct claimer_owner {
    void *arg;
    int32_t (*free_slots)(
        void *arg); /* now; what is being started is already subtracted by the claimer */
    void (*started)(void *arg, const struct ident *id, const struct ident *claim,
                    const struct started *started);
    void (*fenced)(void *arg); /* this incarnation was declared dead: stop everything */
    void (*epoch)(
        void *arg,
        const char *epoch);  /* of Redis, at each claim, when it differs from the last one seen */
    void (*idle)(void *arg); /* a claim came back empty and nothing is being started */
    void (*stuck)(
        void *arg); /* three rebuilt connections did not help (rule 12): drain and restart */
    void (*quiet)(void *arg); /* a stopped one has settled its last hint; may be NULL */
};
/* Of whoever carries the same names (struct broker_claim), whatever their order; never 0. */
uint64_t claim_kin(const char *const *names, size_t count);
struct claimer *claimer_new(struct loop *loop, struct broker *broker, struct ledger *ledger,
                            const struct ident *incarnation, const char *const *queues,
                            const struct claimer_owner *owner);
void claimer_free(struct claimer *claimer);
/* The names that may be started here; copied. */
void claimer_set_carried(struct claimer *claimer, const struct carried *carried, size_t count);
/* Only what was claimed by somebody else for this process: such tasks as must run isolated. */
void claimer_isolate(struct claimer *claimer);
struct claimed_hint {
    struct ident id, token;
    int32_t starts;
};
void claimer_take(struct claimer *claimer, const struct claimed_hint *hint);
void claimer_wake(struct claimer *claimer); /* hints came, a slot became free, a store came back */
void claimer_stop(
    struct claimer *claimer); /* claim nothing more; what is being started still arrives */
/* Claims of starts without an answer so far; how many. out may be NULL. */
size_t claimer_starting(const struct claimer *claimer, struct ident *out);
bool claimer_is_quiet(const struct claimer *claimer); /* no claim, start or settle in flight */
/* How it goes, lately: sizes of batches, seconds. */
struct claim_figures {
    double ok_age;                  /* since a claim was answered, or none was wanted */
    double claim_batch, claim_trip; /* hints of a claim, round trip to Redis */
    double start_batch, start_trip; /* tasks of a start, round trip to Postgres */
};
struct claim_figures claimer_figures(const struct claimer *claimer);
