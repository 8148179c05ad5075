/* Plans and locks: statements that were planned over empty tables still probe when these have
 * grown, and a batch that meets a deadlock goes again. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "support/ledger_fixture.h"

enum { GROWN = 20000, FEW = 10 };

static void one_life(const struct ident *owner)
{
    struct submission submissions[FEW];
    struct inserted inserted[FEW];
    for (int i = 0; i < FEW; i++) submissions[i] = submission_of("greet");
    submissions[0].unique_key = "k";
    insert_many(submissions, FEW, inserted);
    submissions[0].id = ident_v7();
    insert_many(submissions, FEW, inserted); /* all duplicates: the look */
    submissions[0].id = inserted[0].id;
    for (int i = 0; i < FEW; i++) {
        const enum task_status ends[] = { TASK_SUCCESS, TASK_FAILURE, TASK_RETRY };
        struct ident id = submissions[i].id, claim = started_by(owner, id, 0);
        struct progress progress = { id, claim, 1, NULL };
        AWAIT(ledger_progress(ledger_a, &progress, 1, on_plain, NULL));
        struct log_entry entry = { id, claim, 1, 0, "info", "x", 1 };
        AWAIT(ledger_log(ledger_a, &entry, 1, on_plain, NULL));
        AWAIT(ledger_info(ledger_a, &id, on_json, NULL));
        struct finish finish = finish_of(id, claim, ends[i % 3]);
        finish_one(owner, &finish);
        assert_int_equal(finish_one(owner, &finish).verdict, FINISH_DONE);
        assert_int_equal(start_one(owner, id, 7, claim).verdict, START_STALE);
        AWAIT(ledger_cancel(ledger_a, &id, 1, "test", on_operate, NULL));
    }
}

/* Rows that the server has read, by whatever way. Counted once a session has ended. */
static int64_t rows_read(void)
{
    ledger_free(ledger_a);
    while (sql_int("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test a'") > 0)
        loop_turn(&ledger_test_loop, false);
    ledger_a = ledger_new(&ledger_test_loop, ledger_test_conninfo(), ledger_test_namespace(),
                          "test a", NULL);
    sql("SELECT pg_stat_clear_snapshot()");
    return sql_int(
        "SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE schemaname = '%s')"
        " + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE schemaname = '%s')",
        ledger_test_namespace(), ledger_test_namespace());
}

static void plans_made_over_empty_tables_still_probe(void **state)
{
    (void)state;
    struct ident owner = worker_living("w");
    rows_read();
    sql("VACUUM ANALYZE");
    one_life(&owner); /* plans everything */
    sql("INSERT INTO tasks SELECT id_bound(now() - i * interval '1 ms'), 'greet', 'default', 5, "
        "'{}',"
        " NULL, now(), now(), -1, 0, 0, 0, 0, false, 3 FROM generate_series(1, %d) i",
        GROWN);
    sql("INSERT INTO active (id, run_at, created_at, priority, name, queue, unique_key)"
        " SELECT id, now(), now(), 5, 'greet', 'default', id FROM tasks"
        " ON CONFLICT DO NOTHING");
    sql("INSERT INTO outcomes (id, round, attempt, status, failures, losses, run_at, finished_at)"
        " SELECT id, 9, 1, 4, 0, 0, now(), now() FROM tasks");
    sql("INSERT INTO attempts (id, attempt, round, ended, ended_at)"
        " SELECT id, 9, 9, 'failed', now() FROM tasks");
    sql("SELECT pg_stat_force_next_flush()"); /* what these statements read does not count */
    sql("SELECT pg_stat_reset()");
    one_life(&owner);
    assert_in_range(rows_read(), 1, GROWN / 4);
}

/* A page and the count of 10,000 walk the key and end there. */
static void a_list_of_what_waits_reads_no_more_than_it_counts(void **state)
{
    (void)state;
    sql("INSERT INTO tasks SELECT id_bound(now() - i * interval '1 ms'), 'greet', 'default', 5, "
        "'{}', NULL, now(), now(), -1, 0, 0, 0, 0, false, 3 FROM generate_series(1, %d) i",
        3 * GROWN);
    sql("INSERT INTO active (id, run_at, created_at, priority, name, queue)"
        " SELECT id, now(), now(), 5, 'greet', 'default' FROM tasks");
    sql("VACUUM ANALYZE");
    rows_read();
    sql("SELECT pg_stat_force_next_flush()");
    sql("SELECT pg_stat_reset()");
    const struct task_filter filter = { .statuses = "PENDING,RETRY", .limit = 10 };
    AWAIT(ledger_list(ledger_a, &filter, on_json, NULL));
    assert_string_equal(field("tasks,9,status"), "PENDING");
    assert_in_range(rows_read(), 1, 2 * GROWN);
}

