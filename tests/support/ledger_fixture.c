/* ledger_fixture.c: see ledger_fixture.h. */
#include "support/ledger_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "base/mem.h"
#include "support/servers.h"

struct loop ledger_test_loop;
struct ledger *ledger_a, *ledger_b;
struct ledger_answer answer;
bool start_owner_alive;

static struct test_postgres *postgres;
static PGconn *raw;
static char namespace[32];

int ledger_server_start(void **state)
{
    (void)state;
    postgres = test_postgres_start();
    raw = PQconnectdb(test_postgres_conninfo(postgres));
    if (PQstatus(raw) != CONNECTION_OK) return -1;
    sql("SET client_min_messages TO warning");
    return 0;
}

int ledger_server_stop(void **state)
{
    (void)state;
    PQfinish(raw);
    test_postgres_stop(postgres);
    return 0;
}

const char *ledger_test_conninfo(void) { return test_postgres_conninfo(postgres); }

const char *ledger_test_namespace(void) { return namespace; }

/* The name needs quotes everywhere: a dash and a capital. */
int ledger_open(void **state)
{
    static int number;
    (void)state;
    snprintf(namespace, sizeof namespace, "Test-%d", ++number);
    loop_init(&ledger_test_loop);
    ledger_a = ledger_new(&ledger_test_loop, ledger_test_conninfo(), namespace, "test a", NULL);
    ledger_b = ledger_new(&ledger_test_loop, ledger_test_conninfo(), namespace, "test b", NULL);
    AWAIT(ledger_migrate(ledger_a, on_plain, NULL));
    sql("SET search_path TO \"%s\"", namespace);
    return 0;
}

int ledger_close(void **state)
{
    (void)state;
    ledger_free(ledger_a);
    ledger_free(ledger_b);
    loop_close(&ledger_test_loop);
    sql("DROP SCHEMA \"%s\" CASCADE", namespace);
    return 0;
}

void wait_for(const bool *done)
{
    while (!*done) loop_turn(&ledger_test_loop, true);
}

static void settle(const struct err *err)
{
    answer.done = true;
    err_clear(&answer.err);
    if (err) answer.err = *err;
}

void on_plain(void *arg, int64_t count, bool unknown, const struct err *err)
{
    (void)arg;
    answer.count = count;
    answer.unknown = unknown;
    settle(err);
}

void on_json(void *arg, const char *json, size_t len, const struct err *err)
{
    (void)arg;
    assert_true(len < sizeof answer.json);
    memcpy(answer.json, json, len);
    answer.json[len] = '\0';
    settle(err);
}

void on_hints(void *arg, const struct ledger_hints *hints, const struct err *err)
{
    (void)arg;
    answer.hint_count = hints->count;
    answer.next_run_at_us = hints->next_run_at_us;
    assert_true(hints->count <= COUNT_OF(answer.hints));
    for (size_t i = 0; i < hints->count; i++) answer.hints[i] = hints->hints[i];
    settle(err);
}

void on_operate(void *arg, const char *json, size_t len, const struct ledger_hints *hints,
                const struct err *err)
{
    on_json(arg, json, len, err);
    on_hints(arg, hints, err);
}

static const char *run_sql(const char *format, va_list args)
{
    static char values[4][65536];
    static int turn;
    char *text;
    assert_true(vasprintf(&text, format, args) > 0);
    PGresult *result = PQexec(raw, text);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        fail_msg("%s\n%s", text, PQerrorMessage(raw));
    }
    char *value = values[turn++ % 4];
    bool has_value = PQntuples(result) > 0 && PQnfields(result) > 0;
    snprintf(value, sizeof values[0], "%s", has_value ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    free(text);
    return value;
}

const char *sql(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *value = run_sql(format, args);
    va_end(args);
    return value;
}

int64_t sql_int(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *value = run_sql(format, args);
    va_end(args);
    return strtoll(value, NULL, 10);
}

const char *field(const char *path)
{
    return sql("SELECT $J$%s$J$::json #>> '{%s}'", answer.json, path);
}

const char *text_of(struct ident id)
{
    static char texts[4][IDENT_TEXT_SIZE];
    static int turn;
    char *text = texts[turn++ % 4];
    ident_text(&id, text);
    return text;
}

struct submission submission_of(const char *name)
{
    return (struct submission){ .id = ident_v7(),
                                .name = name,
                                .params = "{\"message\": \"hi\"}",
                                .params_len = 17,
                                .queue = "default",
                                .priority = 5,
                                .timeout_us = 3600000000,
                                .retry = RETRY_NONE,
                                .max_losses = 3 };
}

struct insert_box {
    bool done;
    struct inserted *into;
};

