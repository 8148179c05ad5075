/* starts.c: from a hint held to a started task and a settled hint.
 *
 *   starts_hold -> (batch) ledger_start -> on_started -> owner's started() -> broker_settle
 *
 * A start without an answer is repeated with the same claims until answered: it may have committed,
 * and then only they are the owner's. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "lifecycle/claim_private.h"
#include "lifecycle/refusal.h"

#define START_BATCH 500
#define REPEAT_US   200000 /* a start without an answer */

struct held_hint {
    struct list node;
    struct ident id, claim, token;
    int32_t starts;
};

struct start_flight {
    struct claimer *claimer;
    size_t count;
    struct held_hint **hints;
    struct timer repeat;
    int64_t sent_us;
    bool has_complained;
    uint64_t kin; /* as of the statement: a reload may come before its answer */
    bool unknown; /* it may have committed: from now on only an answer ends it */
};

static void flush_starts(struct batch *batch, struct list *items, size_t count);
static void flight_send(struct start_flight *flight);
static void on_started(void *arg, const struct started *started, size_t count, bool owner_alive,
                       bool unknown, const struct err *err);
static void on_repeat(struct timer *timer);
static void hints_started(struct start_flight *flight, const struct started *started);
static void hints_given_back(struct start_flight *flight);
static void flight_end(struct start_flight *flight);
static void on_flight_closed(struct timer *timer);
static void on_settled(void *arg, const struct err *err);

void starts_init(struct claimer *claimer)
{
    batch_init(&claimer->starts, claimer->loop, START_BATCH, 1, flush_starts);
}

void starts_hold(struct claimer *claimer, const struct claimed_hint *claimed)
{
    struct held_hint *hint = xcalloc(1, sizeof *hint);
    list_init(&hint->node);
    hint->id = claimed->id;
    hint->starts = claimed->starts;
    hint->claim = ident_random();
    hint->token = claimed->token;
    claimer->held++;
    batch_add(&claimer->starts, &hint->node);
}

static void flush_starts(struct batch *batch, struct list *items, size_t count)
{
    struct claimer *claimer = container_of(batch, struct claimer, starts);
    struct start_flight *flight = xcalloc(1, sizeof *flight);
    flight->claimer = claimer;
    flight->count = count;
    flight->hints = xcalloc(count, sizeof(struct held_hint *));
    for (size_t i = 0; i < count; i++) {
        flight->hints[i] = container_of(list_pop_front(items), struct held_hint, node);
    }
    timer_init(claimer->loop, &flight->repeat, on_repeat);
    claimer->flight = flight;
    flight_send(flight);
}

static void flight_send(struct start_flight *flight)
{
    struct claimer *claimer = flight->claimer;
    struct start_request *requests = xcalloc(flight->count, sizeof *requests);
    flight->kin = claimer->kin;
    flight->sent_us = clock_boot_us();
    for (size_t i = 0; i < flight->count; i++) {
        requests[i] = (struct start_request){ flight->hints[i]->id, flight->hints[i]->starts,
                                              flight->hints[i]->claim };
    }
    ledger_start(claimer->ledger, &claimer->incarnation, claimer->carried, claimer->carried_count,
                 claimer->isolated, requests, flight->count, on_started, flight);
    free(requests);
}

static void on_started(void *arg, const struct started *started, size_t count, bool owner_alive,
                       bool unknown, const struct err *err)
{
    struct start_flight *flight = arg;
    struct claimer *claimer = flight->claimer;
    (void)count;
    flight->unknown = flight->unknown || unknown;
    if (!err) mean_add(&claimer->start_trip_us, (double)(clock_boot_us() - flight->sent_us));
    if (err && err->code == ERR_CANCELLED) {
        flight_end(flight);
    } else if (err && (flight->unknown || err->code == ERR_STORE || err->code == ERR_RETRY)) {
        /* It may have committed: only the same claims can tell. Repeated until answered. */
        refusal_tell(&flight->has_complained, claimer->ledger, "the start", flight->count, err);
        timer_start(&flight->repeat, REPEAT_US);
    } else if (err) {
        log_error("start of %zu tasks: %s", flight->count, err->text);
        hints_given_back(flight);
        flight_end(flight);
    } else if (!owner_alive) {
        claimer->owner.fenced(claimer->owner.arg);
        flight_end(flight);
    } else {
        refusal_over(&flight->has_complained, "the start", flight->count);
        hints_started(flight, started);
        flight_end(flight);
    }
}

static void on_repeat(struct timer *timer)
{
    flight_send(container_of(timer, struct start_flight, repeat));
}

static void hints_started(struct start_flight *flight, const struct started *started)
{
    struct claimer *claimer = flight->claimer;
    struct broker_settle *settles = xcalloc(flight->count, sizeof *settles);
    for (size_t i = 0; i < flight->count; i++) {
        struct held_hint *hint = flight->hints[i];
        enum start_verdict verdict = started[i].verdict;
        settles[i] = (struct broker_settle){
            .id = hint->id,
            .token = hint->token,
            .drop = verdict == START_STARTED || verdict == START_STALE,
            .not_before_us = started[i].not_before_us,
            .not_mine = verdict == START_NOT_MINE ? flight->kin : 0,
            .move_to = verdict == START_ELSEWHERE ? started[i].queue : NULL,
        };
    }
    claimer->settling++;
    broker_settle(claimer->broker, settles, flight->count, on_settled, claimer);
    free(settles);
    /* In rank order, as they were claimed: execute's first line follows in this turn. */
    for (size_t i = 0; i < flight->count; i++) {
        struct held_hint *hint = flight->hints[i];
        claimer->held--;
        if (started[i].verdict == START_STARTED) {
            claimer->owner.started(claimer->owner.arg, &hint->id, &hint->claim, &started[i]);
        }
    }
}

static void hints_given_back(struct start_flight *flight)
{
    struct claimer *claimer = flight->claimer;
    struct broker_settle *settles = xcalloc(flight->count, sizeof *settles);
    for (size_t i = 0; i < flight->count; i++) {
        settles[i] = (struct broker_settle){ .id = flight->hints[i]->id,
                                             .token = flight->hints[i]->token,
                                             .not_before_us = CLAIM_POLL_US };
    }
    claimer->settling++;
    broker_settle(claimer->broker, settles, flight->count, on_settled, claimer);
    free(settles);
    claimer->held -= (int32_t)flight->count;
}

static void flight_end(struct start_flight *flight)
{
    flight->claimer->flight = NULL;
    timer_close(&flight->repeat, on_flight_closed);
    batch_flight_done(&flight->claimer->starts);
    claimer_wake(flight->claimer);
}

static void on_flight_closed(struct timer *timer)
{
    struct start_flight *flight = container_of(timer, struct start_flight, repeat);
    for (size_t i = 0; i < flight->count; i++) free(flight->hints[i]);
    free(flight->hints);
    free(flight);
}

/* Unsettled hints are harmless: their lease runs out and the next start answers "stale". */
static void on_settled(void *arg, const struct err *err)
{
    struct claimer *claimer = arg;
    (void)err;
    claimer->settling--;
    if (claimer->stopped && claimer_is_quiet(claimer) && claimer->owner.quiet)
        claimer->owner.quiet(claimer->owner.arg);
}

size_t claimer_starting(const struct claimer *claimer, struct ident *out)
{
    const struct start_flight *flight = claimer->flight;
    for (size_t i = 0; flight && out && i < flight->count; i++) out[i] = flight->hints[i]->claim;
    return flight ? flight->count : 0;
}
