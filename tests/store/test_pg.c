/* pg against a real Postgres: every type both ways, the pipeline, and every way to lose it. */
#include "io/pg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "support/servers.h"

#define SECOND_US INT64_C(1000000)

static struct test_postgres *server;

struct fixture {
    struct loop loop;
    struct pg *pg;
    int connected, lost, notes;
    struct err why;
    char note[64];
};

/* One statement's completion. */
struct call {
    int count;
    int order; /* in which it came among all */
    enum err_code code;
    bool unknown;
    char sqlstate[6];
    char error[sizeof(((struct err *)0)->text)];
    int rows;
    char text[64]; /* the first column of the first row, when it is text */
    int32_t number;
    void (*look)(const struct pg_rows *rows);
    struct pg *then_free;
};
static int order_now;

static void on_done(void *arg, const struct pg_answer *answer)
{
    struct call *call = arg;
    call->count++;
    call->order = order_now++;
    call->code = answer->err ? answer->err->code : ERR_NONE;
    call->unknown = answer->unknown;
    memcpy(call->sqlstate, answer->sqlstate, 6);
    snprintf(call->error, sizeof call->error, "%s", answer->err ? answer->err->text : "");
    assert_int_equal(answer->err == NULL, answer->rows != NULL);
    if (answer->rows) call->rows = pg_row_count(answer->rows);
    if (answer->rows && call->look) call->look(answer->rows);
    if (call->then_free) pg_free(call->then_free);
}

static void on_number(void *arg, const struct pg_answer *answer)
{
    struct call *call = arg;
    if (answer->rows) call->number = pg_get_int4(answer->rows, 0, 0);
    on_done(arg, answer);
}

static void on_text(void *arg, const struct pg_answer *answer)
{
    struct call *call = arg;
    if (answer->rows && pg_row_count(answer->rows))
        snprintf(call->text, sizeof call->text, "%s", pg_get_text(answer->rows, 0, 0, NULL));
    on_done(arg, answer);
}

static void on_connected(void *arg) { ((struct fixture *)arg)->connected++; }

static void on_lost(void *arg, const struct err *why)
{
    struct fixture *f = arg;
    f->lost++;
    f->why = *why;
}

static void on_notified(void *arg, const char *channel, const char *payload)
{
    struct fixture *f = arg;
    f->notes++;
    snprintf(f->note, sizeof f->note, "%s=%s", channel, payload);
}

static struct pg *open_pg(struct fixture *f, const char *conninfo)
{
    struct pg_options options = { .conninfo = conninfo,
                                  .namespace = "odd \"name\"",
                                  .application = "pg-test",
                                  .index_plan = true };
    struct pg_hooks hooks = {
        .arg = f, .connected = on_connected, .lost = on_lost, .notified = on_notified
    };
    return pg_new(&f->loop, &options, &hooks);
}

static void run_until(struct fixture *f, const int *counter, int wanted)
{
    int64_t give_up = clock_boot_us() + 60 * SECOND_US;
    while (*counter < wanted) {
        if (clock_boot_us() > give_up) fail_msg("waited in vain (last loss: %s)", f->why.text);
        loop_turn(&f->loop, true);
    }
}

static void send_sql(struct fixture *f, const struct pg_statement *statement, struct call *call)
{
    pg_send(f->pg, statement, NULL, 0, on_done, call);
    assert_int_equal(call->count, 0);
}

static void run(struct fixture *f, const struct pg_statement *statement, struct call *call)
{
    send_sql(f, statement, call);
    run_until(f, &call->count, 1);
}

static void run_params(struct fixture *f, const struct pg_statement *statement,
                       struct pg_params *params, struct call *call)
{
    pg_send(f->pg, statement, params, 0, on_done, call);
    run_until(f, &call->count, 1);
}

