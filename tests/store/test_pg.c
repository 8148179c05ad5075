/* pg against a real Postgres: every type both ways, the pipeline, errors, scripts. */
#include "io/pg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "support/pg_fixture.h"

static const struct pg_statement sleep_long = { "sleep long", "select pg_sleep(10)" };
static const struct pg_statement one = { "one", "select 1" };

/* ---- types ---- */

static const struct ident some_id = { { 1, 0x9a, 0, 0xff, 4, 0x70, 6, 7, 0x80, 9, 10, 11, 12, 13,
                                        14, 15 } };

static void look_at_scalars(const struct pg_rows *rows)
{
    struct ident id = pg_get_uuid(rows, 0, 5);
    size_t len;
    assert_true(pg_get_bool(rows, 0, 0));
    assert_int_equal(pg_get_int4(rows, 0, 1), INT32_MIN);
    assert_true(pg_get_int8(rows, 0, 2) == INT64_MIN + 1);
    assert_true(pg_get_float8(rows, 0, 3) == -1.5e300);
    assert_string_equal(pg_get_text(rows, 0, 4, &len), "d\xc3\xa9j\xc3\xa0 vu'); --");
    assert_int_equal(len, 15);
    assert_true(ident_equal(&id, &some_id));
    assert_string_equal(pg_get_text(rows, 0, 6, &len), "");
    assert_int_equal(len, 0);
    assert_false(pg_is_null(rows, 0, 6));
}

static void scalars_come_back_as_they_went(void **state)
{
    static const struct pg_statement echo = {
        "echo", "select $1::bool, $2::int4, $3::int8, $4::float8, $5::text, $6::uuid, $7::text"
    };
    struct pg_fixture *f = *state;
    struct pg_call call = { .look = look_at_scalars };
    struct pg_params params;
    pg_params_init(&params);
    pg_bool(&params, true);
    pg_int4(&params, INT32_MIN);
    pg_int8(&params, INT64_MIN + 1);
    pg_float8(&params, -1.5e300);
    pg_text(&params, "d\xc3\xa9j\xc3\xa0 vu'); --");
    pg_uuid(&params, &some_id);
    pg_text_len(&params, "", 0);
    pg_run_params(f, &echo, &params, &call);
    assert_string_equal(call.error, "");
    assert_int_equal(call.rows, 1);
}

static void look_at_nulls(const struct pg_rows *rows)
{
    struct ident id = pg_get_uuid(rows, 0, 5);
    size_t len = 9;
    for (int i = 0; i < 7; i++) assert_true(pg_is_null(rows, 0, i));
    assert_false(pg_get_bool(rows, 0, 0));
    assert_int_equal(pg_get_int4(rows, 0, 1), 0);
    assert_int_equal(pg_get_int8(rows, 0, 2), 0);
    assert_true(pg_get_float8(rows, 0, 3) == 0);
    assert_string_equal(pg_get_text(rows, 0, 4, &len), "");
    assert_int_equal(len, 0);
    assert_true(ident_is_zero(&id));
}

static void nulls_read_as_zero(void **state)
{
    static const struct pg_statement echo = {
        "echo nulls",
        "select $1::bool, $2::int4, $3::int8, $4::float8, $5::text, $6::uuid, $7::text"
    };
    struct pg_fixture *f = *state;
    struct pg_call call = { .look = look_at_nulls };
    struct pg_params params;
    pg_params_init(&params);
    pg_null(&params, PG_OID_BOOL);
    pg_null(&params, PG_OID_INT4);
    pg_null(&params, PG_OID_INT8);
    pg_null(&params, PG_OID_FLOAT8);
    pg_text(&params, NULL);
    pg_null(&params, PG_OID_UUID);
    pg_text_len(&params, NULL, 4);
    pg_run_params(f, &echo, &params, &call);
    assert_int_equal(call.code, ERR_NONE);
}

static void look_at_arrays(const struct pg_rows *rows)
{
    struct ident id = pg_get_uuid(rows, 0, 5);
    assert_int_equal(pg_row_count(rows), 2);
    assert_true(pg_get_bool(rows, 0, 0));
    assert_int_equal(pg_get_int4(rows, 0, 1), -7);
    assert_true(pg_get_int8(rows, 0, 2) == INT64_MAX);
    assert_true(isinf(pg_get_float8(rows, 0, 3)));
    assert_string_equal(pg_get_text(rows, 0, 4, NULL), "{\"a\",}");
    assert_true(ident_equal(&id, &some_id));
    for (int i = 0; i < 6; i++) assert_true(pg_is_null(rows, 1, i));
}

