/* What operators do: cancel, retry, delete, pause, prune, control of workers. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "support/ledger_fixture.h"

static struct ident ended(const struct ident *owner, enum task_status status)
{
    struct ident id = insert_named("greet");
    struct finish finish = finish_of(id, started_by(owner, id, 0), status);
    assert_int_equal(finish_one(owner, &finish).status, status);
    return id;
}

static void cancel_says_what_it_did_to_each(void **state)
{
    (void)state;
    struct ident owner = worker_living("w");
    struct ident ids[4] = { insert_named("greet"), insert_named("greet"), ident_v7() };
    started_by(&owner, ids[1], 0);
    ids[3] = ended(&owner, TASK_SUCCESS);
    AWAIT(ledger_cancel(ledger_a, ids, 4, "test", on_operate, NULL));
    assert_string_equal(field("0,task_id"), text_of(ids[0]));
    assert_string_equal(field("0,status"), "cancelled");
    assert_string_equal(field("0,task_status"), "REVOKED");
    assert_string_equal(field("0,queue"), "default");
    assert_string_equal(field("1,status"), "cancelling");
    assert_string_equal(field("1,task_status"), "STARTED");
    assert_string_equal(field("2,status"), "not_found");
    assert_string_equal(field("2,task_status"), "");
    assert_string_equal(field("3,status"), "refused");
    assert_string_equal(field("3,task_status"), "SUCCESS");
    assert_string_equal(
        sql("SELECT concat_ws(' ', status, error->>'kind') FROM outcomes WHERE id = '%s'",
            text_of(ids[0])),
        "5 cancelled");
    int64_t asked = sql_int("SELECT micros(cancel_at) FROM active");
    assert_true(asked > 0);
    AWAIT(ledger_cancel(ledger_a, ids, 4, "test", on_operate, NULL));
    assert_string_equal(field("0,status"), "refused");
    assert_string_equal(field("1,status"), "cancelling");
    assert_int_equal(sql_int("SELECT micros(cancel_at) FROM active"), asked);
}

static void retry_makes_a_new_round_with_fresh_budgets(void **state)
{
    (void)state;
    struct ident owner = worker_living("w");
    struct submission asked = submission_of("greet");
    asked.expires_us = 3600000000;
    insert_one(&asked);
    struct finish failure = finish_of(asked.id, started_by(&owner, asked.id, 0), TASK_FAILURE);
    finish_one(&owner, &failure);
    struct ident ids[3] = { asked.id, ident_v7(), ended(&owner, TASK_SUCCESS) };
    AWAIT(ledger_retry(ledger_a, ids, 3, "test", on_operate, NULL));
    assert_string_equal(field("0,status"), "retried");
    assert_string_equal(field("0,task_status"), "PENDING");
    assert_string_equal(field("1,status"), "not_found");
    assert_string_equal(field("2,status"), "refused");
    assert_int_equal(answer.hint_count, 1);
    assert_true(ident_equal(&answer.hints[0].id, &asked.id));
    assert_int_equal(answer.hints[0].starts, 1);
    assert_string_equal(
        sql("SELECT concat_ws(' ', round, starts, failures, losses, unwitnessed, status,"
            " expires_at) FROM active"),
        "2 1 0 0 0 0");
    AWAIT(ledger_retry(ledger_a, ids, 1, "test", on_operate, NULL));
    assert_string_equal(field("0,status"), "refused");
    struct finish second = finish_of(asked.id, started_by(&owner, asked.id, 1), TASK_FAILURE);
    finish_one(&owner, &second);
    AWAIT(ledger_retry(ledger_a, ids, 1, "test", on_operate, NULL));
    struct finish success = finish_of(asked.id, started_by(&owner, asked.id, 2), TASK_SUCCESS);
    assert_int_equal(finish_one(&owner, &success).verdict, FINISH_DONE);
    assert_string_equal(
        sql("SELECT string_agg(concat_ws(' ', round, attempt, status), ', ' ORDER BY round)"
            " FROM outcomes WHERE id = '%s'",
            text_of(asked.id)),
        "1 1 4, 2 2 4, 3 3 3");
    assert_int_equal(finish_one(&owner, &failure).verdict, FINISH_DONE); /* of the first round */
}

static void retry_respects_the_unique_key_of_another(void **state)
{
    (void)state;
    struct ident owner = worker_living("w");
    struct submission first = submission_of("greet"), second;
    first.unique_key = "k";
    second = first;
    second.id = ident_v7();
    insert_one(&first);
    struct finish failure = finish_of(first.id, started_by(&owner, first.id, 0), TASK_FAILURE);
    finish_one(&owner, &failure);
    insert_one(&second);
    AWAIT(ledger_retry(ledger_a, &first.id, 1, "test", on_operate, NULL));
    assert_string_equal(field("0,status"), "refused");
    assert_int_equal(answer.hint_count, 0);
    assert_int_equal(sql_int("SELECT count(*) FROM active"), 1);
}

