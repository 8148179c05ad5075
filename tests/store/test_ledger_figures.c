/* Figures: what happened is counted once, in the minute in which it happened, whoever books it and
 * whatever is forgotten meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "support/ledger_fixture.h"

#define TOTAL(column) sql_int("SELECT sum(" column ") FROM figures WHERE minute = '-infinity'")
#define MINUTES(column)                                                                            \
    sql_int("SELECT coalesce(sum(" column "), 0) FROM figures WHERE minute > '-infinity'")

/* Two turns: the first sets the barrier, the second passes it. */
static void roll(void)
{
    for (int turns = 0; turns < 2; turns++) do
            AWAIT(ledger_figures_roll(ledger_a, 0, on_plain, NULL));
        while (answer.count > 0);
}

static void end_as(const struct ident *owner, struct ident id, int32_t starts,
                   enum task_status status)
{
    struct ident claim = started_by(owner, id, starts);
    struct finish finish = finish_of(id, claim, status);
    assert_int_equal(finish_one(owner, &finish).verdict, FINISH_DONE);
}

/* What /metrics will say: of the first (and only) pair. */
static int64_t shown(const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "totals,0,%s", name);
    AWAIT(ledger_metrics(ledger_b, on_json, NULL));
    return atoll(field(path));
}

static void one_of_each(const struct ident *owner)
{
    end_as(owner, insert_named("greet"), 0, TASK_SUCCESS);
    end_as(owner, insert_named("greet"), 0, TASK_FAILURE);
    struct ident again = insert_named("greet"), gone = insert_named("greet");
    end_as(owner, again, 0, TASK_RETRY);
    sql("UPDATE active SET run_at = now() WHERE id = '%s'", text_of(again));
    end_as(owner, again, 1, TASK_SUCCESS);
    AWAIT(ledger_cancel(ledger_a, &gone, 1, "test", on_operate, NULL));
}

static void the_same_is_shown_before_and_after_it_is_booked(void **state)
{
    (void)state;
    struct ident owner = worker_living("w");
    one_of_each(&owner);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(shown("submitted"), 4);
        assert_int_equal(shown("succeeded"), 2);
        assert_int_equal(shown("failed"), 1);
        assert_int_equal(shown("revoked"), 1);
        assert_int_equal(shown("kinds,0"), 2); /* exceptions: one ended its task, one did not */
        assert_int_equal(sql_int("SELECT count(*) FROM figures"), round ? 2 : 0);
        if (!round) roll();
    }
    assert_int_equal(MINUTES("submitted"), 4);
    assert_int_equal(sql_int("SELECT sum(n) FROM figures, unnest(runs) n"
                             " WHERE minute = '-infinity'"),
                     4);
    assert_int_equal(sql_int("SELECT sum(n) FROM figures, unnest(waits) n"
                             " WHERE minute = '-infinity'"),
                     4);
}

static void two_keepers_book_nothing_twice(void **state)
{
    (void)state;
    struct ident owner = worker_living("w");
    one_of_each(&owner);
    AWAIT(ledger_figures_roll(ledger_a, 0, on_plain, NULL));
    answer.done = false;
    ledger_figures_roll(ledger_b, 0, on_plain, NULL);
    AWAIT(ledger_figures_roll(ledger_a, 0, on_plain, NULL));
    roll();
    assert_int_equal(TOTAL("submitted"), 4);
    assert_int_equal(TOTAL("succeeded"), 2);
    assert_int_equal(MINUTES("failed"), 1);
}

static void what_commits_late_is_waited_for(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), late = ident_v7();
    end_as(&owner, insert_named("greet"), 0, TASK_SUCCESS);
    sql("BEGIN");
    sql("INSERT INTO tasks SELECT '%s', name, queue, priority, parameters, tags, clock_timestamp(),"
        " run_at, timeout_us, retry_max, retry_backoff, retry_base_us, retry_cap_us, retry_jitter,"
        " max_losses FROM tasks",
        text_of(late));
    roll();
    roll();
    int64_t booked = sql_int("SELECT coalesce(sum(submitted), 0) FROM figures"
                             " WHERE minute = '-infinity'");
    sql("COMMIT");
    assert_true(booked <= 1);
    assert_int_equal(shown("submitted"), 2);
    roll();
    roll();
    assert_int_equal(TOTAL("submitted"), 2);
    assert_int_equal(shown("submitted"), 2);
}

