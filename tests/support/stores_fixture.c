/* stores_fixture.c: see stores_fixture.h. */
#include "support/stores_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>

#include "base/clock.h"
#include "base/mem.h"
#include "lifecycle/await.h"

#define LOOK_US 20000

struct test_redis *stores_redis;
struct test_postgres *stores_postgres;
char stores_namespace[32];

static PGconn *raw;
static redisContext *raw_redis;

int stores_start(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* hiredis writes to servers that are gone */
    stores_redis = test_redis_start();
    stores_postgres = test_postgres_start();
    return 0;
}

int stores_stop(void **state)
{
    (void)state;
    PQfinish(raw);
    if (raw_redis) redisFree(raw_redis);
    test_redis_stop(stores_redis);
    test_postgres_stop(stores_postgres);
    return 0;
}

void stores_fresh(void)
{
    static int number;
    struct loop loop;
    struct await await = { 0 };
    struct err err;
    if (!test_redis_pid(stores_redis)) test_redis_restart(stores_redis);
    if (!test_postgres_pid(stores_postgres)) test_postgres_restart(stores_postgres);
    snprintf(stores_namespace, sizeof stores_namespace, "Life-%d", ++number);
    stores_redis_do("FLUSHALL");
    loop_init(&loop);
    struct ledger *ledger = stores_ledger(&loop);
    ledger_migrate(ledger, await_done, &await);
    if (!await_run(&loop, &await, &err)) fail_msg("%s", err.text);
    ledger_free(ledger);
    loop_close(&loop);
    stores_sql("SET search_path TO \"%s\"", stores_namespace);
}

struct ledger *stores_ledger(struct loop *loop)
{
    return ledger_new(loop, test_postgres_conninfo(stores_postgres), stores_namespace, "tested",
                      NULL);
}

struct broker *stores_broker(struct loop *loop, const struct broker_hooks *hooks)
{
    static const struct broker_hooks none;
    struct redis_target target = { .unix_path =
                                       (char *)(uintptr_t)test_redis_socket(stores_redis) };
    return broker_new(loop, &target, stores_namespace, hooks ? hooks : &none);
}

/* A server that was stopped since has ended this connection too. */
static void raw_open(void)
{
    static pid_t opened_to;
    char path[100];
    if (raw && opened_to == test_postgres_pid(stores_postgres)) return;
    opened_to = test_postgres_pid(stores_postgres);
    if (raw) {
        PQreset(raw);
    } else {
        raw = PQconnectdb(test_postgres_conninfo(stores_postgres));
    }
    if (PQstatus(raw) != CONNECTION_OK) fail_msg("%s", PQerrorMessage(raw));
    snprintf(path, sizeof path, "SET search_path TO \"%s\"", stores_namespace);
    PQclear(PQexec(raw, "SET client_min_messages TO warning"));
    PQclear(PQexec(raw, "SET synchronous_commit TO local"));
    PQclear(PQexec(raw, path));
}

static const char *run_sql(const char *format, va_list args)
{
    static char values[4][4096];
    static int turn;
    char *text, *value = values[turn++ % 4];
    if (vasprintf(&text, format, args) < 0) abort();
    raw_open();
    PGresult *result = PQexec(raw, text);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        fail_msg("%s\n%s", text, PQerrorMessage(raw));
    }
    bool has_value = PQntuples(result) > 0 && PQnfields(result) > 0;
    snprintf(value, sizeof values[0], "%s", has_value ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    free(text);
    return value;
}

const char *stores_sql(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *value = run_sql(format, args);
    va_end(args);
    return value;
}

int64_t stores_count(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *value = run_sql(format, args);
    va_end(args);
    return strtoll(value, NULL, 10);
}

