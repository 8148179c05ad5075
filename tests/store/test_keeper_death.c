/* Who leads, and who is dead: the leader that stopped, the worker that does not beat, and nobody
 * because a store or the keeper itself stood still. */
#include "store/keeper_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        KEEPER_TEST(test_a_follower_hears_that_all_is_reconciled),
        KEEPER_TEST(test_another_takes_over_from_a_leader_that_stopped),
        KEEPER_TEST(test_a_leader_that_leaves_makes_room_at_once),
        KEEPER_TEST(test_who_does_not_beat_is_declared_dead),
        KEEPER_TEST(test_nobody_dies_while_postgres_stands_still),
        KEEPER_TEST(test_nobody_dies_while_postgres_is_down),
        KEEPER_TEST(test_nobody_dies_because_the_keeper_stood_still),
        KEEPER_TEST(test_rows_of_the_dead_are_swept),
    };
    return cmocka_run_group_tests(tests, stores_start, stores_stop);
}
