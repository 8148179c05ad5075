/* What the audit of the ledger sees: nothing wrong with whatever the verbs do, and each thing that
 * was done past them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "support/ledger_fixture.h"

#define PATIENCE_US 30000000

static const struct ident NOTHING;

static void audit(void)
{
    AWAIT(ledger_audit(ledger_a, &NOTHING, 100, PATIENCE_US, on_json, NULL));
}

/* The kinds of what is wrong with one task (or with all), "" when nothing is. */
static const char *kinds(void)
{
    audit();
    return sql("SELECT string_agg(DISTINCT d->>'kind', ' ' ORDER BY d->>'kind')"
               " FROM json_array_elements($J$%s$J$::json->'differences') d",
               answer.json);
}

static int64_t counted(const char *key) { return sql_int("SELECT %s", field(key)); }

static struct ident succeeded(const struct ident *worker)
{
    struct ident id = insert_named("greet"), claim = started_by(worker, id, 0);
    struct finish finish = finish_of(id, claim, TASK_SUCCESS);
    assert_int_equal(finish_one(worker, &finish).verdict, FINISH_DONE);
    return id;
}

/* Failed once, started again, succeeded. */
static struct ident succeeded_late(const struct ident *worker)
{
    struct submission submission = submission_of("greet");
    submission.retry.max = 2;
    struct ident id = insert_one(&submission).id, claim = started_by(worker, id, 0);
    struct finish finish = finish_of(id, claim, TASK_RETRY);
    finish_one(worker, &finish);
    claim = started_by(worker, id, 1);
    finish = finish_of(id, claim, TASK_SUCCESS);
    finish_one(worker, &finish);
    return id;
}

static void whatever_the_verbs_do_is_right(void **state)
{
    (void)state;
    struct ident worker = worker_living("one"), other = worker_living("two");
    succeeded(&worker);
    succeeded_late(&worker);
    insert_named("greet"); /* waits */
    struct submission delayed = submission_of("greet");
    delayed.delay_us = 3600000000;
    insert_one(&delayed);
    started_by(&worker, insert_named("greet"), 0); /* runs on */
    struct ident released = insert_named("greet");
    struct finish finish = finish_of(released, started_by(&worker, released, 0), TASK_PENDING);
    finish_one(&worker, &finish);
    struct ident failed = insert_named("greet");
    finish = finish_of(failed, started_by(&worker, failed, 0), TASK_FAILURE);
    finish_one(&worker, &finish);
    AWAIT(
        ledger_retry(ledger_a, &failed, 1, "test", on_operate, NULL)); /* its second round waits */
    struct ident cancelled = insert_named("greet");
    AWAIT(ledger_cancel(ledger_a, &cancelled, 1, "test", on_operate, NULL));
    struct ident culprit = insert_named("greet"), claim = started_by(&other, culprit, 0);
    started_by(&other, insert_named("greet"), 0); /* a bystander */
    struct death death = { .incarnation = other, .culprit_claim = claim, .seen_heartbeat = -1 };
    AWAIT(ledger_declare_dead(ledger_a, &death, on_hints, NULL));
    assert_string_equal(kinds(), "");
    assert_int_equal(counted("submitted"), 10);
    assert_int_equal(counted("waiting") + counted("delayed"), 6);
    assert_int_equal(counted("running"), 1);
    assert_int_equal(counted("SUCCESS"), 2);
    assert_int_equal(counted("FAILURE"), 0);
    assert_int_equal(counted("REVOKED"), 1);
    assert_string_equal(field("last"), "");
}

static void slices_add_up_and_leave_nothing_out(void **state)
{
    (void)state;
    struct ident ids[5], after = { 0 };
    for (int i = 0; i < 5; i++) ids[i] = insert_named("greet");
    sql("DELETE FROM tasks WHERE id = '%s'", text_of(ids[2]));
    int64_t submitted = 0, differences = 0;
    for (int slices = 1;; slices++) {
        AWAIT(ledger_audit(ledger_a, &after, 2, PATIENCE_US, on_json, NULL));
        submitted += counted("submitted");
        differences +=
            sql_int("SELECT json_array_length($J$%s$J$::json->'differences')", answer.json);
        if (!ident_parse(field("last"), &after)) break;
        assert_in_range(slices, 1, 3);
    }
    assert_int_equal(submitted, 4);
    assert_int_equal(differences, 1);
}