/* A statement used once, with text only known here. Its address must stay its own. */
static void run_text(struct fixture *f, const char *sql, struct call *call)
{
    static struct {
        struct pg_statement statement;
        char name[16];
    } pool[100];
    static size_t used;
    assert_true(used < COUNT_OF(pool));
    snprintf(pool[used].name, sizeof pool[used].name, "once %zu", used);
    pool[used].statement = (struct pg_statement){ .name = pool[used].name, .sql = sql };
    pg_send(f->pg, &pool[used++].statement, NULL, 0, on_text, call);
    run_until(f, &call->count, 1);
}

static void must(struct fixture *f, const char *sql)
{
    struct call call = { 0 };
    run_text(f, sql, &call);
    if (call.code) fail_msg("%s: %s", sql, call.error);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (!f) return -1;
    *state = f;
    loop_init(&f->loop);
    f->pg = open_pg(f, test_postgres_conninfo(server));
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->pg) pg_free(f->pg);
    loop_close(&f->loop);
    free(f);
    return 0;
}

static int start_server(void **state)
{
    (void)state;
    server = test_postgres_start();
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    test_postgres_stop(server);
    return 0;
}

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
    struct fixture *f = *state;
    struct call call = { .look = look_at_scalars };
    struct pg_params params;
    pg_params_init(&params);
    pg_bool(&params, true);
    pg_int4(&params, INT32_MIN);
    pg_int8(&params, INT64_MIN + 1);
    pg_float8(&params, -1.5e300);
    pg_text(&params, "d\xc3\xa9j\xc3\xa0 vu'); --");
    pg_uuid(&params, &some_id);
    pg_text_len(&params, "", 0);
    run_params(f, &echo, &params, &call);
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
    struct fixture *f = *state;
    struct call call = { .look = look_at_nulls };
    struct pg_params params;
    pg_params_init(&params);
    pg_null(&params, PG_OID_BOOL);
    pg_null(&params, PG_OID_INT4);
    pg_null(&params, PG_OID_INT8);
    pg_null(&params, PG_OID_FLOAT8);
    pg_text(&params, NULL);
    pg_null(&params, PG_OID_UUID);
    pg_text_len(&params, NULL, 4);
    run_params(f, &echo, &params, &call);
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
    struct fixture *f = *state;
    struct call call = { .look = look_at_arrays };
    struct pg_params params;
    pg_params_init(&params);
    add_arrays(&params);
    run_params(f, &unnest, &params, &call);
    assert_string_equal(call.error, "");
}

static void an_empty_array_has_no_rows(void **state)
{
    static const struct pg_statement unnest = { "unnest empty",
                                                "select unnest($1::int4[]), $2::int4" };
    struct fixture *f = *state;
    struct call call = { .rows = -1 };
    struct pg_params params;
    pg_params_init(&params);
    pg_array(&params, PG_OID_INT4);
    pg_array_end(&params);
    pg_int4(&params, 4);
    run_params(f, &unnest, &params, &call);
    assert_string_equal(call.error, "");
    assert_int_equal(call.rows, 0);
}

static void text_that_postgres_cannot_store_is_bad_data(void **state)
{
    static const struct pg_statement length = { "length", "select length($1::text)" };
    struct fixture *f = *state;
    struct call nul = { 0 }, latin1 = { 0 };
    struct pg_params params;
    pg_params_init(&params);
    pg_text_len(&params, "a\0b", 3);
    run_params(f, &length, &params, &nul);
    pg_text(&params, "\xe9");
    run_params(f, &length, &params, &latin1);
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
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        struct call call = { 0 };
        char sql[100];
        snprintf(sql, sizeof sql, "select current_setting('%s')", settings[i][0]);
        run_text(f, sql, &call);
        assert_string_equal(call.text, settings[i][1]);
    }
}

/* ---- the pipeline ---- */

