/* Insert, start, progress, logs and finish on a real Postgres. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "support/ledger_fixture.h"

/* ---- submit ---- */

static void insert_answers_new_and_duplicate_and_conflict(void **state)
{
    (void)state;
    struct submission first = submission_of("greet");
    struct submission same = first, other = first, fresh = submission_of("greet");
    other.params = "{\"message\": \"bye\"}";
    other.params_len = strlen(other.params);
    struct inserted answers[4];
    insert_many((struct submission[]){ fresh, first, same, other }, 4, answers);
    assert_int_equal(answers[0].verdict, INSERT_NEW);
    assert_true(answers[0].due);
    assert_int_equal(answers[0].hint.starts, 0);
    assert_string_equal(answers[0].hint.queue, "default");
    assert_int_equal(answers[1].verdict, INSERT_NEW);
    assert_int_equal(answers[2].verdict, INSERT_DUPLICATE);
    assert_int_equal(answers[3].verdict, INSERT_CONFLICT);
    assert_int_equal(insert_one(&first).verdict, INSERT_DUPLICATE);
    assert_int_equal(insert_one(&other).verdict, INSERT_CONFLICT);
    assert_int_equal(sql_int("SELECT count(*) FROM tasks"), 2);
    assert_int_equal(sql_int("SELECT count(*) FROM active"), 2);
}

static void insert_keeps_everything_that_was_asked(void **state)
{
    (void)state;
    struct submission asked = submission_of("greet");
    asked.queue = "high_priority";
    asked.priority = 9;
    asked.delay_us = 3600000000;
    asked.timeout_us = -1;
    asked.retry = (struct retry_policy){ 4, BACKOFF_LINEAR, 2000000, 9000000, false };
    asked.max_losses = 7;
    asked.expires_us = 7200000000;
    asked.tags = "[\"a\",\"b\"]";
    asked.created_by = "me";
    asked.schema_hash = "h1";
    struct inserted inserted = insert_one(&asked);
    assert_false(inserted.due);
    assert_string_equal(
        sql("SELECT concat_ws(' ', queue, priority, run_at - created_at, timeout_us, retry_max, "
            "retry_backoff, retry_base_us, retry_cap_us, retry_jitter, max_losses, "
            "expires_at - created_at, tags, created_by, schema_hash) FROM tasks"),
        "high_priority 9 01:00:00 -1 4 1 2000000 9000000 f 7 02:00:00 {a,b} me h1");
    assert_int_equal(inserted.run_at_us, sql_int("SELECT micros(run_at) FROM active"));
}

static void unique_key_is_held_until_the_holder_is_final(void **state)
{
    (void)state;
    struct submission holder = submission_of("greet"), second, third, elsewhere;
    holder.unique_key = "k";
    second = holder;
    second.id = ident_v7();
    struct inserted answers[2];
    insert_many((struct submission[]){ holder, second }, 2, answers);
    assert_int_equal(answers[0].verdict, INSERT_NEW);
    assert_int_equal(answers[1].verdict, INSERT_DUPLICATE);
    assert_true(ident_equal(&answers[1].id, &holder.id));
    elsewhere = holder;
    elsewhere.id = ident_v7();
    elsewhere.name = "other";
    assert_int_equal(insert_one(&elsewhere).verdict, INSERT_NEW);
    struct ident owner = worker_living("w");
    struct ident claim = started_by(&owner, holder.id, 0);
    assert_int_equal(insert_one(&second).verdict, INSERT_DUPLICATE);
    struct finish finish = finish_of(holder.id, claim, TASK_SUCCESS);
    finish_one(&owner, &finish);
    third = holder;
    third.id = ident_v7();
    assert_int_equal(insert_one(&third).verdict, INSERT_NEW);
}

static void a_full_queue_takes_nothing_new(void **state)
{
    (void)state;
    struct submission first = submission_of("greet"), next = submission_of("greet");
    insert_one(&first);
    AWAIT(ledger_unknown(ledger_a, 600000000, 1, on_plain, NULL));
    assert_int_equal(insert_one(&next).verdict, INSERT_FULL);
    assert_int_equal(insert_one(&first).verdict, INSERT_DUPLICATE);
    next.queue = "low_priority";
    assert_int_equal(insert_one(&next).verdict, INSERT_NEW);
    AWAIT(ledger_unknown(ledger_a, 600000000, 2, on_plain, NULL));
    next = submission_of("greet");
    assert_int_equal(insert_one(&next).verdict, INSERT_NEW);
}