static void what_is_forgotten_stays_counted(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), id = insert_named("greet");
    end_as(&owner, id, 0, TASK_SUCCESS);
    AWAIT(ledger_delete(ledger_a, &id, 1, "test", on_operate, NULL)); /* before it was booked */
    assert_int_equal(shown("succeeded"), 1);
    roll();
    id = insert_named("greet");
    end_as(&owner, id, 0, TASK_FAILURE);
    roll();
    AWAIT(ledger_delete(ledger_a, &id, 1, "test", on_operate, NULL)); /* after it */
    end_as(&owner, insert_named("greet"), 0, TASK_SUCCESS);
    AWAIT(ledger_prune(ledger_a, 0, false, on_json, NULL));
    assert_int_equal(sql_int("SELECT count(*) FROM tasks"), 0);
    sql("UPDATE figures SET minute = minute - interval '9 days' WHERE minute > '-infinity'");
    AWAIT(ledger_partitions(ledger_a, on_plain, NULL));
    assert_int_equal(MINUTES("submitted"), 0);
    assert_int_equal(shown("submitted"), 3);
    assert_int_equal(shown("succeeded"), 2);
    assert_int_equal(shown("failed"), 1);
}

static void after_a_long_stop_it_goes_on_minute_by_minute(void **state)
{
    (void)state;
    struct ident owner = worker_living("w");
    one_of_each(&owner);
    sql("UPDATE tasks SET created_at = created_at - interval '90 minutes'");
    sql("UPDATE outcomes SET finished_at = finished_at - interval '30 minutes'");
    sql("UPDATE figures_mark SET until = until - interval '2 hours'");
    AWAIT(ledger_figures_roll(ledger_a, 0, on_plain, NULL));
    AWAIT(ledger_figures_roll(ledger_a, 0, on_plain, NULL));
    assert_in_range(answer.count, 100, 120);
    roll();
    assert_int_equal(TOTAL("submitted"), 4);
    assert_int_equal(TOTAL("succeeded"), 2);
    assert_int_equal(
        sql_int("SELECT count(*) FROM figures WHERE minute"
                " BETWEEN now() - interval '92 minutes' AND now() - interval '89 minutes'"
                " AND submitted = 4"),
        1);
    AWAIT(ledger_figures(ledger_a, 7200 * INT64_C(1000000), 60 * INT64_C(1000000), NULL, NULL,
                         on_json, NULL));
    assert_string_equal(field("step"), "60");
}

static void queues_that_anybody_invents_are_not_told_apart_for_ever(void **state)
{
    (void)state;
    struct ident owner = worker_living("w");
    sql("INSERT INTO figures SELECT '-infinity', 'old', 'q' || i, 1, 0, 0, 0, z, 0, z, 0, z"
        " FROM generate_series(1, 999) i, (SELECT array_fill(0::bigint, ARRAY[18]) AS z) z");
    for (int i = 0; i < 3; i++) {
        char queue[16];
        struct submission submission = submission_of("greet");
        snprintf(queue, sizeof queue, "new%d", i);
        submission.queue = queue;
        insert_one(&submission);
    }
    (void)owner;
    roll();
    assert_int_equal(TOTAL("submitted"), 1002);
    assert_int_equal(sql_int("SELECT count(*) FROM figures WHERE minute = '-infinity'"), 1001);
    assert_int_equal(sql_int("SELECT submitted FROM figures WHERE minute = '-infinity'"
                             " AND queue = '*'"),
                     2);
    assert_int_equal(MINUTES("submitted"), 3);
}

static void a_fenced_finish_is_counted_once(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), id = insert_named("greet");
    struct ident claim = started_by(&owner, id, 0), other = ident_random();
    struct finish finish = finish_of(id, other, TASK_SUCCESS);
    assert_int_equal(finish_one(&owner, &finish).verdict, FINISH_FENCED);
    finish = finish_of(id, claim, TASK_SUCCESS);
    assert_int_equal(finish_one(&owner, &finish).verdict, FINISH_DONE);
    assert_int_equal(finish_one(&owner, &finish).verdict, FINISH_DONE); /* the look finds it */
    AWAIT(ledger_metrics(ledger_b, on_json, NULL));
    assert_string_equal(field("fenced"), "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(the_same_is_shown_before_and_after_it_is_booked),
        LEDGER_TEST(two_keepers_book_nothing_twice),
        LEDGER_TEST(what_commits_late_is_waited_for),
        LEDGER_TEST(what_is_forgotten_stays_counted),
        LEDGER_TEST(after_a_long_stop_it_goes_on_minute_by_minute),
        LEDGER_TEST(queues_that_anybody_invents_are_not_told_apart_for_ever),
        LEDGER_TEST(a_fenced_finish_is_counted_once),
    };
    return cmocka_run_group_tests(tests, ledger_server_start, ledger_server_stop);
}
