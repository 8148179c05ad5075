/* The ends of runs on their way to the ledger. */
#include "store/lifecycle_fixture.h"

static int64_t outcomes(enum task_status status)
{
    return stores_count("SELECT count(*) FROM outcomes WHERE status = %d", (int)status);
}

static void test_a_success_is_written_and_told(void **state)
{
    (void)state;
    struct taker *taker = start_many(1);
    struct finish finish = success_of(taker, 0);
    settle_at(0, &finish);
    assert_int_equal(settler_pending(at->settler), 1);
    assert_true(settler_pending_bytes(at->settler) > 0);
    settle_wait(1);
    assert_int_equal(at->finished[0].verdict, FINISH_DONE);
    assert_int_equal(at->finished[0].status, TASK_SUCCESS);
    assert_string_equal(stores_sql("SELECT result->>'ok' FROM outcomes"), "true");
    UNTIL(&at->loop, at->events > 0);
    assert_non_null(strstr(at->event, id_text(&taker->ids[0])));
    assert_non_null(strstr(at->event, "\"status\":\"SUCCESS\""));
    assert_non_null(strstr(at->event, "\"attempt\":1"));
}

static void test_a_failure_keeps_its_error(void **state)
{
    (void)state;
    struct finish finish = failure_of(start_many(1), 0, TASK_FAILURE);
    settle_at(0, &finish);
    settle_wait(1);
    assert_int_equal(at->finished[0].status, TASK_FAILURE);
    assert_string_equal(stores_sql("SELECT error->>'message' FROM outcomes"), "boom");
}

static void test_a_retry_at_once_is_pushed(void **state)
{
    (void)state;
    struct taker *taker = start_many(1);
    struct finish finish = failure_of(taker, 0, TASK_RETRY);
    settle_at(0, &finish);
    settle_wait(1);
    assert_int_equal(at->finished[0].status, TASK_RETRY);
    UNTIL(&at->loop, stores_waiting("default") == 1);
    at->takers[1] = taker_new(&at->loop, at->broker, at->probe, &at->worker, 1);
    UNTIL(&at->loop, at->takers[1]->count == 1);
    assert_int_equal(at->takers[1]->attempts[0], 2);
}

static void test_a_later_retry_wakes_the_keeper(void **state)
{
    (void)state;
    struct finish finish = failure_of(start_many(1), 0, TASK_RETRY);
    finish.delay_us = 60 * SECOND_US;
    settle_at(0, &finish);
    settle_wait(1);
    UNTIL(&at->loop, at->keeper_wakes > 0);
    assert_true(at->woken_for_us > clock_wall_us() + 50 * SECOND_US);
    assert_int_equal(stores_waiting("default"), 0);
}

/* All of them in one statement would take Postgres longer than the deadline, time and again. */
static void test_large_results_go_in_small_batches(void **state)
{
    (void)state;
    struct taker *taker = start_many(40);
    size_t len = 1 << 20;
    char *large = xmalloc(len + 1);
    memset(large, 'x', len);
    large[0] = large[len - 1] = '"';
    large[len] = '\0';
    for (size_t i = 0; i < 40; i++) {
        struct finish finish = success_of(taker, i);
        finish.result = large;
        finish.result_len = len;
        settle_at(i, &finish);
    }
    free(large);
    settle_wait(40);
    assert_int_equal(outcomes(TASK_SUCCESS), 40);
    assert_true(stores_count("SELECT max(n) FROM (SELECT count(*) AS n FROM outcomes"
                             " GROUP BY xmin::text) c") <= 8);
}

/* Its text is small and the error long: what is pending must still come to nothing. */
static void test_one_unstorable_result_ends_alone(void **state)
{
    (void)state;
    struct taker *taker = start_many(100);
    for (size_t i = 0; i < 100; i++) {
        struct finish finish = success_of(taker, i);
        if (i == 41) {
            finish.result = "\"\\u0000\"";
            finish.result_len = 8;
            finish.hook = "success";
        }
        settle_at(i, &finish);
    }
    settle_wait(100);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(at->finished[i].verdict, FINISH_DONE);
        assert_int_equal(at->finished[i].status, i == 41 ? TASK_FAILURE : TASK_SUCCESS);
    }
    assert_int_equal(outcomes(TASK_SUCCESS), 99);
    assert_string_equal(
        stores_sql("SELECT error->>'kind' FROM outcomes WHERE id = '%s'", id_text(&taker->ids[41])),
        "unstorable");
    assert_int_equal(stores_count("SELECT count(*) FROM hooks_owed"), 0);
}

