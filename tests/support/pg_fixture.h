/* pg_fixture.h: a pg connection to a private Postgres, for the tests of pg itself: what its hooks
 * saw, and statements as calls that note how they ended. Single-threaded. */
#pragma once
#include "io/pg.h"
#include "support/servers.h"

#define SECOND_US INT64_C(1000000)

extern struct test_postgres *pg_test_server; /* one for the whole program */

struct pg_fixture {
    struct loop loop;
    struct pg *pg; /* a test that frees it sets it to NULL */
    int connected, lost, notes;
    struct err why;
    char note[64]; /* "channel=payload" */
};

/* One statement and its completion. */
struct pg_call {
    int count;
    int order; /* in which it came among all since pg_call_order was 0 */
    enum err_code code;
    bool unknown;
    char sqlstate[6];
    char error[sizeof(((struct err *)0)->text)];
    int rows;
    char text[64];                            /* the first value, by pg_run_text */
    int32_t number;                           /* the first value, by pg_call_done_number */
    void (*look)(const struct pg_rows *rows); /* given by the test, or NULL */
    struct pg *then_free;                     /* given by the test, or NULL */
};
extern int pg_call_order;

int pg_server_start(void **state); /* group set-up and tear-down */
int pg_server_stop(void **state);
int pg_fixture_set_up(void **state); /* test set-up and tear-down */
int pg_fixture_tear_down(void **state);
struct pg *pg_fixture_open(struct pg_fixture *f, const char *conninfo);

void pg_call_done(void *call, const struct pg_answer *answer);
void pg_call_done_number(void *call, const struct pg_answer *answer);
void pg_call_send(struct pg_fixture *f, const struct pg_statement *statement, struct pg_call *call);
/* Turns the loop until the counter is there; fails the test after a minute. */
void pg_run_until(struct pg_fixture *f, const int *counter, int wanted);
void pg_run(struct pg_fixture *f, const struct pg_statement *statement, struct pg_call *call);
void pg_run_params(struct pg_fixture *f, const struct pg_statement *statement,
                   struct pg_params *params, struct pg_call *call);
/* SQL that is known only here; its first column, if there is one, is text. */
void pg_run_text(struct pg_fixture *f, const char *sql, struct pg_call *call);
void pg_must(struct pg_fixture *f, const char *sql);