struct ended {
    bool done;
    enum finish_verdict verdicts[3];
    enum task_status statuses[3];
};
static void on_ended(void *arg, const struct finished *finished, size_t count, bool unknown,
                     const struct err *err)
{
    struct ended *ended = arg;
    (void)unknown;
    if (err) fail_msg("%s", err->text);
    for (size_t i = 0; i < count; i++) {
        ended->verdicts[i] = finished[i].verdict;
        ended->statuses[i] = finished[i].status;
    }
    ended->done = true;
}

static void a_mixed_batch_answers_in_its_order(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), ids[3];
    struct finish batch[3];
    const enum task_status statuses[] = { TASK_RETRY, TASK_SUCCESS, TASK_SUCCESS };
    for (int i = 0; i < 3; i++) {
        ids[i] = insert_named("greet");
        batch[i] = finish_of(ids[i], started_by(&owner, ids[i], 0), statuses[i]);
    }
    batch[1].claim = ident_random();
    struct ended ended = { 0 };
    ledger_finish(ledger_a, &owner, batch, 3, on_ended, &ended);
    wait_for(&ended.done);
    assert_int_equal(ended.verdicts[0], FINISH_DONE);
    assert_int_equal(ended.statuses[0], TASK_RETRY);
    assert_int_equal(ended.verdicts[1], FINISH_FENCED);
    assert_int_equal(ended.verdicts[2], FINISH_DONE);
    assert_int_equal(ended.statuses[2], TASK_SUCCESS);
}

/* Another session holds the second row and then asks for the first: the ledger's statement, which
 * waited first, is the one that Postgres ends. It must go again and succeed. */
static void a_deadlock_is_repeated(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), ids[2];
    struct finish batch[2];
    for (int i = 0; i < 2; i++) {
        ids[i] = insert_named("greet");
        batch[i] = finish_of(ids[i], started_by(&owner, ids[i], 0), TASK_SUCCESS);
    }
    sql("SET deadlock_timeout = '60s'");
    sql("BEGIN");
    sql("SELECT FROM active WHERE id = '%s' FOR UPDATE", text_of(ids[1]));
    struct ended ended = { 0 };
    ledger_finish(ledger_a, &owner, batch, 2, on_ended, &ended);
    while (sql_int("SELECT count(*) FROM pg_locks WHERE NOT granted") == 0)
        loop_turn(&ledger_test_loop, false);
    sql("SELECT FROM active WHERE id = '%s' FOR UPDATE", text_of(ids[0])); /* waits for the end */
    sql("COMMIT");
    sql("RESET deadlock_timeout");
    wait_for(&ended.done);
    assert_int_equal(ended.verdicts[0], FINISH_DONE);
    assert_int_equal(ended.verdicts[1], FINISH_DONE);
    assert_int_equal(
        sql_int("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"), 1);
}

static void a_cancel_and_a_finish_have_one_winner_each(void **state)
{
    (void)state;
    struct ident owner = worker_living("w");
    for (int i = 0; i < 20; i++) {
        struct ident id = insert_named("greet");
        struct finish finish = finish_of(id, started_by(&owner, id, 0), TASK_RETRY);
        struct ended ended = { 0 };
        answer.done = false;
        if (i % 2) ledger_cancel(ledger_b, &id, 1, "test", on_operate, NULL);
        ledger_finish(ledger_a, &owner, &finish, 1, on_ended, &ended);
        if (!(i % 2)) ledger_cancel(ledger_b, &id, 1, "test", on_operate, NULL);
        wait_for(&ended.done);
        wait_for(&answer.done);
        /* Whoever came first, a RETRY with a cancel ends as REVOKED, once. */
        assert_int_equal(sql_int("SELECT count(*) FROM active WHERE id = '%s'", text_of(id)), 0);
        assert_string_equal(sql("SELECT string_agg(concat_ws(' ', status, error->>'kind'), ',')"
                                " FROM outcomes WHERE id = '%s'",
                                text_of(id)),
                            "5 cancelled");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(plans_made_over_empty_tables_still_probe),
        LEDGER_TEST(a_list_of_what_waits_reads_no_more_than_it_counts),
        LEDGER_TEST(a_mixed_batch_answers_in_its_order),
        LEDGER_TEST(a_deadlock_is_repeated),
        LEDGER_TEST(a_cancel_and_a_finish_have_one_winner_each),
    };
    return cmocka_run_group_tests(tests, ledger_server_start, ledger_server_stop);
}