static void delete_forgets_final_tasks_only(void **state)
{
    (void)state;
    struct ident owner = worker_living("w");
    struct ident ids[3] = { insert_named("greet"), ended(&owner, TASK_FAILURE), ident_v7() };
    AWAIT(ledger_delete(ledger_a, ids, 3, "test", on_operate, NULL));
    assert_string_equal(field("0,status"), "refused");
    assert_string_equal(field("1,status"), "deleted");
    assert_string_equal(field("1,task_status"), "FAILURE");
    assert_string_equal(field("2,status"), "not_found");
    assert_string_equal(
        sql("SELECT concat_ws(' ', count(*), (SELECT count(*) FROM outcomes)) FROM tasks"), "1 0");
}

static void pause_is_durable(void **state)
{
    (void)state;
    AWAIT(ledger_pause(ledger_a, "slow", true, "test", on_plain, NULL));
    AWAIT(ledger_pause(ledger_a, "slow", true, "test", on_plain, NULL));
    AWAIT(ledger_paused(ledger_b, on_json, NULL));
    assert_string_equal(answer.json, "[\"slow\"]");
    AWAIT(ledger_pause(ledger_a, "slow", false, "test", on_plain, NULL));
    AWAIT(ledger_paused(ledger_b, on_json, NULL));
    assert_string_equal(answer.json, "[]");
}

/* A name that was mistyped twice must not stay for ever among the queues. */
static void what_only_a_pause_knew_is_no_queue_once_it_is_resumed(void **state)
{
    (void)state;
    int64_t before = sql_int("SELECT count(*) FROM queues");
    AWAIT(ledger_pause(ledger_a, "defualt", false, "test", on_plain, NULL));
    assert_int_equal(sql_int("SELECT count(*) FROM queues"), before);
    AWAIT(ledger_pause(ledger_a, "defualt", true, "test", on_plain, NULL));
    assert_int_equal(sql_int("SELECT count(*) FROM queues"), before + 1);
    AWAIT(ledger_pause(ledger_a, "defualt", false, "test", on_plain, NULL));
    assert_int_equal(sql_int("SELECT count(*) FROM queues"), before);
    AWAIT(ledger_pause(ledger_a, "default", true, "test", on_plain, NULL));
    AWAIT(ledger_pause(ledger_a, "default", false, "test", on_plain, NULL));
    sql("INSERT INTO queues (name, paused, is_full, served_since)"
        " VALUES ('full', true, true, NULL), ('served', true, false, now())");
    AWAIT(ledger_pause(ledger_a, "full", false, "test", on_plain, NULL));
    AWAIT(ledger_pause(ledger_a, "served", false, "test", on_plain, NULL));
    assert_int_equal(sql_int("SELECT count(*) FROM queues WHERE NOT paused"), before + 2);
}

static void prune_takes_what_is_old_and_final(void **state)
{
    (void)state;
    struct ident owner = worker_living("w");
    struct ident old = ended(&owner, TASK_SUCCESS), young = ended(&owner, TASK_SUCCESS),
                 waiting = insert_named("greet");
    sql("UPDATE outcomes SET finished_at = now() - interval '2 days' WHERE id = '%s'",
        text_of(old));
    AWAIT(ledger_prune(ledger_a, 86400000000, true, on_json, NULL));
    assert_string_equal(answer.json, "{\"tasks\":1,\"partitions\":0}");
    assert_int_equal(sql_int("SELECT count(*) FROM tasks"), 3);
    AWAIT(ledger_prune(ledger_a, 86400000000, false, on_json, NULL));
    assert_string_equal(answer.json, "{\"tasks\":1,\"partitions\":0}");
    assert_int_equal(sql_int("SELECT count(*) FROM tasks WHERE id IN ('%s', '%s')", text_of(young),
                             text_of(waiting)),
                     2);
    assert_int_equal(sql_int("SELECT count(*) FROM tasks"), 2);
}

/* Weeks 10, 9 and 8 ago: all old; one task still waits; one ended yesterday. */
static void make_old_weeks(void)
{
    sql("DO $$ DECLARE w timestamp; p text; BEGIN FOR i IN 8..10 LOOP "
        "w := date_trunc('week', now() AT TIME ZONE 'UTC') - i * interval '1 week'; "
        "FOREACH p IN ARRAY ARRAY['tasks', 'outcomes', 'attempts', 'logs'] LOOP "
        "EXECUTE format('CREATE TABLE %%I PARTITION OF %%I FOR VALUES FROM (%%L) TO (%%L)', "
        "p || to_char(w, '_YYYYMMDD'), p, id_bound(w AT TIME ZONE 'UTC'), "
        "id_bound((w + interval '1 week') AT TIME ZONE 'UTC')); END LOOP; "
        "INSERT INTO tasks SELECT id_bound(w AT TIME ZONE 'UTC'), 'greet', 'default', 5, '{}', "
        "NULL, w, w, -1, 0, 0, 0, "
        "0, false, 3; "
        "IF i = 9 THEN INSERT INTO active (id, run_at, created_at, priority, name, queue) "
        "SELECT id_bound(w AT TIME ZONE 'UTC'), w, w, 5, 'greet', 'default'; ELSE "
        "INSERT INTO outcomes (id, round, attempt, status, failures, losses, run_at, finished_at) "
        "SELECT id_bound(w AT TIME ZONE 'UTC'), 1, 1, 3, 0, 0, w, CASE i WHEN 8 THEN now() - "
        "interval '1 hour' ELSE w END; "
        "END IF; END LOOP; END $$");
}