static void many_statements_are_answered_in_order(void **state)
{
    enum { COUNT = 2000 };
    static const struct pg_statement number = { "number", "select $1::int4" };
    struct fixture *f = *state;
    struct call *calls = calloc(COUNT, sizeof *calls);
    assert_non_null(calls);
    order_now = 0;
    for (int i = 0; i < COUNT; i++) {
        struct pg_params params;
        pg_params_init(&params);
        pg_int4(&params, i);
        pg_send(f->pg, &number, &params, 0, on_number, &calls[i]);
    }
    assert_int_equal(pg_in_flight(f->pg), COUNT);
    run_until(f, &calls[COUNT - 1].count, 1);
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
    struct fixture *f = *state;
    size_t len = 8 << 20;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, 'x', len);
    struct call calls[5] = { 0 };
    for (int i = 0; i < 5; i++) {
        struct pg_params params;
        pg_params_init(&params);
        pg_text_len(&params, text, len);
        calls[i].look = look_at_megabytes;
        pg_send(f->pg, &echo, &params, 60 * SECOND_US, on_done, &calls[i]);
    }
    run_until(f, &calls[4].count, 1);
    for (int i = 0; i < 5; i++) assert_int_equal(calls[i].code, ERR_NONE);
    free(text);
}

static void an_error_does_not_hurt_its_neighbours(void **state)
{
    static const struct pg_statement divide = { "divide", "select 12 / $1::int4" };
    struct fixture *f = *state;
    struct call calls[5] = { 0 };
    for (int i = 0; i < 5; i++) {
        struct pg_params params;
        pg_params_init(&params);
        pg_int4(&params, i == 2 ? 0 : 3);
        pg_send(f->pg, &divide, &params, 0, on_number, &calls[i]);
    }
    run_until(f, &calls[4].count, 1);
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
    struct fixture *f = *state;
    struct call early[3] = { 0 }, late = { 0 };
    for (int i = 0; i < 3; i++) send_sql(f, &later, &early[i]);
    run_until(f, &early[2].count, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(early[i].code, ERR_INTERNAL);
        assert_string_equal(early[i].sqlstate, "42P01");
        assert_non_null(strstr(early[i].error, "made_later"));
    }
    must(f, "create table public.made_later (n int)");
    run(f, &later, &late);
    assert_string_equal(late.error, "");
    must(f, "drop table public.made_later");
}

static void an_error_of_the_commit_is_the_statements_error(void **state)
{
    static const struct pg_statement insert = { "orphan", "insert into public.child values (7)" };
    struct fixture *f = *state;
    struct call broken = { 0 }, next = { 0 };
    must(f, "create table public.parent (id int primary key)");
    must(f, "create table public.child (id int references public.parent deferrable initially "
            "deferred)");
    send_sql(f, &insert, &broken);
    run_text(f, "select 'next'", &next);
    assert_int_equal(broken.count, 1);
    assert_int_equal(broken.code, ERR_DATA);
    assert_string_equal(broken.sqlstate, "23503");
    assert_string_equal(next.text, "next");
    must(f, "drop table public.child, public.parent");
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
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct call call = { 0 };
        char sql[120];
        int lost = f->lost, connected = f->connected;
        snprintf(sql, sizeof sql,
                 "do $$ begin raise exception 'as told' using errcode='%s'; end $$",
                 cases[i].sqlstate);
        run_text(f, sql, &call);
        assert_int_equal(call.code, cases[i].code);
        assert_string_equal(call.sqlstate, cases[i].sqlstate);
        assert_false(call.unknown);
        if (cases[i].reconnects) run_until(f, &f->connected, connected + 1);
        assert_int_equal(f->lost, lost + cases[i].reconnects);
    }
}

/* ---- deadlines and losses ---- */

static const struct pg_statement sleep_long = { "sleep long", "select pg_sleep(10)" };
static const struct pg_statement sleep_short = { "sleep short", "select pg_sleep(0.02)::text" };
static const struct pg_statement one = { "one", "select 1" };