static void add_arrays(struct pg_params *params)
{
    pg_array(params, PG_OID_BOOL);
    pg_item_bool(params, true);
    pg_item_null(params);
    pg_array_end(params);
    pg_array(params, PG_OID_INT4);
    pg_item_int4(params, -7);
    pg_item_null(params);
    pg_array_end(params);
    pg_array(params, PG_OID_INT8);
    pg_item_int8(params, INT64_MAX);
    pg_item_null(params);
    pg_array_end(params);
    pg_array(params, PG_OID_FLOAT8);
    pg_item_float8(params, HUGE_VAL);
    pg_item_null(params);
    pg_array_end(params);
    pg_array(params, PG_OID_TEXT);
    pg_item_text(params, "{\"a\",}", 6);
    pg_item_text(params, NULL, 0);
    pg_array_end(params);
    pg_array(params, PG_OID_UUID);
    pg_item_uuid(params, &some_id);
    pg_item_null(params);
    pg_array_end(params);
}

static void arrays_come_back_as_they_went(void **state)
{
    static const struct pg_statement unnest = {
        "unnest", "select * from unnest($1::bool[], $2::int4[], $3::int8[], $4::float8[],"
                  " $5::text[], $6::uuid[])"
    };
    struct pg_fixture *f = *state;
    struct pg_call call = { .look = look_at_arrays };
    struct pg_params params;
    pg_params_init(&params);
    add_arrays(&params);
    pg_run_params(f, &unnest, &params, &call);
    assert_string_equal(call.error, "");
}

static void an_empty_array_has_no_rows(void **state)
{
    static const struct pg_statement unnest = { "unnest empty",
                                                "select unnest($1::int4[]), $2::int4" };
    struct pg_fixture *f = *state;
    struct pg_call call = { .rows = -1 };
    struct pg_params params;
    pg_params_init(&params);
    pg_array(&params, PG_OID_INT4);
    pg_array_end(&params);
    pg_int4(&params, 4);
    pg_run_params(f, &unnest, &params, &call);
    assert_string_equal(call.error, "");
    assert_int_equal(call.rows, 0);
}

static void text_that_postgres_cannot_store_is_bad_data(void **state)
{
    static const struct pg_statement length = { "length", "select length($1::text)" };
    struct pg_fixture *f = *state;
    struct pg_call nul = { 0 }, latin1 = { 0 };
    struct pg_params params;
    pg_params_init(&params);
    pg_text_len(&params, "a\0b", 3);
    pg_run_params(f, &length, &params, &nul);
    pg_text(&params, "\xe9");
    pg_run_params(f, &length, &params, &latin1);
    assert_int_equal(nul.code, ERR_DATA);
    assert_int_equal(latin1.code, ERR_DATA);
    pg_params_close(&params);
}

/* ---- the connection's settings ---- */

static void the_session_is_set_up(void **state)
{
    static const char *const settings[][2] = {
        { "search_path", "\"odd \"\"name\"\"\"" },
        { "timezone", "UTC" },
        { "synchronous_commit", "on" },
        { "statement_timeout", "30s" },
        { "lock_timeout", "10s" },
        { "idle_in_transaction_session_timeout", "30s" },
        { "application_name", "pg-test" },
        { "enable_seqscan", "off" },
        { "plan_cache_mode", "force_generic_plan" },
        { "client_encoding", "UTF8" },
    };
    struct pg_fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        struct pg_call call = { 0 };
        char sql[100];
        snprintf(sql, sizeof sql, "select current_setting('%s')", settings[i][0]);
        pg_run_text(f, sql, &call);
        assert_string_equal(call.text, settings[i][1]);
    }
}

/* ---- the pipeline ---- */

static void many_statements_are_answered_in_order(void **state)
{
    enum { COUNT = 2000 };
    static const struct pg_statement number = { "number", "select $1::int4" };
    struct pg_fixture *f = *state;
    struct pg_call *calls = calloc(COUNT, sizeof *calls);
    assert_non_null(calls);
    pg_call_order = 0;
    for (int i = 0; i < COUNT; i++) {
        struct pg_params params;
        pg_params_init(&params);
        pg_int4(&params, i);
        pg_send(f->pg, &number, &params, 0, pg_call_done_number, &calls[i]);
    }
    assert_int_equal(pg_in_flight(f->pg), COUNT);
    pg_run_until(f, &calls[COUNT - 1].count, 1);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(calls[i].count, 1);
        assert_int_equal(calls[i].order, i);
        assert_int_equal(calls[i].number, i);
    }
    assert_int_equal(pg_in_flight(f->pg), 0);
    free(calls);
}