static void test_finishes_of_unknown_outcome_are_resolved(void **state)
{
    (void)state;
    struct taker *taker = start_many(50);
    stores_commits_hang(&at->loop, at->probe);
    for (size_t i = 0; i < 50; i++) {
        struct finish finish =
            i % 2 ? success_of(taker, i) : failure_of(taker, i, i % 4 ? TASK_FAILURE : TASK_RETRY);
        settle_at(i, &finish);
    }
    UNTIL(&at->loop, stores_hanging("tested") == 2);
    stores_commits_go_on();
    stores_end_backends("tested");
    settle_wait(50);
    for (size_t i = 0; i < 50; i++) assert_int_equal(at->finished[i].verdict, FINISH_DONE);
    assert_int_equal(settler_fenced(at->settler), 0);
    assert_int_equal(outcomes(TASK_SUCCESS), 25);
    assert_int_equal(outcomes(TASK_FAILURE), 12);
    assert_int_equal(stores_count("SELECT count(*) FROM active WHERE status = 2"), 13);
}

static void test_finishes_outlive_an_absence_of_postgres(void **state)
{
    (void)state;
    struct taker *taker = start_many(300);
    test_postgres_kill(stores_postgres, SIGQUIT);
    UNTIL(&at->loop, !ledger_is_up(at->ledger));
    for (size_t i = 0; i < 300; i++) {
        struct finish finish = success_of(taker, i);
        settle_at(i, &finish);
        if (i % 50 == 0) turn_for(&at->loop, 50000);
    }
    assert_int_equal(settler_pending(at->settler), 300);
    test_postgres_restart(stores_postgres);
    settle_wait(300);
    assert_int_equal(outcomes(TASK_SUCCESS), 300);
    assert_int_equal(stores_count("SELECT count(*) FROM active"), 0);
}

static void test_a_late_end_is_fenced_and_counted(void **state)
{
    (void)state;
    struct taker *taker = start_many(2);
    struct finish finish = success_of(taker, 0), other = success_of(taker, 1);
    finish.claim = ident_random(); /* the task was given to another since */
    settle_at(0, &finish);
    settle_at(1, &other);
    settle_wait(2);
    assert_int_equal(at->finished[0].verdict, FINISH_FENCED);
    assert_int_equal(at->finished[1].verdict, FINISH_DONE);
    assert_int_equal(settler_fenced(at->settler), 1);
    assert_int_equal(stores_count("SELECT count(*) FROM active WHERE status = 1"), 1);
}

static void test_a_cancel_before_the_end_makes_it_revoked(void **state)
{
    (void)state;
    struct taker *taker = start_many(1);
    stores_sql("SELECT cancel_tasks('{%s}')", id_text(&taker->ids[0]));
    struct finish finish = failure_of(taker, 0, TASK_RETRY);
    settle_at(0, &finish);
    settle_wait(1);
    assert_int_equal(at->finished[0].status, TASK_REVOKED);
    assert_int_equal(stores_waiting("default"), 0);
    UNTIL(&at->loop, strstr(at->event, "\"status\":\"REVOKED\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE_TEST(test_a_success_is_written_and_told),
        LIFE_TEST(test_a_failure_keeps_its_error),
        LIFE_TEST(test_a_retry_at_once_is_pushed),
        LIFE_TEST(test_a_later_retry_wakes_the_keeper),
        LIFE_TEST(test_large_results_go_in_small_batches),
        LIFE_TEST(test_one_unstorable_result_ends_alone),
        LIFE_TEST(test_finishes_of_unknown_outcome_are_resolved),
        LIFE_TEST(test_finishes_outlive_an_absence_of_postgres),
        LIFE_TEST(test_a_late_end_is_fenced_and_counted),
        LIFE_TEST(test_a_cancel_before_the_end_makes_it_revoked),
    };
    return cmocka_run_group_tests(tests, stores_start, stores_stop);
}