static void a_deadline_ends_all_that_was_sent_and_the_connection_mends(void **state)
{
    struct fixture *f = *state;
    struct call late = { 0 }, neighbour = { 0 }, after = { 0 };
    pg_send(f->pg, &sleep_long, NULL, 300000, on_done, &late);
    pg_send(f->pg, &one, NULL, 0, on_number, &neighbour);
    run_until(f, &f->lost, 1);
    assert_int_equal(late.count, 1);
    assert_int_equal(late.code, ERR_STORE);
    assert_true(late.unknown);
    assert_string_equal(late.error, "sleep long: Postgres did not answer in time");
    assert_int_equal(neighbour.code, ERR_STORE);
    assert_true(neighbour.unknown);
    run(f, &one, &after);
    assert_int_equal(after.code, ERR_NONE);
    assert_int_equal(f->connected, 2);
}

static void a_terminated_backend_leaves_the_outcome_unknown(void **state)
{
    static const struct pg_statement end = { "end",
                                             "select pg_terminate_backend(pg_backend_pid())" };
    struct fixture *f = *state;
    struct call last = { 0 }, after = { 0 };
    run(f, &end, &last);
    assert_int_equal(last.code, ERR_STORE);
    assert_true(last.unknown);
    assert_non_null(strstr(f->why.text, "administrator"));
    run(f, &one, &after);
    assert_int_equal(after.code, ERR_NONE);
}

static void a_stopped_server_ends_each_statement_once_and_later_ones_wait(void **state)
{
    enum { COUNT = 100 };
    struct fixture *f = *state;
    struct call calls[COUNT] = { 0 }, hopeless = { 0 }, patient = { 0 };
    for (int i = 0; i < COUNT; i++) send_sql(f, &sleep_short, &calls[i]);
    run_until(f, &calls[2].count, 1);
    test_postgres_kill(server, SIGQUIT);
    run_until(f, &calls[COUNT - 1].count, 1);
    assert_int_equal(calls[0].code, ERR_NONE);
    assert_int_equal(calls[COUNT - 1].code, ERR_STORE);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(calls[i].count, 1);
        assert_int_equal(calls[i].unknown, calls[i].code == ERR_STORE);
    }
    pg_send(f->pg, &one, NULL, 60 * SECOND_US, on_number, &patient);
    pg_send(f->pg, &one, NULL, 200000, on_number, &hopeless);
    run_until(f, &hopeless.count, 1);
    assert_int_equal(hopeless.code, ERR_STORE);
    assert_false(hopeless.unknown);
    assert_non_null(strstr(hopeless.error, "cannot be reached"));
    assert_false(pg_is_up(f->pg));
    test_postgres_restart(server);
    run_until(f, &patient.count, 1);
    assert_int_equal(patient.number, 1);
    for (int i = 0; i < COUNT; i++) assert_int_equal(calls[i].count, 1);
}

static void a_silent_server_is_found_by_the_probe(void **state)
{
    struct fixture *f = *state;
    struct call call = { 0 };
    run(f, &one, &call);
    test_postgres_kill(server, SIGSTOP);
    int64_t start = clock_boot_us();
    run_until(f, &f->lost, 1);
    int64_t took = clock_boot_us() - start;
    test_postgres_kill(server, SIGCONT);
    assert_in_range(took, 9 * SECOND_US, 12 * SECOND_US);
    run_until(f, &f->connected, 2);
}

static void an_idle_connection_stays(void **state)
{
    struct fixture *f = *state;
    run_until(f, &f->connected, 1);
    int64_t until = clock_boot_us() + 6 * SECOND_US;
    while (clock_boot_us() < until) loop_turn(&f->loop, true);
    assert_int_equal(f->lost, 0);
    assert_true(pg_is_up(f->pg));
}

/* ---- notifications ---- */