static void look_at_megabytes(const struct pg_rows *rows)
{
    size_t len;
    pg_get_text(rows, 0, 0, &len);
    assert_int_equal(len, 8 << 20);
}

static void large_texts_go_both_ways_at_once(void **state)
{
    static const struct pg_statement echo = { "echo text", "select $1::text" };
    struct pg_fixture *f = *state;
    size_t len = 8 << 20;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, 'x', len);
    struct pg_call calls[5] = { 0 };
    for (int i = 0; i < 5; i++) {
        struct pg_params params;
        pg_params_init(&params);
        pg_text_len(&params, text, len);
        calls[i].look = look_at_megabytes;
        pg_send(f->pg, &echo, &params, 60 * SECOND_US, pg_call_done, &calls[i]);
    }
    pg_run_until(f, &calls[4].count, 1);
    for (int i = 0; i < 5; i++) assert_int_equal(calls[i].code, ERR_NONE);
    free(text);
}

static void an_error_does_not_hurt_its_neighbours(void **state)
{
    static const struct pg_statement divide = { "divide", "select 12 / $1::int4" };
    struct pg_fixture *f = *state;
    struct pg_call calls[5] = { 0 };
    for (int i = 0; i < 5; i++) {
        struct pg_params params;
        pg_params_init(&params);
        pg_int4(&params, i == 2 ? 0 : 3);
        pg_send(f->pg, &divide, &params, 0, pg_call_done_number, &calls[i]);
    }
    pg_run_until(f, &calls[4].count, 1);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(calls[i].count, 1);
        assert_int_equal(calls[i].code, i == 2 ? ERR_DATA : ERR_NONE);
        assert_int_equal(calls[i].number, i == 2 ? 0 : 4);
    }
    assert_string_equal(calls[2].sqlstate, "22012");
    assert_string_equal(calls[2].error, "divide: division by zero");
    assert_int_equal(f->lost, 0);
}

static void a_failed_prepare_is_every_callers_error_and_is_tried_again(void **state)
{
    static const struct pg_statement later = { "later", "select n from public.made_later" };
    struct pg_fixture *f = *state;
    struct pg_call early[3] = { 0 }, late = { 0 };
    for (int i = 0; i < 3; i++) pg_call_send(f, &later, &early[i]);
    pg_run_until(f, &early[2].count, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(early[i].code, ERR_INTERNAL);
        assert_string_equal(early[i].sqlstate, "42P01");
        assert_non_null(strstr(early[i].error, "made_later"));
    }
    pg_must(f, "create table public.made_later (n int)");
    pg_run(f, &later, &late);
    assert_string_equal(late.error, "");
    pg_must(f, "drop table public.made_later");
}

static void an_error_of_the_commit_is_the_statements_error(void **state)
{
    static const struct pg_statement insert = { "orphan", "insert into public.child values (7)" };
    struct pg_fixture *f = *state;
    struct pg_call broken = { 0 }, next = { 0 };
    pg_must(f, "create table public.parent (id int primary key)");
    pg_must(f, "create table public.child (id int references public.parent deferrable initially "
               "deferred)");
    pg_call_send(f, &insert, &broken);
    pg_run_text(f, "select 'next'", &next);
    assert_int_equal(broken.count, 1);
    assert_int_equal(broken.code, ERR_DATA);
    assert_string_equal(broken.sqlstate, "23503");
    assert_string_equal(next.text, "next");
    pg_must(f, "drop table public.child, public.parent");
}

static void server_errors_have_our_codes(void **state)
{
    static const struct {
        const char *sqlstate;
        enum err_code code;
        bool reconnects;
    } cases[] = {
        { "40001", ERR_RETRY, false },    { "40P01", ERR_RETRY, false },
        { "23505", ERR_CONFLICT, false }, { "23502", ERR_DATA, false },
        { "22P02", ERR_DATA, false },     { "54000", ERR_DATA, false },
        { "57014", ERR_STORE, false },    { "53100", ERR_STORE, false },
        { "55P03", ERR_STORE, false },    { "42501", ERR_INTERNAL, false },
        { "P0001", ERR_INTERNAL, false }, { "57P03", ERR_STORE, true },
        { "25006", ERR_STORE, true },     { "08006", ERR_STORE, true },
    };
    struct pg_fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct pg_call call = { 0 };
        char sql[120];
        int lost = f->lost, connected = f->connected;
        snprintf(sql, sizeof sql,
                 "do $$ begin raise exception 'as told' using errcode='%s'; end $$",
                 cases[i].sqlstate);
        pg_run_text(f, sql, &call);
        assert_int_equal(call.code, cases[i].code);
        assert_string_equal(call.sqlstate, cases[i].sqlstate);
        assert_false(call.unknown);
        if (cases[i].reconnects) pg_run_until(f, &f->connected, connected + 1);
        assert_int_equal(f->lost, lost + cases[i].reconnects);
    }
}

