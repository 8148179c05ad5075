/* pg when things end: deadlines, dead and silent servers, reconnects, pg_free. */
#include "io/pg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "support/pg_fixture.h"

static const struct pg_statement sleep_long = { "sleep long", "select pg_sleep(10)" };
static const struct pg_statement sleep_short = { "sleep short", "select pg_sleep(0.02)::text" };
static const struct pg_statement one = { "one", "select 1" };

/* ---- deadlines and losses ---- */

static void a_deadline_ends_all_that_was_sent_and_the_connection_mends(void **state)
{
    struct pg_fixture *f = *state;
    struct pg_call late = { 0 }, neighbour = { 0 }, after = { 0 };
    pg_send(f->pg, &sleep_long, NULL, 300000, pg_call_done, &late);
    pg_send(f->pg, &one, NULL, 0, pg_call_done_number, &neighbour);
    pg_run_until(f, &f->lost, 1);
    assert_int_equal(late.count, 1);
    assert_int_equal(late.code, ERR_STORE);
    assert_true(late.unknown);
    assert_string_equal(late.error, "sleep long: Postgres did not answer in time");
    assert_int_equal(neighbour.code, ERR_STORE);
    assert_true(neighbour.unknown);
    pg_run(f, &one, &after);
    assert_int_equal(after.code, ERR_NONE);
    assert_int_equal(f->connected, 2);
}

static void a_terminated_backend_leaves_the_outcome_unknown(void **state)
{
    static const struct pg_statement end = { "end",
                                             "select pg_terminate_backend(pg_backend_pid())" };
    struct pg_fixture *f = *state;
    struct pg_call last = { 0 }, after = { 0 };
    pg_run(f, &end, &last);
    assert_int_equal(last.code, ERR_STORE);
    assert_true(last.unknown);
    assert_non_null(strstr(f->why.text, "administrator"));
    pg_run(f, &one, &after);
    assert_int_equal(after.code, ERR_NONE);
}

static void a_stopped_server_ends_each_statement_once_and_later_ones_wait(void **state)
{
    enum { COUNT = 100 };
    struct pg_fixture *f = *state;
    struct pg_call calls[COUNT] = { 0 }, hopeless = { 0 }, patient = { 0 };
    for (int i = 0; i < COUNT; i++) pg_call_send(f, &sleep_short, &calls[i]);
    pg_run_until(f, &calls[2].count, 1);
    test_postgres_kill(pg_test_server, SIGQUIT);
    pg_run_until(f, &calls[COUNT - 1].count, 1);
    assert_int_equal(calls[0].code, ERR_NONE);
    assert_int_equal(calls[COUNT - 1].code, ERR_STORE);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(calls[i].count, 1);
        assert_int_equal(calls[i].unknown, calls[i].code == ERR_STORE);
    }
    pg_send(f->pg, &one, NULL, 60 * SECOND_US, pg_call_done_number, &patient);
    pg_send(f->pg, &one, NULL, 200000, pg_call_done_number, &hopeless);
    pg_run_until(f, &hopeless.count, 1);
    assert_int_equal(hopeless.code, ERR_STORE);
    assert_false(hopeless.unknown);
    assert_non_null(strstr(hopeless.error, "cannot be reached"));
    assert_false(pg_is_up(f->pg));
    test_postgres_restart(pg_test_server);
    pg_run_until(f, &patient.count, 1);
    assert_int_equal(patient.number, 1);
    for (int i = 0; i < COUNT; i++) assert_int_equal(calls[i].count, 1);
}

static void a_silent_server_is_found_by_the_probe(void **state)
{
    struct pg_fixture *f = *state;
    struct pg_call call = { 0 };
    pg_run(f, &one, &call);
    test_postgres_kill(pg_test_server, SIGSTOP);
    int64_t start = clock_boot_us();
    pg_run_until(f, &f->lost, 1);
    int64_t took = clock_boot_us() - start;
    test_postgres_kill(pg_test_server, SIGCONT);
    assert_in_range(took, 9 * SECOND_US, 12 * SECOND_US);
    pg_run_until(f, &f->connected, 2);
}