static void on_inserted(void *arg, const struct inserted *inserted, size_t count, bool unknown,
                        const struct err *err)
{
    struct insert_box *box = arg;
    (void)unknown;
    box->done = true;
    if (err) fail_msg("%s", err->text);
    memcpy(box->into, inserted, count * sizeof *inserted);
}

void insert_many(const struct submission *submissions, size_t count, struct inserted *answers)
{
    const struct submission **pointers = xcalloc(count, sizeof *pointers);
    for (size_t i = 0; i < count; i++) pointers[i] = &submissions[i];
    struct insert_box box = { .into = answers };
    ledger_insert(ledger_a, pointers, count, on_inserted, &box);
    free(pointers);
    wait_for(&box.done);
}

struct inserted insert_one(const struct submission *submission)
{
    struct inserted inserted;
    insert_many(submission, 1, &inserted);
    return inserted;
}

struct ident insert_named(const char *name)
{
    struct submission submission = submission_of(name);
    struct inserted inserted = insert_one(&submission);
    assert_int_equal(inserted.verdict, INSERT_NEW);
    return inserted.id;
}

struct ident worker_living(const char *name)
{
    struct worker_row row = { .incarnation = ident_random(),
                              .name = name,
                              .host = "here",
                              .boot_id = "boot",
                              .pid = 4711,
                              .pid_start = 99,
                              .queues = (const char *const[]){ "default", NULL },
                              .slots = 10 };
    AWAIT(ledger_worker_register(ledger_a, &row, on_plain, NULL));
    AWAIT(ledger_worker_carries(ledger_a, &row.incarnation, (const char *const[]){ "greet", NULL },
                                "v1", on_plain, NULL));
    return row.incarnation;
}

struct start_box {
    bool done;
    struct started_copy copy;
};

static void on_started(void *arg, const struct started *started, size_t count, bool owner_alive,
                       bool unknown, const struct err *err)
{
    struct start_box *box = arg;
    (void)unknown;
    box->done = true;
    if (err) fail_msg("%s", err->text);
    assert_int_equal(count, 1);
    start_owner_alive = owner_alive;
    box->copy = (struct started_copy){ .verdict = started->verdict,
                                       .not_before_us = started->not_before_us,
                                       .attempt = started->attempt,
                                       .failures = started->failures,
                                       .round = started->round };
    if (started->verdict != START_STARTED) return;
    snprintf(box->copy.params, sizeof box->copy.params, "%s", started->params);
    snprintf(box->copy.name, sizeof box->copy.name, "%s", started->name);
}

struct started_copy start_one(const struct ident *owner, struct ident id, int32_t starts,
                              struct ident claim)
{
    const struct carried carried[] = { { "greet", "v1" }, { "other", "v2" } };
    struct start_request request = { id, starts, claim };
    struct start_box box = { 0 };
    ledger_start(ledger_a, owner, carried, 2, false, &request, 1, on_started, &box);
    wait_for(&box.done);
    return box.copy;
}

struct ident started_by(const struct ident *owner, struct ident id, int32_t starts)
{
    struct ident claim = ident_random();
    struct started_copy started = start_one(owner, id, starts, claim);
    assert_int_equal(started.verdict, START_STARTED);
    assert_int_equal(started.attempt, starts + 1);
    return claim;
}

struct finish finish_of(struct ident id, struct ident claim, enum task_status status)
{
    struct finish finish = { .id = id, .claim = claim, .status = status, .percent = -1 };
    if (status == TASK_SUCCESS) {
        finish.result = "{\"ok\": true}";
        finish.result_len = 12;
    } else {
        finish.error = "{\"kind\":\"exception\",\"message\":\"boom\",\"traceback\":null}";
        finish.error_len = strlen(finish.error);
    }
    if (status == TASK_RETRY) {
        finish.ended = "failed";
        finish.spends_failure = true;
    } else if (status == TASK_PENDING) {
        finish.ended = "released";
    } else if (status == TASK_FAILURE) {
        finish.spends_failure = true;
    }
    return finish;
}

struct finish_box {
    bool done;
    struct finished finished;
};

static void on_finished(void *arg, const struct finished *finished, size_t count, bool unknown,
                        const struct err *err)
{
    struct finish_box *box = arg;
    (void)unknown;
    box->done = true;
    if (err) fail_msg("%s", err->text);
    assert_int_equal(count, 1);
    box->finished = *finished;
}

struct finished finish_one(const struct ident *owner, const struct finish *finish)
{
    struct finish_box box = { 0 };
    ledger_finish(ledger_a, owner, finish, 1, on_finished, &box);
    wait_for(&box.done);
    return box.finished;
}