static void add_reply(struct buf *out, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER) {
        buf_addf(out, "%lld", reply->integer);
    } else if (reply->type == REDIS_REPLY_ARRAY) {
        for (size_t i = 0; i < reply->elements; i++) {
            if (i > 0) buf_add_char(out, ' ');
            add_reply(out, reply->element[i]);
        }
    } else if (reply->str) {
        buf_add(out, reply->str, reply->len);
    }
}

static redisReply *raw_redis_run(int argc, const char **argv)
{
    redisReply *reply = raw_redis ? redisCommandArgv(raw_redis, argc, argv, NULL) : NULL;
    if (reply) return reply;
    if (raw_redis) redisFree(raw_redis);
    raw_redis = redisConnectUnix(test_redis_socket(stores_redis));
    if (!raw_redis || raw_redis->err) fail_msg("no Redis");
    return redisCommandArgv(raw_redis, argc, argv, NULL);
}

const char *stores_redis_do(const char *format, ...)
{
    static char values[4][4096];
    static int turn;
    char *text, *rest, *words[16], *value = values[turn++ % 4];
    int count = 0;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) abort();
    va_end(args);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        words[count++] =
            *word == '@' ? xasprintf("{%s}%s", stores_namespace, word + 1) : xstrdup(word);
    }
    redisReply *reply = raw_redis_run(count, (const char **)words);
    if (!reply || reply->type == REDIS_REPLY_ERROR) fail_msg("%s", reply ? reply->str : "no Redis");
    struct buf shown = BUF_EMPTY;
    add_reply(&shown, reply);
    snprintf(value, sizeof values[0], "%s", buf_text(&shown));
    buf_close(&shown);
    freeReplyObject(reply);
    while (count > 0) free(words[--count]);
    free(text);
    return value;
}

int64_t stores_waiting(const char *queue)
{
    return strtoll(stores_redis_do("ZCARD @:q:%s", queue), NULL, 10);
}

/* ---- commits without an answer ---- */

static void on_paused(void *arg, int64_t count, bool unknown, const struct err *err)
{
    (void)count, (void)unknown;
    if (!err) *(bool *)arg = true;
}

/* The server learns of its settings when it gets to it: writes until one write hangs. */
void stores_commits_hang(struct loop *loop, struct ledger *ledger)
{
    static bool done;
    stores_sql("ALTER SYSTEM SET synchronous_standby_names TO 'nobody'");
    stores_sql("SELECT pg_reload_conf()");
    done = true;
    for (bool hangs = false; !hangs;) {
        if (done) {
            done = false;
            ledger_pause(ledger, "default", false, "test", on_paused, &done);
        }
        loop_turn(loop, false);
        hangs = stores_hanging("tested") > 0;
    }
}

void stores_commits_go_on(void)
{
    stores_sql("ALTER SYSTEM RESET synchronous_standby_names");
    stores_sql("SELECT pg_reload_conf()");
}

int64_t stores_hanging(const char *application)
{
    return stores_count("SELECT count(*) FROM pg_stat_activity"
                        " WHERE application_name = '%s' AND wait_event = 'SyncRep'",
                        application);
}

void stores_end_backends(const char *application)
{
    stores_sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
               " WHERE application_name = '%s'",
               application);
}

/* ---- time ---- */

static void on_look(struct timer *timer) { timer_start(timer, LOOK_US); }

void watch_begin(struct watch *watch, struct loop *loop, int64_t patience_us)
{
    timer_init(loop, &watch->timer, on_look);
    timer_start(&watch->timer, LOOK_US);
    watch->until_us = clock_mono_us() + patience_us;
}

static void on_watch_closed(struct timer *timer)
{
    container_of(timer, struct watch, timer)->until_us = 0;
}

/* It lies on the stack of the caller: it must be gone before. */
void watch_end(struct watch *watch, struct loop *loop)
{
    timer_close(&watch->timer, on_watch_closed);
    while (watch->until_us != 0) loop_turn(loop, false);
}

bool watch_is_over(const struct watch *watch) { return clock_mono_us() >= watch->until_us; }