static void notifications_arrive_also_after_a_reconnect(void **state)
{
    struct fixture *f = *state;
    pg_listen(f->pg, "Odd channel");
    run_until(f, &f->connected, 1);
    pg_listen(f->pg, "second");
    pg_listen(f->pg, "second");
    must(f, "select pg_notify('Odd channel', 'a')::text");
    run_until(f, &f->notes, 1);
    assert_string_equal(f->note, "Odd channel=a");
    must(f, "select pg_notify('second', 'b')::text");
    run_until(f, &f->notes, 2);
    struct call end = { 0 };
    run_text(f, "select pg_terminate_backend(pg_backend_pid())::text", &end);
    must(f, "select pg_notify('second', 'c')::text");
    run_until(f, &f->notes, 3);
    assert_string_equal(f->note, "second=c");
    assert_int_equal(f->notes, 3);
}

/* ---- scripts ---- */

static void a_script_is_one_transaction(void **state)
{
    struct fixture *f = *state;
    struct call broken = { 0 }, whole = { 0 }, count = { 0 };
    pg_script(f->pg, "create table public.half (n int); select 1 / 0;", 0, on_done, &broken);
    run_until(f, &broken.count, 1);
    assert_int_equal(broken.code, ERR_DATA);
    assert_string_equal(broken.error, "script: division by zero");
    run_text(f, "select coalesce(to_regclass('public.half')::text, 'absent')", &count);
    assert_string_equal(count.text, "absent");
    pg_script(f->pg, "create table public.half (n int); insert into public.half values (1), (2);",
              0, on_done, &whole);
    run_until(f, &whole.count, 1);
    assert_string_equal(whole.error, "");
    must(f, "drop table public.half");
    assert_int_equal(f->lost, 0);
}

static void scripts_and_statements_keep_their_order(void **state)
{
    struct fixture *f = *state;
    struct call calls[6] = { 0 };
    must(f, "create table public.steps (id serial, step text)");
    static const struct pg_statement add = {
        "add step", "insert into public.steps (step) values ('statement')"
    };
    static const char script[] = "insert into public.steps (step) values ('script');"
                                 "insert into public.steps (step) values ('script')";
    order_now = 0;
    for (int i = 0; i < 6; i++) {
        if (i % 3 == 1)
            pg_script(f->pg, script, 0, on_done, &calls[i]);
        else
            send_sql(f, &add, &calls[i]);
    }
    run_until(f, &calls[5].count, 1);
    for (int i = 0; i < 6; i++) {
        assert_string_equal(calls[i].error, "");
        assert_int_equal(calls[i].order, i);
    }
    struct call steps = { 0 };
    run_text(f, "select string_agg(left(step, 2), ' ' order by id) from public.steps", &steps);
    assert_string_equal(steps.text, "st sc sc st st sc sc st");
    must(f, "drop table public.steps");
}

static void a_script_may_outlast_the_statement_timeout(void **state)
{
    struct fixture *f = *state;
    struct pg_options options = { .conninfo = test_postgres_conninfo(server),
                                  .statement_timeout_us = 100000 };
    struct call script = { 0 }, statement = { 0 };
    pg_free(f->pg);
    f->pg = pg_new(&f->loop, &options, NULL);
    pg_script(f->pg, "select pg_sleep(0.3)", 0, on_done, &script);
    pg_send(f->pg, &sleep_long, NULL, 0, on_done, &statement);
    run_until(f, &statement.count, 1);
    assert_int_equal(script.code, ERR_NONE);
    assert_int_equal(statement.code, ERR_STORE);
    assert_string_equal(statement.sqlstate, "57014");
    assert_false(statement.unknown);
}

static void a_script_that_leaves_a_transaction_open_costs_its_connection(void **state)
{
    struct fixture *f = *state;
    struct call open = { 0 }, after = { 0 };
    pg_script(f->pg, "begin; select 1", 0, on_done, &open);
    run(f, &one, &after);
    assert_int_equal(open.code, ERR_STORE);
    assert_int_equal(after.code, ERR_NONE);
    assert_int_equal(f->lost, 1);
}

