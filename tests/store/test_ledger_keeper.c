/* Migrations, partitions, the keeper's election and what it asks for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "support/ledger_fixture.h"

struct counted {
    bool done;
    int64_t count;
};
static void on_counted(void *arg, int64_t count, bool unknown, const struct err *err)
{
    struct counted *counted = arg;
    (void)unknown;
    if (err) fail_msg("%s", err->text);
    *counted = (struct counted){ true, count };
}

static void two_migrations_at_once_apply_each_once(void **state)
{
    (void)state;
    struct ledger *one =
        ledger_new(&ledger_test_loop, ledger_test_conninfo(), "twice", "one", NULL);
    struct ledger *two =
        ledger_new(&ledger_test_loop, ledger_test_conninfo(), "twice", "two", NULL);
    AWAIT(ledger_schema_version(one, on_plain, NULL));
    assert_int_equal(answer.count, 0);
    struct counted first = { 0 }, second = { 0 };
    ledger_migrate(one, on_counted, &first);
    ledger_migrate(two, on_counted, &second);
    wait_for(&first.done);
    wait_for(&second.done);
    assert_int_equal(first.count + second.count, LEDGER_SCHEMA_VERSION);
    AWAIT(ledger_migrate(one, on_plain, NULL));
    assert_int_equal(answer.count, 0);
    AWAIT(ledger_schema_version(two, on_plain, NULL));
    assert_int_equal(answer.count, LEDGER_SCHEMA_VERSION);
    ledger_free(one);
    ledger_free(two);
    sql("DROP SCHEMA twice CASCADE");
}

static void an_older_and_a_newer_schema_are_told_apart(void **state)
{
    (void)state;
    sql("INSERT INTO schema_version (version) VALUES (%d)", LEDGER_SCHEMA_VERSION + 1);
    AWAIT(ledger_schema_version(ledger_a, on_plain, NULL));
    assert_int_equal(answer.count, LEDGER_SCHEMA_VERSION + 1);
    sql("DELETE FROM schema_version");
    AWAIT(ledger_schema_version(ledger_a, on_plain, NULL));
    assert_int_equal(answer.count, 0);
}

static void partitions_reach_four_weeks_ahead(void **state)
{
    (void)state;
    AWAIT(ledger_partitions(ledger_a, on_plain, NULL));
    assert_int_equal(answer.count, 0); /* the migration made them */
    assert_int_equal(
        sql_int("SELECT count(*) FROM weeks WHERE now() BETWEEN ends_at - interval '3 weeks'"
                " AND ends_at + interval '2 weeks'"),
        5);
    sql("DROP TABLE tasks_%s, logs_%s", sql("SELECT suffix FROM weeks ORDER BY low DESC LIMIT 1"),
        sql("SELECT suffix FROM weeks ORDER BY low DESC LIMIT 1"));
    struct counted first = { 0 }, second = { 0 };
    ledger_partitions(ledger_a, on_counted, &first);
    ledger_partitions(ledger_b, on_counted, &second);
    wait_for(&first.done);
    wait_for(&second.done);
    assert_int_equal(first.count + second.count, 2);
    assert_int_equal(sql_int("SELECT count(*) FROM weeks"), 7);
}

struct elected {
    bool done;
    struct keeper_state state;
};
static void on_keeper(void *arg, const struct keeper_state *state, const struct err *err)
{
    struct elected *elected = arg;
    if (err) fail_msg("%s", err->text);
    *elected = (struct elected){ true, *state };
}

static struct keeper_state beat(const struct ident *me, int64_t stale)
{
    struct elected elected = { 0 };
    ledger_keeper_beat(ledger_a, me, stale, on_keeper, &elected);
    wait_for(&elected.done);
    return elected.state;
}

static void the_keeper_is_one_until_it_stands_still_or_resigns(void **state)
{
    (void)state;
    struct ident one = ident_random(), two = ident_random();
    assert_true(beat(&one, -1).is_me);
    struct keeper_state seen = beat(&two, -1);
    assert_false(seen.is_me);
    assert_true(ident_equal(&seen.holder, &one));
    assert_true(beat(&one, -1).is_me); /* it moves */
    assert_false(beat(&two, seen.counter).is_me);
    seen = beat(&two, -1);
    assert_true(beat(&two, seen.counter).is_me); /* it stood still */
    assert_false(beat(&one, -1).is_me);
    AWAIT(ledger_keeper_resign(ledger_a, &one, on_plain, NULL)); /* not its own to resign */
    assert_false(beat(&one, -1).is_me);
    AWAIT(ledger_keeper_resign(ledger_a, &two, on_plain, NULL));
    assert_true(beat(&one, -1).is_me);
}