static void insert_makes_a_missing_partition(void **state)
{
    (void)state;
    sql("DO $$ DECLARE p text; BEGIN FOR p IN SELECT relname FROM pg_inherits "
        "JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'tasks'::regclass LOOP "
        "EXECUTE format('DROP TABLE %%I', p); END LOOP; END $$");
    insert_named("greet");
    assert_int_equal(sql_int("SELECT count(*) FROM tasks"), 1);
}

struct refused {
    bool done;
    enum err_code code;
};
static void on_refused(void *arg, const struct inserted *inserted, size_t count, bool unknown,
                       const struct err *err)
{
    struct refused *refused = arg;
    (void)inserted, (void)count, (void)unknown;
    refused->done = true;
    refused->code = err ? err->code : ERR_NONE;
}

static void insert_says_when_the_data_cannot_be_kept(void **state)
{
    (void)state;
    struct submission bad = submission_of("greet");
    bad.params = "{\"a\": \"\\u0000\"}";
    bad.params_len = strlen(bad.params);
    const struct submission *pointer = &bad;
    struct refused refused = { 0 };
    ledger_insert(ledger_a, &pointer, 1, on_refused, &refused);
    wait_for(&refused.done);
    assert_int_equal(refused.code, ERR_DATA);
    assert_int_equal(sql_int("SELECT count(*) FROM active"), 0);
}

/* ---- start ---- */

static void start_hands_out_what_the_run_needs(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), id = insert_named("greet");
    struct ident claim = ident_random();
    struct started_copy started = start_one(&owner, id, 0, claim);
    assert_int_equal(started.verdict, START_STARTED);
    assert_string_equal(started.params, "{\"message\": \"hi\"}");
    assert_string_equal(started.name, "greet");
    assert_int_equal(started.attempt, 1);
    assert_int_equal(started.round, 1);
    assert_string_equal(sql("SELECT version FROM active"), "v1");
    /* The same claim again: an answer was lost. Another claim: somebody is too late. */
    assert_int_equal(start_one(&owner, id, 0, claim).verdict, START_STARTED);
    assert_int_equal(sql_int("SELECT starts FROM active"), 1);
    assert_int_equal(start_one(&owner, id, 0, ident_random()).verdict, START_STALE);
    assert_int_equal(start_one(&owner, id, 1, ident_random()).verdict, START_STALE);
    assert_int_equal(start_one(&owner, ident_v7(), 0, ident_random()).verdict, START_STALE);
}

static void start_refuses_what_may_not_run_now(void **state)
{
    (void)state;
    struct ident owner = worker_living("w");
    struct submission late = submission_of("greet"), foreign = submission_of("unheard_of"),
                      held = submission_of("greet"), gone = submission_of("greet");
    late.delay_us = 60000000;
    held.queue = "low_priority";
    gone.expires_us = 1;
    insert_one(&late);
    insert_one(&foreign);
    insert_one(&held);
    insert_one(&gone);
    AWAIT(ledger_pause(ledger_a, "low_priority", true, "test", on_plain, NULL));
    struct started_copy started = start_one(&owner, late.id, 0, ident_random());
    assert_int_equal(started.verdict, START_NOT_DUE);
    assert_int_equal(started.not_before_us, 5000000);
    assert_int_equal(start_one(&owner, foreign.id, 0, ident_random()).verdict, START_NOT_MINE);
    started = start_one(&owner, held.id, 0, ident_random());
    assert_int_equal(started.verdict, START_NOT_DUE);
    assert_int_equal(started.not_before_us, 1000000);
    assert_int_equal(start_one(&owner, gone.id, 0, ident_random()).verdict, START_NOT_DUE);
    assert_true(start_owner_alive);
    AWAIT(ledger_pause(ledger_a, "low_priority", false, "test", on_plain, NULL));
    started_by(&owner, held.id, 0);
}

static void start_by_the_dead_changes_nothing(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), id = insert_named("greet");
    struct death death = { .incarnation = owner, .seen_heartbeat = -1 };
    AWAIT(ledger_declare_dead(ledger_a, &death, on_hints, NULL));
    struct started_copy started = start_one(&owner, id, 0, ident_random());
    assert_int_equal(started.verdict, START_NOT_DUE);
    assert_false(start_owner_alive);
    assert_int_equal(sql_int("SELECT starts FROM active"), 0);
}