/* ---- the end ---- */

static void freeing_cancels_each_statement_once(void **state)
{
    struct fixture *f = *state;
    struct call sent[3] = { 0 }, waiting = { 0 }, first = { 0 };
    run(f, &one, &first);
    for (int i = 0; i < 3; i++) send_sql(f, &sleep_long, &sent[i]);
    loop_turn(&f->loop, false);
    send_sql(f, &one, &waiting);
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
    struct fixture *f = *state;
    struct call calls[3] = { 0 };
    calls[1].then_free = f->pg;
    for (int i = 0; i < 3; i++) send_sql(f, &one, &calls[i]);
    run_until(f, &calls[1].count, 1);
    f->pg = NULL;
    assert_int_equal(calls[0].code, ERR_NONE);
    assert_int_equal(calls[2].count, 1);
    assert_int_equal(calls[2].code, ERR_CANCELLED);
}

static void a_completion_of_a_loss_may_free_the_connection(void **state)
{
    struct fixture *f = *state;
    struct call calls[3] = { 0 };
    calls[1].then_free = f->pg;
    for (int i = 0; i < 3; i++) pg_send(f->pg, &sleep_long, NULL, 300000, on_done, &calls[i]);
    run_until(f, &calls[2].count, 1);
    f->pg = NULL;
    for (int i = 0; i < 3; i++) assert_int_equal(calls[i].count, 1);
}

static void freeing_before_the_first_turn_is_fine(void **state) { (void)state; }

/* ---- addresses ---- */

static void reopen(struct fixture *f, const char *conninfo)
{
    pg_free(f->pg);
    f->pg = open_pg(f, conninfo);
}

static void require_passwords_of_locked(struct fixture *f)
{
    char path[128];
    must(f, "create role locked login password 'right'");
    snprintf(path, sizeof path, "%s/data/pg_hba.conf", test_postgres_socket_dir(server));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("local all locked scram-sha-256\nlocal all all trust\n", file);
    fclose(file);
    must(f, "select pg_reload_conf()::text");
}

static void a_wrong_password_or_database_is_named_without_the_secret(void **state)
{
    struct fixture *f = *state;
    char conninfo[200];
    const char *dir = test_postgres_socket_dir(server);
    require_passwords_of_locked(f);
    snprintf(conninfo, sizeof conninfo, "host=%s user=locked dbname=codeability password=s3cret",
             dir);
    do { /* the server may take a while to see its new configuration */
        reopen(f, conninfo);
        int before = f->lost + f->connected, now = before;
        while (now == before) {
            loop_turn(&f->loop, true);
            now = f->lost + f->connected;
        }
    } while (pg_is_up(f->pg));
    assert_int_equal(f->why.code, ERR_STORE);
    assert_non_null(strstr(f->why.text, "password authentication failed"));
    assert_null(strstr(f->why.text, "s3cret"));
    int lost = f->lost;
    snprintf(conninfo, sizeof conninfo, "host=%s user=postgres dbname=absent", dir);
    reopen(f, conninfo);
    run_until(f, &f->lost, lost + 1);
    assert_non_null(strstr(f->why.text, "\"absent\" does not exist"));
    reopen(f, "postgres://u:s3cret%zz@h/db");
    run_until(f, &f->lost, lost + 2);
    assert_int_equal(f->why.code, ERR_INPUT);
    assert_null(strstr(f->why.text, "s3cret"));
}

static void a_dead_first_host_is_passed_over(void **state)
{
    struct fixture *f = *state;
    char conninfo[200];
    struct call call = { 0 };
    snprintf(conninfo, sizeof conninfo,
             "host=/nowhere,127.0.0.1,%s port=5432,1,5432 user=postgres dbname=codeability",
             test_postgres_socket_dir(server));
    reopen(f, conninfo);
    run(f, &one, &call);
    assert_string_equal(call.error, "");
    assert_int_equal(f->lost, 0);
}