/* What is done to a task of each kind past the verbs, and what the audit calls it. */
static void what_was_done_by_hand_is_seen(void **state)
{
    (void)state;
    static const struct {
        const char *what, *kinds;
    } plants[] = {
        { "DELETE FROM active", "lost" },
        { "DELETE FROM tasks", "unknown" },
        { "UPDATE active SET queue = 'other'", "row" },
        { "UPDATE active SET status = 4", "row" },
        { "UPDATE active SET claim_id = gen_random_uuid()", "row" },
        { "UPDATE active SET starts = 2", "starts" },
        { "UPDATE active SET failures = 1", "budget" },
        { "UPDATE active SET round = 3", "rounds" },
    };
    for (size_t i = 0; i < COUNT_OF(plants); i++) {
        insert_named("greet");
        sql("%s", plants[i].what);
        const char *seen = kinds();
        if (strcmp(seen, plants[i].kinds) != 0) fail_msg("%s: %s", plants[i].what, seen);
        sql("DELETE FROM active");
        sql("DELETE FROM tasks");
    }
}

static void ends_that_do_not_fit_are_seen(void **state)
{
    (void)state;
    static const struct {
        const char *what, *kinds;
    } plants[] = {
        { "DELETE FROM outcomes", "lost" },
        { "DELETE FROM attempts", "budget starts" },
        { "UPDATE attempts SET attempt = 7", "starts" },
        { "UPDATE outcomes SET attempt = 1", "starts" },
        { "UPDATE outcomes SET attempt = 3", "starts" },
        { "UPDATE outcomes SET claim_id = NULL", "claim starts" },
        { "UPDATE outcomes o SET claim_id = (SELECT a.claim_id FROM attempts a WHERE a.id = o.id)",
          "claim" },
        { "UPDATE outcomes SET round = 2", "rounds" },
        { "UPDATE outcomes SET failures = 3", "budget" },
        { "UPDATE outcomes SET losses = 4, failures = 0", "budget" },
        { "INSERT INTO active (id, run_at, created_at, priority, name, queue, starts)"
          " SELECT id, now(), now(), priority, name, queue, 2 FROM tasks",
          "twice" },
    };
    struct ident worker = worker_living("one");
    for (size_t i = 0; i < COUNT_OF(plants); i++) {
        struct ident id = succeeded_late(&worker);
        assert_string_equal(kinds(), "");
        sql("%s", plants[i].what);
        const char *seen = kinds();
        if (strcmp(seen, plants[i].kinds) != 0) fail_msg("%s: %s", plants[i].what, seen);
        assert_string_equal(field("differences,0,id"), text_of(id));
        sql("TRUNCATE tasks, active, attempts, outcomes");
    }
}

static void a_dead_owner_has_time_until_the_sweep(void **state)
{
    (void)state;
    struct ident worker = worker_living("one");
    started_by(&worker, insert_named("greet"), 0);
    sql("UPDATE workers SET state = 'dead', ended_at = now()");
    assert_string_equal(kinds(), "");
    sql("UPDATE workers SET ended_at = now() - interval '1 minute'");
    assert_string_equal(kinds(), ""); /* it may have committed a moment ago */
    sql("UPDATE active SET started_at = now() - interval '1 minute'");
    assert_string_equal(kinds(), "owner");
    sql("DELETE FROM workers");
    assert_string_equal(kinds(), "owner");
    AWAIT(ledger_sweep(ledger_a, on_hints, NULL));
    assert_string_equal(kinds(), "owner"); /* nobody else would ever tell */
}

static void two_holders_of_a_unique_key_are_seen(void **state)
{
    (void)state;
    struct submission submission = submission_of("greet");
    submission.unique_key = "k";
    insert_one(&submission);
    AWAIT(ledger_audit_unique(ledger_a, on_json, NULL));
    assert_string_equal(answer.json, "[]");
    sql("DROP INDEX active_unique");
    sql("INSERT INTO active (id, run_at, created_at, priority, name, queue, unique_key)"
        " SELECT gen_random_uuid(), now(), now(), 5, name, queue, unique_key FROM active");
    AWAIT(ledger_audit_unique(ledger_a, on_json, NULL));
    assert_int_equal(sql_int("SELECT json_array_length($J$%s$J$::json)", answer.json), 2);
    assert_string_equal(field("1,kind"), "unique");
}

static struct hint hint_of(struct ident id, int32_t starts, const char *queue)
{
    struct hint hint = { .id = id, .starts = starts };
    snprintf(hint.queue, sizeof hint.queue, "%s", queue);
    return hint;
}