enum { RACED = 100 };
struct race {
    bool done;
    int started;
};
static void on_raced(void *arg, const struct started *started, size_t count, bool owner_alive,
                     bool unknown, const struct err *err)
{
    struct race *race = arg;
    (void)owner_alive, (void)unknown;
    if (err) fail_msg("%s", err->text);
    for (size_t i = 0; i < count; i++) race->started += started[i].verdict == START_STARTED;
    race->done = true;
}

static void two_connections_start_each_task_exactly_once(void **state)
{
    (void)state;
    struct ident one = worker_living("one"), two = worker_living("two");
    struct submission submissions[RACED];
    struct inserted inserted[RACED];
    for (int i = 0; i < RACED; i++) submissions[i] = submission_of("greet");
    insert_many(submissions, RACED, inserted);
    struct start_request forwards[RACED], backwards[RACED];
    for (int i = 0; i < RACED; i++) {
        forwards[i] = (struct start_request){ submissions[i].id, 0, ident_random() };
        backwards[RACED - 1 - i] = (struct start_request){ submissions[i].id, 0, ident_random() };
    }
    const struct carried carried = { "greet", "v1" };
    struct race races[2] = { 0 };
    ledger_start(ledger_a, &one, &carried, 1, false, forwards, RACED, on_raced, &races[0]);
    ledger_start(ledger_b, &two, &carried, 1, false, backwards, RACED, on_raced, &races[1]);
    wait_for(&races[0].done);
    wait_for(&races[1].done);
    assert_int_equal(races[0].started + races[1].started, RACED);
    assert_int_equal(sql_int("SELECT count(*) FROM active WHERE starts = 1 AND status = 1"), RACED);
}

/* ---- while it runs ---- */

static void progress_is_fenced_and_only_grows(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), id = insert_named("greet");
    struct ident claim = started_by(&owner, id, 0);
    struct progress progress = { id, claim, 40, "{\"step\": 1}" };
    AWAIT(ledger_progress(ledger_a, &progress, 1, on_plain, NULL));
    assert_int_equal(answer.count, 1);
    progress.percent = 30;
    progress.metadata = NULL;
    AWAIT(ledger_progress(ledger_a, &progress, 1, on_plain, NULL));
    assert_string_equal(sql("SELECT percent || ' ' || metadata FROM active"), "40 {\"step\": 1}");
    progress.claim = ident_random();
    progress.percent = 90;
    AWAIT(ledger_progress(ledger_a, &progress, 1, on_plain, NULL));
    assert_int_equal(answer.count, 0);
    struct finish again = finish_of(id, claim, TASK_RETRY);
    finish_one(&owner, &again);
    started_by(&owner, id, 1);
    assert_string_equal(sql("SELECT percent FROM active"), "");
}

static void logs_are_kept_in_order_and_fenced(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), id = insert_named("greet");
    struct ident claim = started_by(&owner, id, 0);
    struct log_entry logs[] = { { id, claim, 1, 1700000000000000, "info", "one", 3 },
                                { id, claim, 1, 1700000000500000, "warn", "two", 3 },
                                { id, ident_random(), 1, 1700000000500000, "warn", "zombie", 6 } };
    AWAIT(ledger_log(ledger_a, logs, 3, on_plain, NULL));
    assert_int_equal(answer.count, 2);
    struct finish finish = finish_of(id, claim, TASK_SUCCESS);
    finish_one(&owner, &finish);
    logs[0].text = "six"; /* its batch came behind the finish */
    AWAIT(ledger_log(ledger_a, logs, 1, on_plain, NULL));
    AWAIT(ledger_logs(ledger_a, &id, 0, 2, on_json, NULL));
    assert_non_null(strstr(answer.json, "{\"logs\":[{\"seq\":1,\"at\":\"2023-11-14T22:13:20.000Z\","
                                        "\"attempt\":1,\"level\":\"info\",\"text\":\"one\"}"));
    assert_non_null(strstr(answer.json, "\"two\"}],\"has_more\":true}"));
    int64_t seq = sql_int("SELECT seq FROM logs WHERE text = 'two'");
    AWAIT(ledger_logs(ledger_a, &id, seq, 2, on_json, NULL));
    assert_null(strstr(answer.json, "two"));
    assert_non_null(strstr(answer.json, "\"six\"}],\"has_more\":false}"));
    struct ident nobody = ident_v7();
    AWAIT(ledger_logs(ledger_a, &nobody, 0, 2, on_json, NULL));
    assert_string_equal(answer.json, "");
}