/* A relay from a TCP port of 127.0.0.1 to the server's socket, one connection at a time. */
static void relay(int listener, const char *path)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    for (;;) {
        int a = accept(listener, NULL, NULL), b = socket(AF_UNIX, SOCK_STREAM, 0);
        if (a < 0 || b < 0 || connect(b, (struct sockaddr *)&to, sizeof to)) _exit(1);
        struct pollfd ends[2] = { { .fd = a, .events = POLLIN }, { .fd = b, .events = POLLIN } };
        for (bool open = true; open;) {
            poll(ends, 2, -1);
            for (int i = 0; i < 2; i++) {
                char bytes[4096];
                if (!ends[i].revents) continue;
                ssize_t len = read(ends[i].fd, bytes, sizeof bytes);
                open = open && len > 0 && write(ends[1 - i].fd, bytes, (size_t)len) == len;
            }
        }
        close(a);
        close(b);
    }
}

static pid_t start_relay(int *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof at;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    snprintf(path, sizeof path, "%s/.s.PGSQL.5432", test_postgres_socket_dir(server));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        relay(listener, path);
    }
    close(listener);
    return pid;
}

static void a_host_name_is_looked_up(void **state)
{
    struct fixture *f = *state;
    char conninfo[200];
    struct call call = { 0 };
    int port, lost;
    pid_t pid = start_relay(&port);
    assert_true(pid > 0);
    snprintf(conninfo, sizeof conninfo,
             "postgres://postgres@no-such-host.invalid:1,localhost:%d/codeability?sslmode=disable",
             port);
    reopen(f, conninfo);
    run(f, &one, &call);
    assert_string_equal(call.error, "");
    lost = f->lost;
    reopen(f, "host=no-such-host.invalid user=postgres");
    run_until(f, &f->lost, lost + 1);
    assert_non_null(strstr(f->why.text, "no-such-host.invalid"));
    reopen(f, conninfo); /* freed while the look-up is under way */
    loop_turn(&f->loop, false);
    pg_free(f->pg);
    f->pg = NULL;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void a_host_that_swallows_the_handshake_is_left_for_the_next(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof at;
    char conninfo[200];
    int mute = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(mute, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(mute, 8), 0);
    assert_int_equal(getsockname(mute, (struct sockaddr *)&at, &len), 0);
    snprintf(conninfo, sizeof conninfo, "host=127.0.0.1,%s port=%d,5432 user=postgres",
             test_postgres_socket_dir(server), ntohs(at.sin_port));
    reopen(f, conninfo);
    run_until(f, &f->connected, 1);
    assert_int_equal(f->lost, 1);
    close(mute);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
        TEST(a_deadline_ends_all_that_was_sent_and_the_connection_mends),
        TEST(a_terminated_backend_leaves_the_outcome_unknown),
        TEST(a_stopped_server_ends_each_statement_once_and_later_ones_wait),
        TEST(a_silent_server_is_found_by_the_probe),
        TEST(an_idle_connection_stays),
        TEST(notifications_arrive_also_after_a_reconnect),
        TEST(a_script_is_one_transaction),
        TEST(scripts_and_statements_keep_their_order),
        TEST(a_script_may_outlast_the_statement_timeout),
        TEST(a_script_that_leaves_a_transaction_open_costs_its_connection),
        TEST(freeing_cancels_each_statement_once),
        TEST(a_completion_may_free_the_connection),
        TEST(a_completion_of_a_loss_may_free_the_connection),
        TEST(freeing_before_the_first_turn_is_fine),
        TEST(a_wrong_password_or_database_is_named_without_the_secret),
        TEST(a_dead_first_host_is_passed_over),
        TEST(a_host_name_is_looked_up),
        TEST(a_host_that_swallows_the_handshake_is_left_for_the_next),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