static void due_hints_come_in_rank_order_page_by_page(void **state)
{
    (void)state;
    struct submission submissions[5];
    struct inserted inserted[5];
    for (int i = 0; i < 5; i++) submissions[i] = submission_of("greet");
    submissions[1].run_at_us = 1700000000000000; /* the first by time */
    submissions[3].delay_us = 60000000;
    submissions[4].priority = 9;
    insert_many(submissions, 5, inserted);
    struct due_cursor cursor = { .priority = -1 };
    AWAIT(ledger_due(ledger_a, &cursor, 2, on_hints, NULL));
    assert_int_equal(answer.hint_count, 2);
    assert_true(ident_equal(&answer.hints[0].id, &submissions[1].id));
    assert_true(ident_equal(&answer.hints[1].id, &submissions[0].id));
    assert_int_equal(answer.next_run_at_us, inserted[3].run_at_us);
    cursor.run_at_us = answer.hints[1].ready_us;
    cursor.id = answer.hints[1].id;
    AWAIT(ledger_due(ledger_a, &cursor, 10, on_hints, NULL));
    assert_int_equal(answer.hint_count, 2);
    assert_true(ident_equal(&answer.hints[0].id, &submissions[2].id));
    assert_true(ident_equal(&answer.hints[1].id, &submissions[4].id));
    assert_int_equal(answer.hints[1].priority, 9);
    cursor = (struct due_cursor){ .priority = 9 };
    AWAIT(ledger_due(ledger_a, &cursor, 10, on_hints, NULL));
    assert_int_equal(answer.hint_count, 1);
    cursor = (struct due_cursor){ .priority = -1, .until_us = 1700000000000000 };
    AWAIT(ledger_due(ledger_a, &cursor, 10, on_hints, NULL));
    assert_int_equal(answer.hint_count, 1);
    struct ident owner = worker_living("w");
    started_by(&owner, submissions[1].id, 0);
    AWAIT(ledger_due(ledger_a, &cursor, 10, on_hints, NULL));
    assert_int_equal(answer.hint_count, 0);
}

static void the_pulse_is_of_the_living(void **state)
{
    (void)state;
    struct ident one = worker_living("one"), two = worker_living("two");
    struct death death = { .incarnation = one, .seen_heartbeat = -1 };
    AWAIT(ledger_declare_dead(ledger_a, &death, on_hints, NULL));
    AWAIT(ledger_pulse(ledger_a, on_json, NULL));
    assert_string_equal(field("0,incarnation"), text_of(two));
    assert_string_equal(field("0,heartbeat"), "0");
    assert_string_equal(field("1,heartbeat"), "");
}

static void tidying_forgets_only_workers_that_are_settled(void **state)
{
    (void)state;
    worker_living("living");
    worker_living("late");
    worker_living("long_gone");
    sql("UPDATE workers SET state = 'gone', ended_at = now() - interval '2 days', settled = name = "
        "'long_gone'"
        " WHERE name <> 'living'");
    AWAIT(ledger_partitions(ledger_a, on_plain, NULL));
    assert_string_equal(sql("SELECT string_agg(name, ' ' ORDER BY name) FROM workers"),
                        "late living");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(two_migrations_at_once_apply_each_once),
        LEDGER_TEST(an_older_and_a_newer_schema_are_told_apart),
        LEDGER_TEST(partitions_reach_four_weeks_ahead),
        LEDGER_TEST(the_keeper_is_one_until_it_stands_still_or_resigns),
        LEDGER_TEST(due_hints_come_in_rank_order_page_by_page),
        LEDGER_TEST(the_pulse_is_of_the_living),
        LEDGER_TEST(tidying_forgets_only_workers_that_are_settled),
    };
    return cmocka_run_group_tests(tests, ledger_server_start, ledger_server_stop);
}