/* ---- finish ---- */

static void success_is_final_and_repeating_it_is_done(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), id = insert_named("greet");
    struct ident claim = started_by(&owner, id, 0);
    struct finish finish = finish_of(id, claim, TASK_SUCCESS);
    finish.percent = 100;
    finish.hook = "success";
    struct finish wrong = finish;
    wrong.claim = ident_random();
    assert_int_equal(finish_one(&owner, &wrong).verdict, FINISH_FENCED);
    assert_int_equal(finish_one(&owner, &finish).verdict, FINISH_DONE);
    assert_int_equal(finish_one(&owner, &finish).verdict, FINISH_DONE);
    assert_int_equal(finish_one(&owner, &wrong).verdict, FINISH_FENCED);
    struct finish failure = finish_of(id, claim, TASK_FAILURE);
    assert_int_equal(finish_one(&owner, &failure).verdict, FINISH_FENCED);
    assert_string_equal(
        sql("SELECT concat_ws(' ', status, result, attempt, worker, version, percent,"
            " claim_id = '%s') FROM outcomes",
            text_of(claim)),
        "3 {\"ok\": true} 1 w v1 100 t");
    assert_int_equal(sql_int("SELECT count(*) FROM outcomes"), 1);
    assert_int_equal(sql_int("SELECT count(*) FROM active"), 0);
    assert_int_equal(
        sql_int("SELECT count(*) FROM hooks_owed WHERE owner = '%s' AND event = 'success'",
                text_of(owner)),
        1);
}

static void a_failed_attempt_waits_and_starts_again(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), id = insert_named("greet");
    struct ident claim = started_by(&owner, id, 0);
    struct finish again = finish_of(id, claim, TASK_RETRY);
    again.delay_us = 3600000000;
    struct finished finished = finish_one(&owner, &again);
    assert_int_equal(finished.verdict, FINISH_DONE);
    assert_int_equal(finished.status, TASK_RETRY);
    assert_false(finished.due);
    assert_int_equal(finished.hint.starts, 1);
    assert_int_equal(finished.run_at_us, sql_int("SELECT micros(run_at) FROM active"));
    assert_int_equal(finish_one(&owner, &again).verdict, FINISH_DONE); /* repeated */
    assert_string_equal(
        sql("SELECT concat_ws(' ', status, failures, starts, claim_id, owner) FROM active"),
        "2 1 1");
    assert_string_equal(
        sql("SELECT concat_ws(' ', attempt, ended, worker, error->>'kind', error->>'attempt') "
            "FROM attempts"),
        "1 failed w exception 1");
    sql("UPDATE active SET run_at = now()");
    assert_int_equal(start_one(&owner, id, 0, ident_random()).verdict, START_STALE);
    claim = started_by(&owner, id, 1);
    struct finish failure = finish_of(id, claim, TASK_FAILURE);
    assert_int_equal(finish_one(&owner, &failure).status, TASK_FAILURE);
    assert_string_equal(sql("SELECT concat_ws(' ', status, failures, attempt) FROM outcomes"),
                        "4 2 2");
}

static void snooze_and_release_spend_nothing(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), id = insert_named("greet");
    int64_t run_at = sql_int("SELECT micros(run_at) FROM active");
    struct finish release = finish_of(id, started_by(&owner, id, 0), TASK_PENDING);
    release.error = NULL;
    struct finished finished = finish_one(&owner, &release);
    assert_true(finished.due);
    assert_int_equal(finished.run_at_us, run_at); /* keeps its place in the queue */
    struct finish snooze = finish_of(id, started_by(&owner, id, 1), TASK_PENDING);
    snooze.ended = "snoozed";
    snooze.delay_us = 60000000;
    finished = finish_one(&owner, &snooze);
    assert_false(finished.due);
    assert_string_equal(sql("SELECT concat_ws(' ', status, failures, losses, starts) FROM active"),
                        "0 0 0 2");
    assert_string_equal(sql("SELECT string_agg(ended, ' ' ORDER BY attempt) FROM attempts"),
                        "released snoozed");
}

