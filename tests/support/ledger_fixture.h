/* ledger_fixture.h: a ledger on a private Postgres, its verbs as calls that wait, and raw SQL to
 * look behind them. Each test gets a namespace of its own, migrated. Single-threaded. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger/ledger.h"

int ledger_server_start(void **state); /* group set-up and tear-down */
int ledger_server_stop(void **state);
int ledger_open(void **state); /* test set-up and tear-down */
int ledger_close(void **state);

extern struct loop ledger_test_loop;
extern struct ledger *ledger_a, *ledger_b; /* two connections to the same namespace */
const char *ledger_test_namespace(void);
const char *ledger_test_conninfo(void);

/* What the last verb answered. err.code is ERR_NONE when it went well. */
struct ledger_answer {
    bool done;
    bool unknown;
    int64_t count;
    char json[65536];
    struct err err;
    struct hint hints[256];
    size_t hint_count;
    int64_t next_run_at_us;
};
extern struct ledger_answer answer;
void on_plain(void *arg, int64_t count, bool unknown, const struct err *err);
void on_json(void *arg, const char *json, size_t len, const struct err *err);
void on_hints(void *arg, const struct ledger_hints *hints, const struct err *err);
void on_operate(void *arg, const char *json, size_t len, const struct ledger_hints *hints,
                const struct err *err);
void wait_for(const bool *done);
/* AWAIT(ledger_pulse(ledger_a, on_json, NULL)); leaves what came in `answer`, and requires success.
 */
#define AWAIT(verb)                                                                                \
    do {                                                                                           \
        answer.done = false;                                                                       \
        verb;                                                                                      \
        wait_for(&answer.done);                                                                    \
        if (answer.err.code != ERR_NONE) fail_msg("%s", answer.err.text);                          \
    } while (0)

/* SQL in the namespace, past the ledger. The first value as text ("" when null or none), good
 * until four calls later. */
const char *sql(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *field(const char *path);  /* of answer.json, as "tasks,0,status" */
const char *text_of(struct ident id); /* good until four calls later, as sql() */
int64_t sql_int(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The plainest submission of task "greet", queue "default"; change what the test is about. */
struct submission submission_of(const char *name);
struct inserted insert_one(const struct submission *submission);
struct ident insert_named(const char *name); /* a new one, due now */
void insert_many(const struct submission *submissions, size_t count, struct inserted *answers);

struct ident
worker_living(const char *name); /* a supervisor's row of its own, alive, carrying greet */
struct started_copy {
    enum start_verdict verdict;
    int64_t not_before_us;
    int32_t attempt, failures, round;
    char params[256], name[64];
};
/* Starts one for owner under claim, carrying "greet" and "other". alive may be NULL. */
struct started_copy start_one(const struct ident *owner, struct ident id, int32_t starts,
                              struct ident claim);
extern bool start_owner_alive;
struct ident started_by(const struct ident *owner, struct ident id, int32_t starts); /* claim */
struct finish finish_of(struct ident id, struct ident claim, enum task_status status);
struct finished finish_one(const struct ident *owner, const struct finish *finish);

#define LEDGER_TEST(name) cmocka_unit_test_setup_teardown(name, ledger_open, ledger_close)
