/* claim.c: hints are claimed for the owner's free slots, and no more: claims in flight + hints held
 * (starts.c) never exceed them. Every hint taken is settled exactly once, or its lease runs out;
 * started() is called only for a row that the ledger wrote for our claim. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "lifecycle/claim_private.h"

#define CLAIM_BATCH      100     /* scripts stay short: a long one stalls everybody */
#define CLAIM_OVERDUE_US 5000000 /* Redis' client gives a command this long */
#define REBUILDS_MAX     3

struct claim_call {
    struct claimer *claimer;
    struct ident token;
};

static void on_poll(struct timer *timer);
static void on_wake(struct defer *defer);
static void on_hints(void *arg, const struct broker_claimed *claimed, const struct err *err);
static void note_answer(struct claimer *claimer, size_t count);
static void claim_failed(struct claimer *claimer, const struct err *err);
static void claim_unanswered(struct claimer *claimer);
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
    starts_init(claimer);
    loop_defer_init(&claimer->wake, on_wake);
    claimer->ok_us = clock_boot_us();
    timer_init(loop, &claimer->poll, on_poll);
    timer_start(&claimer->poll, CLAIM_POLL_US);
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

void claimer_take(struct claimer *claimer, const struct claimed_hint *hint)
{
    starts_hold(claimer, hint);
}

void claimer_wake(struct claimer *claimer)
{
    if (!claimer->stopped) loop_defer(claimer->loop, &claimer->wake);
}

void claimer_stop(struct claimer *claimer)
{
    claimer->stopped = true;
    timer_stop(&claimer->poll);
}

bool claimer_is_quiet(const struct claimer *claimer)
{
    return claimer->held == 0 && claimer->asked == 0 && claimer->settling == 0;
}

static void on_poll(struct timer *timer)
{
    struct claimer *claimer = container_of(timer, struct claimer, poll);
    timer_start(timer, CLAIM_POLL_US);
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
        starts_hold(claimer, &(struct claimed_hint){ hint->id, token, hint->starts });
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

struct claim_figures claimer_figures(const struct claimer *claimer)
{
    int64_t late_us = claimer->stopped ? 0 : clock_boot_us() - claimer->ok_us;
    return (struct claim_figures){ .ok_age = (double)late_us / 1e6,
                                   .claim_batch = claimer->claim_mean,
                                   .claim_trip = claimer->claim_trip_us / 1e6,
                                   .start_batch = claimer->starts.mean,
                                   .start_trip = claimer->start_trip_us / 1e6 };
}