static void hints_are_held_against_the_ledger(void **state)
{
    (void)state;
    struct ident worker = worker_living("one");
    struct ident waiting = insert_named("greet"), ended = succeeded(&worker);
    const struct hint hints[] = {
        hint_of(waiting, 0, "default"),   hint_of(ended, 0, "default"),
        hint_of(ended, 1, "default"),     hint_of(waiting, 1, "default"),
        hint_of(ended, 2, "default"),     hint_of(waiting, 0, "elsewhere"),
        hint_of(ident_v7(), 0, "default")
    };
    AWAIT(ledger_audit_hints(ledger_a, hints, 3, on_json, NULL));
    assert_string_equal(answer.json, "[]"); /* older ones are harmless */
    AWAIT(ledger_audit_hints(ledger_a, hints + 3, 4, on_json, NULL));
    assert_string_equal(field("0,kind"), "hint_ahead");
    assert_string_equal(field("1,kind"), "hint_ahead");
    assert_string_equal(field("2,kind"), "hint_queue");
    assert_string_equal(field("3,kind"), "hint_unknown");
    assert_string_equal(field("3,id"), text_of(hints[6].id));
}

static size_t due_of(const struct ident *worker)
{
    const struct due_cursor all = { 0 };
    AWAIT(ledger_audit_due(ledger_a, worker, 1, &all, 100, on_hints, NULL));
    return answer.hint_count;
}

static void only_what_a_living_worker_would_take_must_have_a_hint(void **state)
{
    (void)state;
    struct ident worker = worker_living("one"), id = insert_named("greet");
    insert_named("carried by nobody");
    assert_int_equal(due_of(&worker), 0); /* ten seconds have not passed */
    sql("UPDATE active SET run_at = now() - interval '11 seconds'");
    assert_int_equal(due_of(&worker), 1);
    struct hint due = answer.hints[0];
    assert_true(ident_equal(&due.id, &id));
    AWAIT(ledger_audit_still_due(ledger_a, &worker, 1, &due, 1, on_hints, NULL));
    assert_int_equal(answer.hint_count, 1);
    AWAIT(ledger_pause(ledger_a, "default", true, "test", on_plain, NULL));
    assert_int_equal(due_of(&worker), 0);
    AWAIT(ledger_pause(ledger_a, "default", false, "test", on_plain, NULL));
    started_by(&worker, id, 0);
    AWAIT(ledger_audit_still_due(ledger_a, &worker, 1, &due, 1, on_hints, NULL));
    assert_int_equal(answer.hint_count, 0);
    sql("UPDATE workers SET state = 'dead'");
    assert_int_equal(due_of(&worker), 0);
}

static void examine_tells_of_server_schema_and_rights(void **state)
{
    (void)state;
    AWAIT(ledger_examine(ledger_a, on_json, NULL));
    assert_string_equal(field("synchronous_commit"), "on");
    assert_string_equal(field("read_only"), "false");
    assert_string_equal(field("owns"), "true");
    assert_string_equal(field("denied"), "");
    assert_non_null(strstr(field("schema"), ledger_test_namespace()));
    assert_in_range(sql_int("SELECT %s", field("version_number")), 150000, 300000);
    AWAIT(ledger_weeks_ahead(ledger_a, on_plain, NULL));
    assert_int_equal(answer.count, 4);
    struct ledger *none = ledger_new(&ledger_test_loop, ledger_test_conninfo(), "none", "n", NULL);
    AWAIT(ledger_examine(none, on_json, NULL));
    assert_string_equal(field("schema"), "");
    ledger_free(none);
}

static void a_trial_leaves_no_row(void **state)
{
    (void)state;
    struct ident worker = worker_living("one"), id = insert_named("greet");
    started_by(&worker, id, 0);
    AWAIT(ledger_trial_remove(ledger_a, &id, &worker, on_plain, NULL));
    assert_int_equal(sql_int("SELECT (SELECT count(*) FROM active) + (SELECT count(*) FROM tasks)"
                             " + (SELECT count(*) FROM workers)"),
                     0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(whatever_the_verbs_do_is_right),
        LEDGER_TEST(slices_add_up_and_leave_nothing_out),
        LEDGER_TEST(what_was_done_by_hand_is_seen),
        LEDGER_TEST(ends_that_do_not_fit_are_seen),
        LEDGER_TEST(a_dead_owner_has_time_until_the_sweep),
        LEDGER_TEST(two_holders_of_a_unique_key_are_seen),
        LEDGER_TEST(hints_are_held_against_the_ledger),
        LEDGER_TEST(only_what_a_living_worker_would_take_must_have_a_hint),
        LEDGER_TEST(examine_tells_of_server_schema_and_rights),
        LEDGER_TEST(a_trial_leaves_no_row),
    };
    return cmocka_run_group_tests(tests, ledger_server_start, ledger_server_stop);
}