static void a_pending_cancel_turns_every_end_but_success(void **state)
{
    (void)state;
    struct ident owner = worker_living("w");
    const enum task_status ends[] = { TASK_RETRY, TASK_PENDING, TASK_FAILURE, TASK_SUCCESS };
    const enum task_status become[] = { TASK_REVOKED, TASK_REVOKED, TASK_REVOKED, TASK_SUCCESS };
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        struct ident id = insert_named("greet");
        struct ident claim = started_by(&owner, id, 0);
        AWAIT(ledger_cancel(ledger_a, &id, 1, "test", on_operate, NULL));
        struct finish finish = finish_of(id, claim, ends[i]);
        finish.hook = "failure";
        struct finished finished = finish_one(&owner, &finish);
        assert_int_equal(finished.verdict, FINISH_DONE);
        assert_int_equal(finished.status, become[i]);
        assert_int_equal(finish_one(&owner, &finish).status, become[i]);
        assert_int_equal(sql_int("SELECT status FROM outcomes WHERE id = '%s'", text_of(id)),
                         become[i]);
        assert_int_equal(sql_int("SELECT count(*) FROM hooks_owed WHERE id = '%s'", text_of(id)),
                         become[i] == TASK_SUCCESS);
    }
    assert_int_equal(sql_int("SELECT count(*) FROM outcomes WHERE error->>'kind' = 'cancelled'"),
                     3);
    assert_int_equal(sql_int("SELECT count(*) FROM active"), 0);
}

static void a_zombie_that_was_released_is_fenced(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), id = insert_named("greet");
    struct ident claim = started_by(&owner, id, 0);
    struct death death = { .incarnation = owner, .culprit_claim = claim, .seen_heartbeat = -1 };
    AWAIT(ledger_declare_dead(ledger_a, &death, on_hints, NULL));
    struct finish success = finish_of(id, claim, TASK_SUCCESS),
                  again = finish_of(id, claim, TASK_RETRY);
    assert_int_equal(finish_one(&owner, &success).verdict, FINISH_FENCED);
    assert_int_equal(finish_one(&owner, &again).verdict, FINISH_FENCED);
    assert_int_equal(sql_int("SELECT count(*) FROM outcomes"), 0);
}

/* It says the same of the same start, and yet the run that comes late did not say it. */
static void an_equal_end_that_others_decided_is_not_mine(void **state)
{
    (void)state;
    const enum death_cause causes[] = { DEATH_LOST, DEATH_TIMEOUT };
    const enum task_status ends[] = { TASK_FAILURE, TASK_RETRY };
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        struct submission submission = submission_of("greet");
        submission.max_losses = 1;
        submission.retry.max = 1;
        struct ident owner = worker_living("w"), id = insert_one(&submission).id;
        struct ident claim = started_by(&owner, id, 0);
        struct death death = { owner, claim, causes[i], -1 };
        AWAIT(ledger_declare_dead(ledger_a, &death, on_hints, NULL));
        assert_string_equal(sql("SELECT status FROM task_info WHERE task_id = '%s'", text_of(id)),
                            task_status_text(ends[i]));
        struct finish finish = finish_of(id, claim, ends[i]);
        assert_int_equal(finish_one(&owner, &finish).verdict, FINISH_FENCED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(insert_answers_new_and_duplicate_and_conflict),
        LEDGER_TEST(insert_keeps_everything_that_was_asked),
        LEDGER_TEST(unique_key_is_held_until_the_holder_is_final),
        LEDGER_TEST(a_full_queue_takes_nothing_new),
        LEDGER_TEST(insert_makes_a_missing_partition),
        LEDGER_TEST(insert_says_when_the_data_cannot_be_kept),
        LEDGER_TEST(start_hands_out_what_the_run_needs),
        LEDGER_TEST(start_refuses_what_may_not_run_now),
        LEDGER_TEST(start_by_the_dead_changes_nothing),
        LEDGER_TEST(two_connections_start_each_task_exactly_once),
        LEDGER_TEST(progress_is_fenced_and_only_grows),
        LEDGER_TEST(logs_are_kept_in_order_and_fenced),
        LEDGER_TEST(success_is_final_and_repeating_it_is_done),
        LEDGER_TEST(a_failed_attempt_waits_and_starts_again),
        LEDGER_TEST(snooze_and_release_spend_nothing),
        LEDGER_TEST(a_pending_cancel_turns_every_end_but_success),
        LEDGER_TEST(a_zombie_that_was_released_is_fenced),
        LEDGER_TEST(an_equal_end_that_others_decided_is_not_mine),
    };
    return cmocka_run_group_tests(tests, ledger_server_start, ledger_server_stop);
}
