/* lifecycle_fixture.h: both stores, one worker's row, and what submits, claims and settles; with
 * the calls that wait for them. For the programs test_lifecycle_*.c. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "keeper/keeper.h"
#include "lifecycle/settle.h"
#include "lifecycle/submit.h"
#include "support/stores_fixture.h"

#define ANSWERS_MOST 2000

struct fixture {
    struct loop loop;
    struct broker *broker;
    struct ledger *ledger, *probe; /* the probe is what hangs when commits are made to */
    struct submitter *submitter;
    struct settler *settler;
    struct keeper *keeper;
    struct taker *takers[2];
    struct ident worker;

    size_t answered; /* submits; in their order below */
    struct submit_answer answers[ANSWERS_MOST];
    enum err_code codes[ANSWERS_MOST];

    size_t settled;
    struct finished finished[ANSWERS_MOST];

    int cancels, keeper_wakes, events; /* heard on the channels */
    struct ident cancelled;
    int64_t woken_for_us;
    char event[400];
};
static struct fixture *at;

static inline void hear_cancel(void *arg, const struct ident *id)
{
    (void)arg;
    at->cancels++;
    at->cancelled = *id;
}

static inline void hear_keeper(void *arg, int64_t run_at_us)
{
    (void)arg;
    at->keeper_wakes++;
    at->woken_for_us = run_at_us;
}

static inline void hear_event(void *arg, const char *line, size_t len)
{
    (void)arg;
    at->events++;
    snprintf(at->event, sizeof at->event, "%.*s", (int)len, line);
}

static inline void hear_wake(void *arg, const char *queue)
{
    (void)arg, (void)queue;
    for (size_t i = 0; i < COUNT_OF(at->takers); i++)
        if (at->takers[i]) claimer_wake(at->takers[i]->claimer);
}

static inline int set_up(void **state)
{
    const struct broker_hooks hooks = {
        .wake = hear_wake, .cancel = hear_cancel, .keeper = hear_keeper, .event = hear_event
    };
    (void)state;
    stores_fresh();
    at = xcalloc(1, sizeof *at);
    loop_init(&at->loop);
    at->broker = stores_broker(&at->loop, &hooks);
    at->ledger = stores_ledger(&at->loop);
    at->probe = stores_ledger(&at->loop);
    broker_listen(at->broker, BROKER_WAKE | BROKER_CANCEL | BROKER_KEEPER | BROKER_EVENTS);
    at->submitter = submitter_new(&at->loop, at->ledger, at->broker);
    at->worker = worker_alive(&at->loop, at->ledger, "first");
    at->settler = settler_new(&at->loop, at->broker, at->ledger, &at->worker);
    UNTIL(&at->loop, broker_is_up(at->broker) && at->keeper_wakes == 1); /* subscribed */
    at->keeper_wakes = 0;
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    keeper_stop(at->keeper);
    ledger_free(at->ledger);
    ledger_free(at->probe);
    broker_free(at->broker);
    for (size_t i = 0; i < COUNT_OF(at->takers); i++)
        if (at->takers[i]) taker_free(at->takers[i]);
    submitter_free(at->submitter);
    settler_free(at->settler);
    keeper_free(at->keeper);
    loop_close(&at->loop);
    free(at);
    return 0;
}

static inline void on_submitted(void *arg, const struct submit_answer *answer,
                                const struct err *err)
{
    size_t place = (size_t)(uintptr_t)arg;
    at->answered++;
    assert_int_equal(at->codes[place], ERR_INTERNAL); /* once each */
    at->codes[place] = err ? err->code : ERR_NONE;
    if (answer) at->answers[place] = *answer;
}

static inline void submit_at(size_t place, struct submission_box *box)
{
    at->codes[place] = ERR_INTERNAL;
    submit_task(at->submitter, box, on_submitted, (void *)(uintptr_t)place);
}

static inline void submit_wait(size_t total) { UNTIL(&at->loop, at->answered == total); }

static inline struct ident submit_one(struct submission_box *box)
{
    struct ident id = box_id(box);
    at->answered = 0;
    submit_at(0, box);
    submit_wait(1);
    assert_int_equal(at->codes[0], ERR_NONE);
    assert_int_equal(at->answers[0].verdict, INSERT_NEW);
    assert_true(ident_equal(&at->answers[0].id, &id));
    return id;
}

static inline struct ident submit_plain(void) { return submit_one(box_of("greet", "{}")); }

static inline void submit_many(size_t count, struct ident *ids)
{
    at->answered = 0;
    for (size_t i = 0; i < count; i++) {
        struct submission_box *box = box_of("greet", "{}");
        if (ids) ids[i] = box_id(box);
        submit_at(i, box);
    }
    submit_wait(count);
}

static inline struct taker *taker_begin(size_t place, const struct ident *worker, int32_t slots)
{
    struct ledger *ledger = place ? at->probe : at->ledger;
    return at->takers[place] = taker_new(&at->loop, at->broker, ledger, worker, slots);
}

static inline bool quiet(size_t place) { return claimer_is_quiet(at->takers[place]->claimer); }

/* Submits and starts so many; they lie in takers[0]. */
static inline struct taker *start_many(size_t count)
{
    submit_many(count, NULL);
    struct taker *taker = taker_begin(0, &at->worker, (int32_t)count);
    UNTIL(&at->loop, taker->count == count && quiet(0));
    claimer_stop(taker->claimer);
    return taker;
}

static inline void on_settled(void *arg, const struct finished *finished)
{
    at->finished[(size_t)(uintptr_t)arg] = *finished;
    at->settled++;
}

static inline struct finish success_of(const struct taker *taker, size_t i)
{
    return (struct finish){ .id = taker->ids[i],
                            .claim = taker->claims[i],
                            .status = TASK_SUCCESS,
                            .percent = -1,
                            .result = "{\"ok\":true}",
                            .result_len = 11 };
}

static const char boom[] = "{\"kind\":\"exception\",\"message\":\"boom\",\"traceback\":null}";

static inline struct finish failure_of(const struct taker *taker, size_t i, enum task_status status)
{
    return (struct finish){ .id = taker->ids[i],
                            .claim = taker->claims[i],
                            .status = status,
                            .spends_failure = true,
                            .ended = status == TASK_RETRY ? "failed" : NULL,
                            .percent = -1,
                            .error = boom,
                            .error_len = strlen(boom) };
}

static inline void settle_at(size_t place, const struct finish *finish)
{
    settle(at->settler, finish, 1, on_settled, (void *)(uintptr_t)place);
}

static inline void settle_wait(size_t total)
{
    UNTIL(&at->loop, at->settled == total);
    assert_int_equal(settler_pending(at->settler), 0);
    assert_int_equal(settler_pending_bytes(at->settler), 0);
}

#define LIFE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
