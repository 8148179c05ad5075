/* The keeper's duties against real stores: what is due is pushed in time, what Redis lost comes
 * back, the dead are found and nobody else, and another takes over when the leader stops. */
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

#define LEASE_US  (2 * SECOND_US)
#define IN_TIME_US 600000 /* 200 ms are promised; test machines get three times that */

/* A process that keeps: a loop of its own, so that it can be stopped. */
struct house {
    struct loop loop;
    struct broker *broker;
    struct ledger *ledger;
    struct keeper *keeper;
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

static void hear_keeper(void *arg, int64_t run_at_us)
{
    struct house *house = arg;
    if (house->keeper) keeper_wake(house->keeper, run_at_us);
}

static void hear_wake(void *arg, const char *queue)
{
    (void)arg, (void)queue;
    if (at->taker) claimer_wake(at->taker->claimer);
}

static void on_reconciled(void *arg) { ((struct house *)arg)->reconciled++; }

static void house_open(struct house *house)
{
    const struct broker_hooks hooks = { .arg = house, .keeper = hear_keeper, .wake = hear_wake };
    loop_init(&house->loop);
    house->broker = stores_broker(&house->loop, &hooks);
    house->ledger = stores_ledger(&house->loop);
    broker_listen(house->broker, BROKER_KEEPER | BROKER_WAKE);
}

static void house_close(struct house *house)
{
    keeper_stop(house->keeper);
    ledger_free(house->ledger);
    broker_free(house->broker);
    keeper_free(house->keeper);
}

static void keeper_begin(struct house *house)
{
    struct keeper_options options = { .me = ident_random(),
                                      .lease_us = LEASE_US,
                                      .unknown_grace_us = 2 * SECOND_US,
                                      .max_waiting = 1000000,
                                      .result_ttl_us = -1,
                                      .arg = house,
                                      .reconciled = on_reconciled };
    house->keeper = keeper_new(&house->loop, house->ledger, house->broker, &options);
}

static void keeper_lead(struct house *house)
{
    keeper_begin(house);
    UNTIL(&house->loop, house->reconciled == 1);
    assert_true(keeper_leads(house->keeper));
}

static void on_beaten(void *arg, const struct heartbeat_answer *answer, const struct err *err)
{
    (void)arg, (void)answer, (void)err;
}

static void on_beat(struct timer *timer)
{
    struct heartbeat beat = { at->worker, "{}" };
    timer_start(timer, LEASE_US / 5);
    ledger_heartbeat(at->ledger, &beat, 1, on_beaten, NULL);
}

static int set_up(void **state)
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

static int tear_down(void **state)
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

static void on_submitted(void *arg, const struct submit_answer *answer, const struct err *err)
{
    (void)arg;
    if (err) fail_msg("%s", err->text);
    assert_int_equal(answer->verdict, INSERT_NEW);
    at->answered++;
}

static struct ident submit(struct submission_box *box)
{
    struct ident id = box_id(box);
    at->answered = 0;
    submit_task(at->submitter, box, on_submitted, NULL);
    UNTIL(at->loop, at->answered == 1);
    return id;
}

static struct ident submit_later(int64_t delay_us)
{
    struct submission_box *box = box_of("greet", "{}");
    box->submission.delay_us = delay_us;
    return submit(box);
}

static struct taker *take(int32_t slots)
{
    return at->taker = taker_new(at->loop, at->broker, at->ledger, &at->worker, slots);
}

static int64_t run_at_us(const struct ident *id)
{
    return stores_count("SELECT micros(run_at) FROM tasks WHERE id = '%s'", id_text(id));
}

static int64_t count_of(enum task_status status)
{
    return stores_count("SELECT count(*) FROM task_info WHERE status = '%s'",
                        task_status_text(status));
}

/* ---- what is due ---- */

static void assert_in_time(int64_t due_us, int64_t started_us)
{
    int64_t late_us = started_us - due_us;
    if (late_us < 0 || late_us > IN_TIME_US) fail_msg("%lld us late", (long long)late_us);
}

/* The second is due before the first: it moves the alarm. */
static void test_delayed_tasks_start_in_time(void **state)
{
    (void)state;
    keeper_lead(&at->houses[0]);
    struct taker *taker = take(10);
    struct ident late = submit_later(1500000), early = submit_later(500000);
    UNTIL(at->loop, taker->count == 2);
    assert_true(ident_equal(&taker->ids[0], &early));
    assert_true(ident_equal(&taker->ids[1], &late));
    assert_in_time(run_at_us(&early), taker->at_us[0]);
    assert_in_time(run_at_us(&late), taker->at_us[1]);
}

static void test_many_due_tasks_take_many_pages(void **state)
{
    (void)state;
    for (int i = 0; i < 2500; i++) {
        struct submission_box *box = box_of("greet", "{}");
        box->submission.delay_us = 3 * SECOND_US;
        submit_task(at->submitter, box, on_submitted, NULL);
    }
    UNTIL(at->loop, at->answered == 2500);
    keeper_lead(&at->houses[0]);
    UNTIL(at->loop, stores_waiting("default") == 2500);
}

static void on_settled(void *arg, const struct finished *finished)
{
    assert_int_equal(finished->verdict, FINISH_DONE);
    *(int64_t *)arg = finished->run_at_us;
}

static void test_retries_start_in_time(void **state)
{
    (void)state;
    keeper_lead(&at->houses[0]);
    struct taker *taker = take(10);
    submit_later(0);
    UNTIL(at->loop, taker->count == 1);
    struct finish finish = { .id = taker->ids[0],
                             .claim = taker->claims[0],
                             .status = TASK_RETRY,
                             .spends_failure = true,
                             .delay_us = 700000,
                             .ended = "failed",
                             .percent = -1,
                             .error = "{}",
                             .error_len = 2 };
    int64_t due_us = 0;
    settle(at->settler, &finish, 1, on_settled, &due_us);
    UNTIL(at->loop, taker->count == 2);
    assert_int_equal(taker->attempts[1], 2);
    assert_in_time(due_us, taker->at_us[1]);
}

/* Redis is away when a task becomes due: it starts when Redis is back. */
static void test_what_became_due_without_redis_is_pushed_after_its_return(void **state)
{
    (void)state;
    keeper_lead(&at->houses[0]);
    submit_later(400000);
    test_redis_kill(stores_redis, SIGKILL);
    turn_for(at->loop, 1000000);
    test_redis_restart(stores_redis);
    UNTIL(at->loop, stores_waiting("default") == 1);
}

/* ---- what Redis lost ---- */

static void test_absent_hints_are_found(void **state)
{
    (void)state;
    keeper_lead(&at->houses[0]);
    for (int i = 0; i < 5; i++) submit_later(0);
    UNTIL(at->loop, stores_waiting("default") == 5);
    stores_redis_do("DEL @:q:default");
    UNTIL(at->loop, stores_waiting("default") == 5);
}

static void test_an_emptied_redis_is_filled_in_rank_order(void **state)
{
    static const int32_t priorities[] = { 5, 9, 0, 5, 10, 1, 9, 5 };
    static const size_t order[] = { 4, 1, 6, 0, 3, 7, 5, 2 };
    struct ident ids[COUNT_OF(priorities)];
    (void)state;
    keeper_lead(&at->houses[0]);
    for (size_t i = 0; i < COUNT_OF(priorities); i++) {
        struct submission_box *box = box_of("greet", "{}");
        box->submission.priority = priorities[i];
        ids[i] = submit(box);
    }
    UNTIL(at->loop, stores_waiting("default") == COUNT_OF(priorities));
    stores_redis_do("FLUSHALL");
    keeper_saw_epoch(at->houses[0].keeper, ""); /* as a runner tells it */
    int64_t before_us = clock_mono_us();
    UNTIL(at->loop, strcmp(stores_redis_do("EXISTS @:epoch"), "1") == 0);
    assert_true(clock_mono_us() - before_us < 2 * SECOND_US); /* not by the round of absent ones */
    assert_int_equal(stores_waiting("default"), COUNT_OF(priorities));
    struct taker *taker = take(1);
    UNTIL(at->loop, taker->count == COUNT_OF(priorities));
    for (size_t i = 0; i < COUNT_OF(order); i++) {
        if (!ident_equal(&taker->ids[i], &ids[order[i]])) fail_msg("number %zu is another", i);
    }
}

static void test_nobody_needs_to_tell_of_a_lost_epoch(void **state)
{
    (void)state;
    keeper_lead(&at->houses[0]);
    submit_later(0);
    stores_redis_do("FLUSHALL");
    UNTIL(at->loop, stores_waiting("default") == 1);
}

/* ---- election ---- */

static void second_house_open(void)
{
    house_open(&at->houses[1]);
    UNTIL(&at->houses[1].loop, broker_is_up(at->houses[1].broker));
}

static void turn_both_until_told(void)
{
    struct watch watches[2];
    for (int i = 0; i < 2; i++) watch_begin(&watches[i], &at->houses[i].loop, 30 * SECOND_US);
    while (!at->houses[1].reconciled && !watch_is_over(&watches[0])) {
        loop_turn(&at->houses[0].loop, false);
        loop_turn(&at->houses[1].loop, true);
    }
    for (int i = 0; i < 2; i++) watch_end(&watches[i], &at->houses[i].loop);
}

/* Only who sees the leader move may count on its hints. */
static void test_a_follower_hears_that_all_is_reconciled(void **state)
{
    (void)state;
    keeper_lead(&at->houses[0]);
    second_house_open();
    keeper_begin(&at->houses[1]);
    turn_for(&at->houses[1].loop, 1500000); /* the leader stands still meanwhile */
    assert_int_equal(at->houses[1].reconciled, 0);
    turn_both_until_told();
    assert_int_equal(at->houses[1].reconciled, 1);
    assert_false(keeper_leads(at->houses[1].keeper));
}

static void test_another_takes_over_from_a_leader_that_stopped(void **state)
{
    (void)state;
    keeper_lead(&at->houses[0]);
    second_house_open();
    keeper_begin(&at->houses[1]);
    turn_both_until_told();
    int64_t before_us = clock_mono_us(); /* from here on the first loop does not turn */
    UNTIL(&at->houses[1].loop, keeper_leads(at->houses[1].keeper));
    int64_t took_us = clock_mono_us() - before_us;
    if (took_us < 2 * SECOND_US || took_us > 6 * SECOND_US)
        fail_msg("took over after %lld us", (long long)took_us);
    assert_true(keeper_leads(at->houses[0].keeper)); /* it does not know yet, and does no harm */
    UNTIL(at->loop, !keeper_leads(at->houses[0].keeper));
}

static void test_a_leader_that_leaves_makes_room_at_once(void **state)
{
    (void)state;
    keeper_lead(&at->houses[0]);
    second_house_open();
    keeper_begin(&at->houses[1]);
    turn_both_until_told();
    keeper_stop(at->houses[0].keeper);
    UNTIL(at->loop, stores_count("SELECT count(*) FROM keeper WHERE holder IS NULL") == 1);
    turn_for(at->loop, 1200000); /* no tick of the stopped one takes it back */
    assert_int_equal(stores_count("SELECT count(*) FROM keeper WHERE holder IS NULL"), 1);
    UNTIL(&at->houses[1].loop, keeper_leads(at->houses[1].keeper));
}

/* ---- the dead ---- */

static bool is_alive(const struct ident *worker)
{
    return stores_count("SELECT count(*) FROM workers WHERE incarnation = '%s' AND state = 'alive'",
                        id_text(worker)) == 1;
}

/* Nobody but the one that does not beat, and not before the lease is over. */
static void test_who_does_not_beat_is_declared_dead(void **state)
{
    (void)state;
    struct ident silent = worker_alive(at->loop, at->ledger, "silent");
    struct taker *taker = take(1);
    taker->keeps = true;
    submit_later(0);
    UNTIL(at->loop, taker->count == 1);
    claimer_stop(taker->claimer);
    stores_sql("UPDATE active SET owner = '%s'", id_text(&silent));
    int64_t before_us = clock_mono_us();
    keeper_lead(&at->houses[0]);
    UNTIL(at->loop, !is_alive(&silent));
    assert_true(clock_mono_us() - before_us >= LEASE_US);
    assert_true(clock_mono_us() - before_us < LEASE_US + 4 * SECOND_US);
    assert_true(is_alive(&at->worker));
    UNTIL(at->loop, stores_waiting("default") == 1); /* its task goes on at once */
    assert_int_equal(stores_count("SELECT count(*) FROM active WHERE status = 0 AND starts = 1"
                                  " AND unwitnessed = 1"),
                     1);
}

/* Postgres stands still for longer than the lease, and so do all heartbeats. After its return each
 * has a full lease to beat again. */
static void assert_all_live_on_after_an_absence(void)
{
    assert_int_equal(stores_count("SELECT count(*) FROM workers WHERE state = 'alive'"), 1);
    turn_for(at->loop, 1500000); /* the worker is slow to come back */
    assert_true(is_alive(&at->worker));
    timer_start(&at->beat, 0);
    turn_for(at->loop, LEASE_US);
    assert_true(is_alive(&at->worker));
}

static void test_nobody_dies_while_postgres_stands_still(void **state)
{
    (void)state;
    keeper_lead(&at->houses[0]);
    turn_for(at->loop, 1200000); /* the heartbeat was looked at */
    timer_stop(&at->beat);
    test_postgres_kill(stores_postgres, SIGSTOP);
    turn_for(at->loop, LEASE_US + 2 * SECOND_US);
    test_postgres_kill(stores_postgres, SIGCONT);
    assert_all_live_on_after_an_absence();
}

static void test_nobody_dies_while_postgres_is_down(void **state)
{
    (void)state;
    keeper_lead(&at->houses[0]);
    turn_for(at->loop, 1200000);
    timer_stop(&at->beat);
    test_postgres_kill(stores_postgres, SIGQUIT);
    turn_for(at->loop, LEASE_US + 2 * SECOND_US);
    test_postgres_restart(stores_postgres);
    assert_all_live_on_after_an_absence();
}

/* A keeper that was stopped has seen nothing in that time. */
static void test_nobody_dies_because_the_keeper_stood_still(void **state)
{
    (void)state;
    keeper_lead(&at->houses[0]);
    turn_for(at->loop, 1200000);
    timer_stop(&at->beat);
    second_house_open();
    turn_for(&at->houses[1].loop, LEASE_US + 2 * SECOND_US); /* the first loop does not turn */
    assert_all_live_on_after_an_absence();
}

static void test_rows_of_the_dead_are_swept(void **state)
{
    (void)state;
    struct taker *taker = take(1);
    taker->keeps = true;
    submit_later(0);
    UNTIL(at->loop, taker->count == 1);
    keeper_lead(&at->houses[0]);
    stores_sql("UPDATE workers SET state = 'dead', ended_at = now()"); /* and a start came after */
    UNTIL(at->loop, stores_waiting("default") == 1);
    assert_int_equal(stores_count("SELECT count(*) FROM active WHERE status = 0"), 1);
}

/* ---- the rest of the round ---- */

static void test_what_expired_is_revoked(void **state)
{
    (void)state;
    struct submission_box *box = box_of("greet", "{}");
    box->submission.expires_us = 300000;
    submit(box);
    submit_later(0);
    keeper_lead(&at->houses[0]);
    UNTIL(at->loop, count_of(TASK_REVOKED) == 1);
    assert_string_equal(stores_sql("SELECT error->>'kind' FROM outcomes"), "expired");
    assert_int_equal(count_of(TASK_PENDING), 1);
}

static void test_what_nobody_carries_ends_after_the_grace(void **state)
{
    (void)state;
    submit(box_of("nobody-has-this", "{}"));
    submit_later(0);
    int64_t before_us = clock_mono_us();
    keeper_lead(&at->houses[0]);
    UNTIL(at->loop, count_of(TASK_FAILURE) == 1);
    assert_true(clock_mono_us() - before_us >= 2 * SECOND_US);
    assert_string_equal(stores_sql("SELECT error->>'kind' FROM outcomes"), "unknown_task");
    assert_int_equal(count_of(TASK_PENDING), 1);
}

static void test_redis_hears_which_queues_are_paused(void **state)
{
    (void)state;
    stores_sql("INSERT INTO queues (name, paused) VALUES ('gpu', true), ('cpu', false)");
    stores_redis_do("SADD @:paused cpu");
    keeper_lead(&at->houses[0]);
    UNTIL(at->loop, strcmp(stores_redis_do("SMEMBERS @:paused"), "gpu") == 0);
}

static void test_partitions_lie_ahead(void **state)
{
    (void)state;
    stores_sql("SET client_min_messages TO warning");
    int64_t before = stores_count("SELECT count(*) FROM pg_inherits");
    stores_sql("DROP TABLE \"%s\"",
               stores_sql("SELECT inhrelid::regclass::text FROM pg_inherits"
                          " WHERE inhparent = 'logs'::regclass ORDER BY 1 DESC LIMIT 1"));
    keeper_lead(&at->houses[0]);
    UNTIL(at->loop, stores_count("SELECT count(*) FROM pg_inherits") == before);
}

#define KEEPER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        KEEPER_TEST(test_delayed_tasks_start_in_time),
        KEEPER_TEST(test_many_due_tasks_take_many_pages),
        KEEPER_TEST(test_retries_start_in_time),
        KEEPER_TEST(test_what_became_due_without_redis_is_pushed_after_its_return),
        KEEPER_TEST(test_absent_hints_are_found),
        KEEPER_TEST(test_an_emptied_redis_is_filled_in_rank_order),
        KEEPER_TEST(test_nobody_needs_to_tell_of_a_lost_epoch),
        KEEPER_TEST(test_a_follower_hears_that_all_is_reconciled),
        KEEPER_TEST(test_another_takes_over_from_a_leader_that_stopped),
        KEEPER_TEST(test_a_leader_that_leaves_makes_room_at_once),
        KEEPER_TEST(test_who_does_not_beat_is_declared_dead),
        KEEPER_TEST(test_nobody_dies_while_postgres_stands_still),
        KEEPER_TEST(test_nobody_dies_while_postgres_is_down),
        KEEPER_TEST(test_nobody_dies_because_the_keeper_stood_still),
        KEEPER_TEST(test_rows_of_the_dead_are_swept),
        KEEPER_TEST(test_what_expired_is_revoked),
        KEEPER_TEST(test_what_nobody_carries_ends_after_the_grace),
        KEEPER_TEST(test_redis_hears_which_queues_are_paused),
        KEEPER_TEST(test_partitions_lie_ahead),
    };
    return cmocka_run_group_tests(tests, stores_start, stores_stop);
}