static void an_idle_connection_stays(void **state)
{
    struct pg_fixture *f = *state;
    pg_run_until(f, &f->connected, 1);
    int64_t until = clock_boot_us() + 6 * SECOND_US;
    while (clock_boot_us() < until) loop_turn(&f->loop, true);
    assert_int_equal(f->lost, 0);
    assert_true(pg_is_up(f->pg));
}

/* ---- notifications ---- */

static void notifications_arrive_also_after_a_reconnect(void **state)
{
    struct pg_fixture *f = *state;
    pg_listen(f->pg, "Odd channel");
    pg_run_until(f, &f->connected, 1);
    pg_listen(f->pg, "second");
    pg_listen(f->pg, "second");
    pg_must(f, "select pg_notify('Odd channel', 'a')::text");
    pg_run_until(f, &f->notes, 1);
    assert_string_equal(f->note, "Odd channel=a");
    pg_must(f, "select pg_notify('second', 'b')::text");
    pg_run_until(f, &f->notes, 2);
    struct pg_call end = { 0 };
    pg_run_text(f, "select pg_terminate_backend(pg_backend_pid())::text", &end);
    pg_must(f, "select pg_notify('second', 'c')::text");
    pg_run_until(f, &f->notes, 3);
    assert_string_equal(f->note, "second=c");
    assert_int_equal(f->notes, 3);
}

/* ---- the end ---- */

static void freeing_cancels_each_statement_once(void **state)
{
    struct pg_fixture *f = *state;
    struct pg_call sent[3] = { 0 }, waiting = { 0 }, first = { 0 };
    pg_run(f, &one, &first);
    for (int i = 0; i < 3; i++) pg_call_send(f, &sleep_long, &sent[i]);
    loop_turn(&f->loop, false);
    pg_call_send(f, &one, &waiting);
    pg_free(f->pg);
    f->pg = NULL;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sent[i].count, 1);
        assert_int_equal(sent[i].code, ERR_CANCELLED);
    }
    assert_int_equal(waiting.count, 1);
    assert_int_equal(waiting.code, ERR_CANCELLED);
}

static void a_completion_may_free_the_connection(void **state)
{
    struct pg_fixture *f = *state;
    struct pg_call calls[3] = { 0 };
    calls[1].then_free = f->pg;
    for (int i = 0; i < 3; i++) pg_call_send(f, &one, &calls[i]);
    pg_run_until(f, &calls[1].count, 1);
    f->pg = NULL;
    assert_int_equal(calls[0].code, ERR_NONE);
    assert_int_equal(calls[2].count, 1);
    assert_int_equal(calls[2].code, ERR_CANCELLED);
}

static void a_completion_of_a_loss_may_free_the_connection(void **state)
{
    struct pg_fixture *f = *state;
    struct pg_call calls[3] = { 0 };
    calls[1].then_free = f->pg;
    for (int i = 0; i < 3; i++) pg_send(f->pg, &sleep_long, NULL, 300000, pg_call_done, &calls[i]);
    pg_run_until(f, &calls[2].count, 1);
    f->pg = NULL;
    for (int i = 0; i < 3; i++) assert_int_equal(calls[i].count, 1);
}

static void freeing_before_the_first_turn_is_fine(void **state) { (void)state; }

#define TEST(name) cmocka_unit_test_setup_teardown(name, pg_fixture_set_up, pg_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_deadline_ends_all_that_was_sent_and_the_connection_mends),
        TEST(a_terminated_backend_leaves_the_outcome_unknown),
        TEST(a_stopped_server_ends_each_statement_once_and_later_ones_wait),
        TEST(a_silent_server_is_found_by_the_probe),
        TEST(an_idle_connection_stays),
        TEST(notifications_arrive_also_after_a_reconnect),
        TEST(freeing_cancels_each_statement_once),
        TEST(a_completion_may_free_the_connection),
        TEST(a_completion_of_a_loss_may_free_the_connection),
        TEST(freeing_before_the_first_turn_is_fine),
    };
    return cmocka_run_group_tests(tests, pg_server_start, pg_server_stop);
}