/* ---- scripts ---- */

static void a_script_is_one_transaction(void **state)
{
    struct pg_fixture *f = *state;
    struct pg_call broken = { 0 }, whole = { 0 }, count = { 0 };
    pg_script(f->pg, "create table public.half (n int); select 1 / 0;", 0, pg_call_done, &broken);
    pg_run_until(f, &broken.count, 1);
    assert_int_equal(broken.code, ERR_DATA);
    assert_string_equal(broken.error, "script: division by zero");
    pg_run_text(f, "select coalesce(to_regclass('public.half')::text, 'absent')", &count);
    assert_string_equal(count.text, "absent");
    pg_script(f->pg, "create table public.half (n int); insert into public.half values (1), (2);",
              0, pg_call_done, &whole);
    pg_run_until(f, &whole.count, 1);
    assert_string_equal(whole.error, "");
    pg_must(f, "drop table public.half");
    assert_int_equal(f->lost, 0);
}

static void scripts_and_statements_keep_their_order(void **state)
{
    struct pg_fixture *f = *state;
    struct pg_call calls[6] = { 0 };
    pg_must(f, "create table public.steps (id serial, step text)");
    static const struct pg_statement add = {
        "add step", "insert into public.steps (step) values ('statement')"
    };
    static const char script[] = "insert into public.steps (step) values ('script');"
                                 "insert into public.steps (step) values ('script')";
    pg_call_order = 0;
    for (int i = 0; i < 6; i++) {
        if (i % 3 == 1)
            pg_script(f->pg, script, 0, pg_call_done, &calls[i]);
        else
            pg_call_send(f, &add, &calls[i]);
    }
    pg_run_until(f, &calls[5].count, 1);
    for (int i = 0; i < 6; i++) {
        assert_string_equal(calls[i].error, "");
        assert_int_equal(calls[i].order, i);
    }
    struct pg_call steps = { 0 };
    pg_run_text(f, "select string_agg(left(step, 2), ' ' order by id) from public.steps", &steps);
    assert_string_equal(steps.text, "st sc sc st st sc sc st");
    pg_must(f, "drop table public.steps");
}

static void a_script_may_outlast_the_statement_timeout(void **state)
{
    struct pg_fixture *f = *state;
    struct pg_options options = { .conninfo = test_postgres_conninfo(pg_test_server),
                                  .statement_timeout_us = 100000 };
    struct pg_call script = { 0 }, statement = { 0 };
    pg_free(f->pg);
    f->pg = pg_new(&f->loop, &options, NULL);
    pg_script(f->pg, "select pg_sleep(0.3)", 0, pg_call_done, &script);
    pg_send(f->pg, &sleep_long, NULL, 0, pg_call_done, &statement);
    pg_run_until(f, &statement.count, 1);
    assert_int_equal(script.code, ERR_NONE);
    assert_int_equal(statement.code, ERR_STORE);
    assert_string_equal(statement.sqlstate, "57014");
    assert_false(statement.unknown);
}

static void a_script_that_leaves_a_transaction_open_costs_its_connection(void **state)
{
    struct pg_fixture *f = *state;
    struct pg_call open = { 0 }, after = { 0 };
    pg_script(f->pg, "begin; select 1", 0, pg_call_done, &open);
    pg_run(f, &one, &after);
    assert_int_equal(open.code, ERR_STORE);
    assert_int_equal(after.code, ERR_NONE);
    assert_int_equal(f->lost, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pg_fixture_set_up, pg_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(scalars_come_back_as_they_went),
        TEST(nulls_read_as_zero),
        TEST(arrays_come_back_as_they_went),
        TEST(an_empty_array_has_no_rows),
        TEST(text_that_postgres_cannot_store_is_bad_data),
        TEST(the_session_is_set_up),
        TEST(many_statements_are_answered_in_order),
        TEST(large_texts_go_both_ways_at_once),
        TEST(an_error_does_not_hurt_its_neighbours),
        TEST(a_failed_prepare_is_every_callers_error_and_is_tried_again),
        TEST(an_error_of_the_commit_is_the_statements_error),
        TEST(server_errors_have_our_codes),
        TEST(a_script_is_one_transaction),
        TEST(scripts_and_statements_keep_their_order),
        TEST(a_script_may_outlast_the_statement_timeout),
        TEST(a_script_that_leaves_a_transaction_open_costs_its_connection),
    };
    return cmocka_run_group_tests(tests, pg_server_start, pg_server_stop);
}
