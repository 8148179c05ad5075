/* keeper_fixture.h: keepers in loops of their own, and a worker that beats, submits, starts and
 * settles. For the programs test_keeper*.c. */
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
#include "lifecycle/await.h"
#include "lifecycle/settle.h"
#include "lifecycle/submit.h"
#include "support/stores_fixture.h"

#define LEASE_US (2 * SECOND_US)

/* A process that keeps: a loop of its own, so that it can be stopped. */
struct house {
    struct loop loop;
    struct broker *broker;
    struct ledger *ledger, *scans;
    struct keeper *keeper;
    int64_t grace_us, max_waiting; /* 0: as most tests want them */
    int reconciled;
};

struct fixture {
    struct house houses[2];
    struct loop *loop; /* of the first house: everything else lives there */
    struct broker *broker;
    struct ledger *ledger;
    struct submitter *submitter;
    struct settler *settler;
    struct taker *taker;
    struct ident worker;
    struct timer beat; /* of the worker, while the test lets it */
    size_t answered;
};
static struct fixture *at;

static inline void hear_keeper(void *arg, int64_t run_at_us)
{
    struct house *house = arg;
    if (house->keeper) keeper_wake(house->keeper, run_at_us);
}

static inline void hear_wake(void *arg, const char *queue)
{
    (void)arg, (void)queue;
    if (at->taker) claimer_wake(at->taker->claimer);
}

static inline void on_reconciled(void *arg) { ((struct house *)arg)->reconciled++; }

static inline void house_open(struct house *house)
{
    const struct broker_hooks hooks = { .arg = house, .keeper = hear_keeper, .wake = hear_wake };
    loop_init(&house->loop);
    house->broker = stores_broker(&house->loop, &hooks);
    house->ledger = stores_ledger(&house->loop);
    house->scans = stores_ledger(&house->loop);
    broker_listen(house->broker, BROKER_KEEPER | BROKER_WAKE);
}

static inline void house_close(struct house *house)
{
    keeper_stop(house->keeper);
    ledger_free(house->ledger);
    ledger_free(house->scans);
    broker_free(house->broker);
    keeper_free(house->keeper);
}

static inline void keeper_begin(struct house *house)
{
    struct keeper_options options = { .me = ident_random(),
                                      .lease_us = LEASE_US,
                                      .unknown_grace_us =
                                          house->grace_us ? house->grace_us : 2 * SECOND_US,
                                      .max_waiting =
                                          house->max_waiting ? house->max_waiting : 1000000,
                                      .max_params = 1000,
                                      .result_ttl_us = -1,
                                      .arg = house,
                                      .reconciled = on_reconciled };
    house->keeper = keeper_new(&house->loop, house->ledger, house->scans, house->broker, &options);
}

static inline void keeper_lead(struct house *house)
{
    keeper_begin(house);
    UNTIL(&house->loop, house->reconciled == 1);
    assert_true(keeper_leads(house->keeper));
}

static inline void on_beaten(void *arg, const struct heartbeat_answer *answer,
                             const struct err *err)
{
    (void)arg, (void)answer, (void)err;
}

static inline void on_beat(struct timer *timer)
{
    struct heartbeat beat = { at->worker, "{}" };
    timer_start(timer, LEASE_US / 5);
    ledger_heartbeat(at->ledger, &beat, 1, on_beaten, NULL);
}

static inline int set_up(void **state)
{
    (void)state;
    stores_fresh();
    at = xcalloc(1, sizeof *at);
    house_open(&at->houses[0]);
    at->loop = &at->houses[0].loop;
    at->broker = stores_broker(at->loop, NULL);
    at->ledger = stores_ledger(at->loop);
    at->submitter = submitter_new(at->loop, at->ledger, at->broker);
    at->worker = worker_alive(at->loop, at->ledger, "first");
    at->settler = settler_new(at->loop, at->broker, at->ledger, &at->worker);
    timer_init(at->loop, &at->beat, on_beat);
    timer_start(&at->beat, 0);
    UNTIL(at->loop, broker_is_up(at->broker) && broker_is_up(at->houses[0].broker));
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    house_close(&at->houses[0]);
    if (at->houses[1].broker) {
        house_close(&at->houses[1]);
        loop_close(&at->houses[1].loop);
    }
    ledger_free(at->ledger);
    broker_free(at->broker);
    if (at->taker) taker_free(at->taker);
    submitter_free(at->submitter);
    settler_free(at->settler);
    timer_close(&at->beat, NULL);
    loop_close(at->loop);
    free(at);
    return 0;
}

static inline void on_submitted(void *arg, const struct submit_answer *answer,
                                const struct err *err)
{
    (void)arg;
    if (err) fail_msg("%s", err->text);
    assert_int_equal(answer->verdict, INSERT_NEW);
    at->answered++;
}

static inline struct ident submit(struct submission_box *box)
{
    struct ident id = box_id(box);
    at->answered = 0;
    submit_task(at->submitter, box, on_submitted, NULL);
    UNTIL(at->loop, at->answered == 1);
    return id;
}

static inline struct ident submit_later(int64_t delay_us)
{
    struct submission_box *box = box_of("greet", "{}");
    box->submission.delay_us = delay_us;
    return submit(box);
}

static inline struct taker *take(int32_t slots)
{
    return at->taker = taker_new(at->loop, at->broker, at->ledger, &at->worker, slots);
}

#define KEEPER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
