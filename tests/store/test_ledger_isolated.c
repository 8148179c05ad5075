/* Which tasks run in processes of their own, where their hints lie and who may start them, on a
 * real Postgres. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/ledger_fixture.h"

#define ALONE "default/isolated"

static void publish(const char *isolate, const char *version)
{
    char entry[300];
    snprintf(entry, sizeof entry,
             "{\"entries\": [{\"name\": \"greet\", \"file\": \"greet.lua\", \"schema_hash\": \"h\","
             " \"isolate\": %s, \"memory\": 0, \"version\": \"%s\", \"schema\": {}}]}",
             isolate, version);
    AWAIT(ledger_catalogue_publish(ledger_a, &(struct ident){ 0 }, entry, strlen(entry), on_plain,
                                   NULL));
}

struct attempt {
    bool done;
    enum start_verdict verdict;
    char queue[HINT_QUEUE_MAX + 1];
};

static void on_started(void *arg, const struct started *started, size_t count, bool owner_alive,
                       bool unknown, const struct err *err)
{
    struct attempt *attempt = arg;
    (void)count, (void)owner_alive, (void)unknown;
    attempt->done = true;
    if (err) fail_msg("%s", err->text);
    attempt->verdict = started->verdict;
    if (started->verdict == START_ELSEWHERE) strcpy(attempt->queue, started->queue);
}

static struct attempt start_at(struct ident owner, struct ident id, int32_t starts,
                               struct ident claim, bool isolated)
{
    struct carried carried = { "greet", "v1" };
    struct start_request request = { id, starts, claim };
    struct attempt attempt = { 0 };
    ledger_start(ledger_a, &owner, &carried, 1, isolated, &request, 1, on_started, &attempt);
    wait_for(&attempt.done);
    return attempt;
}

static struct attempt start(struct ident owner, struct ident id, struct ident claim, bool isolated)
{
    return start_at(owner, id, 0, claim, isolated);
}

static void each_is_started_by_its_kind_of_process_only(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), claim = ident_random();
    struct ident id = insert_named("greet");
    struct attempt attempt = start(owner, id, claim, true);
    assert_int_equal(attempt.verdict, START_ELSEWHERE);
    assert_string_equal(attempt.queue, "default");
    publish("true", "v1");
    attempt = start(owner, id, claim, false);
    assert_int_equal(attempt.verdict, START_ELSEWHERE);
    assert_string_equal(attempt.queue, ALONE);
    assert_int_equal(start(owner, id, claim, true).verdict, START_STARTED);
    publish("false", "v2");
    assert_int_equal(start(owner, id, claim, true).verdict, START_STARTED); /* repeated */
}

static void expect_hint(const char *what)
{
    if (answer.hint_count != 1) fail_msg("%s gives %zu hints", what, answer.hint_count);
    if (strcmp(answer.hints[0].queue, ALONE) != 0)
        fail_msg("%s gives a hint in %s", what, answer.hints[0].queue);
}

static void every_hint_names_the_list_it_belongs_into(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), claim = ident_random();
    publish("true", "v1");
    struct submission submission = submission_of("greet");
    struct inserted inserted = insert_one(&submission);
    struct ident id = inserted.id;
    assert_string_equal(inserted.hint.queue, ALONE);
    AWAIT(ledger_due(ledger_a, &(struct due_cursor){ .priority = -1 }, 10, on_hints, NULL));
    expect_hint("due");
    assert_int_equal(start(owner, id, claim, true).verdict, START_STARTED);
    AWAIT(ledger_declare_dead(
        ledger_a, &(struct death){ .incarnation = owner, .seen_heartbeat = -1 }, on_hints, NULL));
    expect_hint("a release");
    AWAIT(ledger_cancel(ledger_a, &id, 1, "test", on_operate, NULL));
    assert_string_equal(field("0,queue"), "default"); /* that is for people */
    AWAIT(ledger_retry(ledger_a, &id, 1, "test", on_operate, NULL));
    expect_hint("a retry");
    assert_string_equal(field("0,queue"), "default");
    owner = worker_living("again");
    claim = ident_random();
    assert_int_equal(start_at(owner, id, 1, claim, true).verdict, START_STARTED);
    struct finish finish = finish_of(id, claim, TASK_PENDING);
    struct finished finished = finish_one(&owner, &finish);
    assert_string_equal(finished.hint.queue, ALONE);
    finished = finish_one(&owner, &finish); /* its answer was lost */
    assert_string_equal(finished.hint.queue, ALONE);
}

static void what_blocked_a_loop_is_isolated_until_its_version_changes(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), culprit = ident_random(), other = ident_random();
    publish("false", "v1");
    struct ident id = insert_named("greet"), bystander = insert_named("greet");
    assert_int_equal(start(owner, id, culprit, false).verdict, START_STARTED);
    assert_int_equal(start(owner, bystander, other, false).verdict, START_STARTED);
    sql("UPDATE tasks SET retry_max = 3, retry_base_us = 0");
    struct death death = { owner, culprit, DEATH_TIMEOUT, -1 };
    AWAIT(ledger_declare_dead(ledger_a, &death, on_hints, NULL));
    assert_int_equal(answer.hint_count, 2);
    assert_string_equal(answer.hints[0].queue, ALONE);
    assert_string_equal(answer.hints[1].queue, ALONE); /* the same name */
    publish("false", "v1");
    assert_int_equal(sql_int("SELECT count(*) FROM catalogue WHERE isolated"), 1);
    AWAIT(ledger_catalogue_list(ledger_a, "greet", on_json, NULL));
    assert_string_equal(field("0,isolate"), "true");
    publish("false", "v2");
    publish("false", "v1"); /* it came back: perhaps it was not its own fault */
    assert_int_equal(sql_int("SELECT count(*) FROM catalogue WHERE isolated"), 0);
}

static void only_blocking_marks_a_version(void **state)
{
    (void)state;
    static const enum death_cause causes[] = { DEATH_LOST, DEATH_MEMORY };
    publish("false", "v1");
    for (size_t i = 0; i < 2; i++) {
        struct ident owner = worker_living(i ? "b" : "a"), culprit = ident_random();
        struct ident id = insert_named("greet");
        assert_int_equal(start(owner, id, culprit, false).verdict, START_STARTED);
        struct death death = { owner, culprit, causes[i], -1 };
        AWAIT(ledger_declare_dead(ledger_a, &death, on_hints, NULL));
    }
    assert_int_equal(sql_int("SELECT count(*) FROM catalogue WHERE isolated"), 0);
    assert_string_equal(sql("SELECT error->>'kind' FROM outcomes"), "memory");
    assert_string_equal(sql("SELECT concat_ws(' ', failures, losses) FROM outcomes"), "1 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(each_is_started_by_its_kind_of_process_only),
        LEDGER_TEST(every_hint_names_the_list_it_belongs_into),
        LEDGER_TEST(what_blocked_a_loop_is_isolated_until_its_version_changes),
        LEDGER_TEST(only_blocking_marks_a_version),
    };
    return cmocka_run_group_tests(tests, ledger_server_start, ledger_server_stop);
}
