/* See pg_fixture.h. */
#include "support/pg_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

struct test_postgres *pg_test_server;
int pg_call_order;

void pg_call_done(void *arg, const struct pg_answer *answer)
{
    struct pg_call *call = arg;
    call->count++;
    call->order = pg_call_order++;
    call->code = answer->err ? answer->err->code : ERR_NONE;
    call->unknown = answer->unknown;
    memcpy(call->sqlstate, answer->sqlstate, 6);
    snprintf(call->error, sizeof call->error, "%s", answer->err ? answer->err->text : "");
    assert_int_equal(answer->err == NULL, answer->rows != NULL);
    if (answer->rows) call->rows = pg_row_count(answer->rows);
    if (answer->rows && call->look) call->look(answer->rows);
    if (call->then_free) pg_free(call->then_free);
}

void pg_call_done_number(void *arg, const struct pg_answer *answer)
{
    struct pg_call *call = arg;
    if (answer->rows) call->number = pg_get_int4(answer->rows, 0, 0);
    pg_call_done(arg, answer);
}

static void on_text(void *arg, const struct pg_answer *answer)
{
    struct pg_call *call = arg;
    if (answer->rows && pg_row_count(answer->rows))
        snprintf(call->text, sizeof call->text, "%s", pg_get_text(answer->rows, 0, 0, NULL));
    pg_call_done(arg, answer);
}

static void on_connected(void *arg) { ((struct pg_fixture *)arg)->connected++; }

static void on_lost(void *arg, const struct err *why)
{
    struct pg_fixture *f = arg;
    f->lost++;
    f->why = *why;
}

static void on_notified(void *arg, const char *channel, const char *payload)
{
    struct pg_fixture *f = arg;
    f->notes++;
    snprintf(f->note, sizeof f->note, "%s=%s", channel, payload);
}

struct pg *pg_fixture_open(struct pg_fixture *f, const char *conninfo)
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

void pg_run_until(struct pg_fixture *f, const int *counter, int wanted)
{
    int64_t give_up = clock_boot_us() + 60 * SECOND_US;
    while (*counter < wanted) {
        if (clock_boot_us() > give_up) fail_msg("waited in vain (last loss: %s)", f->why.text);
        loop_turn(&f->loop, true);
    }
}

void pg_call_send(struct pg_fixture *f, const struct pg_statement *statement, struct pg_call *call)
{
    pg_send(f->pg, statement, NULL, 0, pg_call_done, call);
    assert_int_equal(call->count, 0);
}

void pg_run(struct pg_fixture *f, const struct pg_statement *statement, struct pg_call *call)
{
    pg_call_send(f, statement, call);
    pg_run_until(f, &call->count, 1);
}

void pg_run_params(struct pg_fixture *f, const struct pg_statement *statement,
                   struct pg_params *params, struct pg_call *call)
{
    pg_send(f->pg, statement, params, 0, pg_call_done, call);
    pg_run_until(f, &call->count, 1);
}

/* pg knows statements by their address, so each keeps its own. */
void pg_run_text(struct pg_fixture *f, const char *sql, struct pg_call *call)
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
    pg_run_until(f, &call->count, 1);
}

void pg_must(struct pg_fixture *f, const char *sql)
{
    struct pg_call call = { 0 };
    pg_run_text(f, sql, &call);
    if (call.code) fail_msg("%s: %s", sql, call.error);
}

int pg_fixture_set_up(void **state)
{
    struct pg_fixture *f = calloc(1, sizeof *f);
    if (!f) return -1;
    *state = f;
    loop_init(&f->loop);
    f->pg = pg_fixture_open(f, test_postgres_conninfo(pg_test_server));
    return 0;
}

int pg_fixture_tear_down(void **state)
{
    struct pg_fixture *f = *state;
    if (f->pg) pg_free(f->pg);
    loop_close(&f->loop);
    free(f);
    return 0;
}

int pg_server_start(void **state)
{
    (void)state;
    pg_test_server = test_postgres_start();
    return 0;
}

int pg_server_stop(void **state)
{
    (void)state;
    test_postgres_stop(pg_test_server);
    return 0;
}