void turn_for(struct loop *loop, int64_t us)
{
    struct watch watch;
    watch_begin(&watch, loop, us);
    while (!watch_is_over(&watch)) loop_turn(loop, true);
    watch_end(&watch, loop);
}

/* ---- tasks and workers ---- */

struct submission_box *box_of(const char *name, const char *params)
{
    struct submission_box *box = xcalloc(1, sizeof *box);
    box->texts[0] = xstrdup(name);
    box->texts[1] = xstrdup(params);
    box->submission = (struct submission){ .id = ident_v7(),
                                           .name = box->texts[0],
                                           .params = box->texts[1],
                                           .params_len = strlen(params),
                                           .queue = "default",
                                           .priority = 5,
                                           .timeout_us = 3600 * SECOND_US,
                                           .retry = RETRY_NONE,
                                           .max_losses = 3,
                                           .schema_hash = "h" };
    return box;
}

struct ident box_id(const struct submission_box *box) { return box->submission.id; }

const char *id_text(const struct ident *id)
{
    static char texts[4][IDENT_TEXT_SIZE];
    static int turn;
    char *text = texts[turn++ % 4];
    ident_text(id, text);
    return text;
}

struct ident worker_alive(struct loop *loop, struct ledger *ledger, const char *name)
{
    struct await await = { 0 };
    struct err err;
    struct worker_row row = { .incarnation = ident_random(),
                              .name = name,
                              .host = "here",
                              .boot_id = "boot",
                              .pid = 4711,
                              .pid_start = 99,
                              .queues = (const char *const[]){ "default", NULL },
                              .slots = 10 };
    ledger_worker_register(ledger, &row, await_done, &await);
    if (!await_run(loop, &await, &err)) fail_msg("%s", err.text);
    const char *const names[] = { "greet", NULL };
    ledger_worker_carries(ledger, &row.incarnation, names, "v1", await_done, &await);
    if (!await_run(loop, &await, &err)) fail_msg("%s", err.text);
    return row.incarnation;
}

static int32_t taker_free_slots(void *arg)
{
    struct taker *taker = arg;
    return taker->slots - (taker->keeps ? (int32_t)taker->count : 0);
}

static void taker_started(void *arg, const struct ident *id, const struct ident *claim,
                          const struct started *started)
{
    struct taker *taker = arg;
    assert_true(taker->count < TAKEN_MOST);
    taker->ids[taker->count] = *id;
    taker->claims[taker->count] = *claim;
    taker->attempts[taker->count] = started->attempt;
    taker->at_us[taker->count++] = clock_wall_us();
}

static void taker_fenced(void *arg) { ((struct taker *)arg)->fenced++; }
static void taker_idle(void *arg) { ((struct taker *)arg)->idle++; }
static void taker_stuck(void *arg) { ((struct taker *)arg)->stuck++; }

static void taker_epoch(void *arg, const char *epoch)
{
    struct taker *taker = arg;
    snprintf(taker->epoch, sizeof taker->epoch, "%s", epoch);
}

struct taker *taker_new(struct loop *loop, struct broker *broker, struct ledger *ledger,
                        const struct ident *incarnation, int32_t slots)
{
    static const char *const queues[] = { "high_priority", "default", "low_priority", NULL };
    static const struct carried carried[] = { { "greet", "v1" } };
    struct taker *taker = xcalloc(1, sizeof *taker);
    const struct claimer_owner owner = { taker,       taker_free_slots, taker_started, taker_fenced,
                                         taker_epoch, taker_idle,       taker_stuck,   NULL };
    taker->incarnation = *incarnation;
    taker->slots = slots;
    taker->claimer = claimer_new(loop, broker, ledger, incarnation, queues, &owner);
    claimer_set_carried(taker->claimer, carried, COUNT_OF(carried));
    claimer_wake(taker->claimer);
    return taker;
}

void taker_free(struct taker *taker)
{
    claimer_free(taker->claimer);
    free(taker);
}