static void prune_drops_whole_weeks(void **state)
{
    (void)state;
    make_old_weeks();
    AWAIT(ledger_prune(ledger_a, 86400000000, true, on_json, NULL));
    assert_string_equal(answer.json, "{\"tasks\":1,\"partitions\":1}");
    AWAIT(ledger_prune(ledger_a, 86400000000, false, on_json, NULL));
    assert_string_equal(answer.json, "{\"tasks\":1,\"partitions\":1}");
    assert_int_equal(sql_int("SELECT count(*) FROM weeks"), 9);
    assert_int_equal(sql_int("SELECT count(*) FROM pg_inherits WHERE inhparent = 'logs'::regclass"),
                     9);
    assert_int_equal(sql_int("SELECT count(*) FROM tasks"), 2);
}

/* A backup reads for hours: behind a lock that waits for it, every start would wait too. */
static void prune_gives_way_to_a_long_reader(void **state)
{
    (void)state;
    make_old_weeks();
    sql("BEGIN");
    sql("SELECT count(*) FROM outcomes");
    int64_t before_us = clock_mono_us();
    answer.done = false;
    ledger_prune(ledger_a, 86400000000, false, on_json, NULL);
    wait_for(&answer.done);
    assert_true(clock_mono_us() - before_us < 3000000);
    assert_int_equal(answer.err.code, ERR_STORE);
    assert_non_null(strstr(answer.err.text, "try again later"));
    sql("ROLLBACK");
    assert_int_equal(sql_int("SELECT count(*) FROM weeks"), 10);
    AWAIT(ledger_prune(ledger_a, 86400000000, false, on_json, NULL));
    assert_string_equal(answer.json, "{\"tasks\":1,\"partitions\":1}");
}

static int controls_heard;
static void on_control(void *arg)
{
    (void)arg;
    controls_heard++;
}

static void control_goes_there_and_comes_back(void **state)
{
    (void)state;
    const struct ledger_hooks hooks = { .control = on_control };
    struct ledger *listener = ledger_new(&ledger_test_loop, ledger_test_conninfo(),
                                         ledger_test_namespace(), "listener", &hooks);
    controls_heard = 0;
    ledger_listen(listener);
    AWAIT(ledger_pulse(listener, on_json, NULL)); /* by now it listens */
    struct ident one = worker_living("one");
    worker_living("two");
    struct ident request = ident_random();
    AWAIT(ledger_control_request(ledger_a, &request, "reload", (const char *const[]){ "one", NULL },
                                 NULL, false, "test", on_json, NULL));
    assert_string_equal(answer.json, "[\"one\"]");
    while (controls_heard < 1) loop_turn(&ledger_test_loop, true);
    AWAIT(ledger_control_take(ledger_b, &one, on_json, NULL));
    assert_string_equal(field("0,request"), text_of(request));
    assert_string_equal(field("0,verb"), "reload");
    AWAIT(ledger_control_take(ledger_b, &one, on_json, NULL));
    assert_string_equal(answer.json, "[]");
    AWAIT(ledger_control_read(ledger_a, &request, on_json, NULL));
    assert_string_equal(field("0,answer"), "");
    AWAIT(ledger_control_answer(ledger_b, &one, &request, "{\"ok\": true}", on_plain, NULL));
    assert_int_equal(answer.count, 1);
    while (controls_heard < 2) loop_turn(&ledger_test_loop, true);
    AWAIT(ledger_control_read(ledger_a, &request, on_json, NULL));
    assert_string_equal(field("0,worker"), "one");
    assert_string_equal(field("0,answer,ok"), "true");
    request = ident_random();
    AWAIT(ledger_control_request(ledger_a, &request, "stop", NULL, "here", false, "test", on_json,
                                 NULL));
    assert_string_equal(answer.json, "[\"one\", \"two\"]");
    request = ident_random();
    AWAIT(ledger_control_request(ledger_a, &request, "stop", NULL, "elsewhere", false, "test",
                                 on_json, NULL));
    assert_string_equal(answer.json, "[]");
    ledger_free(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(cancel_says_what_it_did_to_each),
        LEDGER_TEST(retry_makes_a_new_round_with_fresh_budgets),
        LEDGER_TEST(retry_respects_the_unique_key_of_another),
        LEDGER_TEST(delete_forgets_final_tasks_only),
        LEDGER_TEST(pause_is_durable),
        LEDGER_TEST(what_only_a_pause_knew_is_no_queue_once_it_is_resumed),
        LEDGER_TEST(prune_takes_what_is_old_and_final),
        LEDGER_TEST(prune_drops_whole_weeks),
        LEDGER_TEST(prune_gives_way_to_a_long_reader),
        LEDGER_TEST(control_goes_there_and_comes_back),
    };
    return cmocka_run_group_tests(tests, ledger_server_start, ledger_server_stop);
}
