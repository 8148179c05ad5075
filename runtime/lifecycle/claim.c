/* claim.c: one state per hint: CLAIMED (in the batch) -> STARTING (in a flight) -> settled at the
 * broker and gone.
 *
 * What must hold: claims in flight + hints held here never exceed the owner's free slots; every
 * hint taken is settled exactly once, or its lease runs out; started() is called only for a row
 * that the ledger wrote for our claim. */
#include "lifecycle/claim.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/batch.h"
#include "lifecycle/refusal.h"

#define CLAIM_BATCH      100 /* scripts stay short: a long one stalls everybody */
#define START_BATCH      500
#define POLL_US          1000000 /* a lost wake-up costs no more */
#define REPEAT_US        200000  /* a start without an answer */
#define CLAIM_OVERDUE_US 5000000 /* Redis' client gives a command this long */
#define REBUILDS_MAX     3

struct held_hint {
    struct list node;
    struct ident id, claim, token;
    int32_t starts;
};

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

struct claim_call {
    struct claimer *claimer;
    struct ident token;
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

static void hold(struct claimer *claimer, const struct claimed_hint *claimed);
static void on_poll(struct timer *timer);
static void on_wake(struct defer *defer);
static void on_hints(void *arg, const struct broker_claimed *claimed, const struct err *err);
static void note_answer(struct claimer *claimer, size_t count);
static void claim_failed(struct claimer *claimer, const struct err *err);
static void claim_unanswered(struct claimer *claimer);
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
static void free_carried(struct claimer *claimer);
static void on_poll_closed(struct timer *timer);

struct claimer *claimer_new(struct loop *loop, struct broker *broker, struct ledger *ledger,
                            const struct ident *incarnation, const char *const *queues,
                            const struct claimer_owner *owner)
{
    struct claimer *claimer = xcalloc(1, sizeof *claimer);
    claimer->loop = loop;
    claimer->broker = broker;
    claimer->ledger = ledger;
    claimer->incarnation = *incarnation;
    claimer->queues = queues;
    claimer->owner = *owner;
    batch_init(&claimer->starts, loop, START_BATCH, 1, flush_starts);
    loop_defer_init(&claimer->wake, on_wake);
    claimer->ok_us = clock_boot_us();
    timer_init(loop, &claimer->poll, on_poll);
    timer_start(&claimer->poll, POLL_US);
    return claimer;
}

void claimer_free(struct claimer *claimer)
{
    if (!claimer) return;
    claimer->closing = claimer->stopped = true;
    loop_defer_cancel(&claimer->wake);
    batch_close(&claimer->starts);
    timer_close(&claimer->poll, on_poll_closed);
}

static void on_poll_closed(struct timer *timer)
{
    struct claimer *claimer = container_of(timer, struct claimer, poll);
    free_carried(claimer);
    free(claimer);
}

void claimer_set_carried(struct claimer *claimer, const struct carried *carried, size_t count)
{
    free_carried(claimer);
    claimer->carried = xcalloc(count ? count : 1, sizeof *carried);
    claimer->carried_count = count;
    for (size_t i = 0; i < count; i++) {
        claimer->carried[i].name = xstrdup(carried[i].name);
        claimer->carried[i].version = xstrdup(carried[i].version);
    }
    const char **names = xcalloc(count + 1, sizeof *names);
    for (size_t n = 0; n < count; n++) names[n] = carried[n].name;
    claimer->kin = claim_kin(names, count);
    free(names);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* FNV-1a */
uint64_t claim_kin(const char *const *names, size_t count)
{
    const char **sorted = xcalloc(count + 1, sizeof *sorted);
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < count; i++) sorted[i] = names[i];
    qsort(sorted, count, sizeof *sorted, by_text);
    for (size_t i = 0; i < count; i++) {
        const char *at = sorted[i];
        do hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
        while (*at++);
    }
    free(sorted);
    return hash ? hash : 1;
}

static void free_carried(struct claimer *claimer)
{
    for (size_t i = 0; i < claimer->carried_count; i++) {
        free((char *)(uintptr_t)claimer->carried[i].name);
        free((char *)(uintptr_t)claimer->carried[i].version);
    }
    free(claimer->carried);
}

void claimer_isolate(struct claimer *claimer)
{
    claimer->isolated = true;
    claimer_stop(claimer);
}

void claimer_take(struct claimer *claimer, const struct claimed_hint *hint) { hold(claimer, hint); }

void claimer_wake(struct claimer *claimer)
{
    if (!claimer->stopped) loop_defer(claimer->loop, &claimer->wake);
}

void claimer_stop(struct claimer *claimer)
{
    claimer->stopped = true;
    timer_stop(&claimer->poll);
}

size_t claimer_starting(const struct claimer *claimer, struct ident *out)
{
    const struct start_flight *flight = claimer->flight;
    for (size_t i = 0; flight && out && i < flight->count; i++) out[i] = flight->hints[i]->claim;
    return flight ? flight->count : 0;
}

bool claimer_is_quiet(const struct claimer *claimer)
{
    return claimer->held == 0 && claimer->asked == 0 && claimer->settling == 0;
}

static void on_poll(struct timer *timer)
{
    struct claimer *claimer = container_of(timer, struct claimer, poll);
    timer_start(timer, POLL_US);
    claimer_wake(claimer);
}

static void on_wake(struct defer *defer)
{
    struct claimer *claimer = container_of(defer, struct claimer, wake);
    claimer->woken = claimer->asked > 0;
    if (claimer->stopped || claimer->asked) return;
    if (!claimer->carried_count && !claimer->held) claimer->owner.idle(claimer->owner.arg);
    if (!broker_is_up(claimer->broker) || !ledger_is_up(claimer->ledger)) return;
    int32_t room = claimer->owner.free_slots(claimer->owner.arg) - claimer->held;
    if (!claimer->carried_count || room <= 0) {
        claimer->ok_us = clock_boot_us(); /* none is wanted */
        return;
    }
    struct ident token = ident_random();
    struct broker_claim claim = { .incarnation = &claimer->incarnation,
                                  .token = &token,
                                  .queues = claimer->queues,
                                  .max = room < CLAIM_BATCH ? room : CLAIM_BATCH,
                                  .kin = claimer->kin };
    struct claim_call *call = xcalloc(1, sizeof *call);
    call->claimer = claimer;
    call->token = token;
    claimer->asked = claim.max;
    claimer->asked_us = clock_boot_us();
    broker_claim(claimer->broker, &claim, on_hints, call);
}

static void on_hints(void *arg, const struct broker_claimed *claimed, const struct err *err)
{
    struct claim_call *call = arg;
    struct claimer *claimer = call->claimer;
    struct ident token = call->token;
    free(call);
    claimer->asked = 0;
    if (err) {
        claim_failed(claimer, err);
        return; /* the poll, or the connection's return, asks again */
    }
    note_answer(claimer, claimed->count);
    if (strcmp(claimer->epoch, claimed->epoch) != 0) {
        snprintf(claimer->epoch, sizeof claimer->epoch, "%s", claimed->epoch);
        claimer->owner.epoch(claimer->owner.arg, claimer->epoch);
    }
    for (size_t i = 0; i < claimed->count; i++) {
        const struct hint *hint = &claimed->hints[i];
        hold(claimer, &(struct claimed_hint){ hint->id, token, hint->starts });
    }
    if (claimer->woken || (claimed->count && claimed->more)) {
        claimer_wake(claimer);
    } else if (!claimed->count && !claimer->held) {
        claimer->owner.idle(claimer->owner.arg);
    }
}

static void note_answer(struct claimer *claimer, size_t count)
{
    claimer->unanswered = 0;
    claimer->complained = false;
    claimer->ok_us = clock_boot_us();
    mean_add(&claimer->claim_trip_us, (double)(claimer->ok_us - claimer->asked_us));
    if (count) mean_add(&claimer->claim_mean, (double)count);
}

static void hold(struct claimer *claimer, const struct claimed_hint *claimed)
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

/* An error that Redis itself answered (OOM, BUSY) shows that the connection works. */
static void claim_failed(struct claimer *claimer, const struct err *err)
{
    if (err->code == ERR_CANCELLED) return;
    if (!claimer->complained) log_warn("no hints can be claimed: %s", err->text);
    claimer->complained = true;
    if (clock_boot_us() - claimer->asked_us >= CLAIM_OVERDUE_US) {
        claim_unanswered(claimer);
    } else if (broker_is_up(claimer->broker)) {
        claimer->unanswered = 0;
    }
}

/* A connection may look well and deliver nothing. Redis' client has torn this one down; where the
 * next ones are no better, the fault may lie in this process. While a store is away nothing is
 * claimed and so nothing counted. */
static void claim_unanswered(struct claimer *claimer)
{
    if (++claimer->unanswered > REBUILDS_MAX) {
        claimer->owner.stuck(claimer->owner.arg);
        return;
    }
    log_warn("claims are not answered although Redis takes connections: a new one (%d of %d)",
             claimer->unanswered, REBUILDS_MAX);
    broker_rebuild(claimer->broker, "claims are not answered");
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
                                             .not_before_us = POLL_US };
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

struct claim_figures claimer_figures(const struct claimer *claimer)
{
    int64_t late_us = claimer->stopped ? 0 : clock_boot_us() - claimer->ok_us;
    return (struct claim_figures){ .ok_age = (double)late_us / 1e6,
                                   .claim_batch = claimer->claim_mean,
                                   .claim_trip = claimer->claim_trip_us / 1e6,
                                   .start_batch = claimer->starts.mean,
                                   .start_trip = claimer->start_trip_us / 1e6 };
}
