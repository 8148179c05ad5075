/* pg.h: a Postgres connection on the loop that mends itself. Only this file knows libpq.
 *
 * Pipeline mode: each statement is its own transaction (one sync each), prepared at its first use
 * on a connection, answered in order. On connect it sets application_name, search_path to the
 * namespace, statement_timeout, lock_timeout, idle_in_transaction_session_timeout, TimeZone UTC,
 * synchronous_commit=on and the planner switches that batched statements need (enable_seqscan and
 * friends are left to SQL that asks by `index_plan`). Deadline per statement: past it the
 * connection is torn down and everything in flight ends with ERR_STORE and `unknown` set (it may
 * have committed). Reconnect with back-off 50 ms..2 s, jittered; statements given while it is down
 * wait for the connection within their deadline, so that a short outage is not an error; they end
 * with ERR_STORE and `unknown` false when never sent. Half-open peers are found within 10 s
 * (tcp_user_timeout, keepalives, a probe after 5 s of silence). Several hosts:
 * target_session_attrs=read-write is added unless given. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ident.h"
#include "loop/loop.h"

struct pg;      /* opaque */
struct pg_rows; /* opaque: the rows of one answer, borrowed for the callback */

/* A prepared statement: a static object. Results come in binary; read them by the typed getters. In
 * SQL cast to the getter's type: uuid, int4, int8, bool, float8, text; times as (extract(epoch from
 * x) * 1000000)::int8; jsonb as ::text. */
struct pg_statement {
    const char *name; /* unique, for pg_prepared_statements and errors */
    const char *sql;
};

struct pg_answer {
    const struct pg_rows *rows; /* NULL when err is set */
    const struct err *err; /* NULL on success. ERR_DATA, ERR_RETRY, ERR_CONFLICT (23505), ERR_STORE,
                              ERR_CANCELLED, ERR_INTERNAL */
    bool unknown;          /* with ERR_STORE: it was sent, it may have committed */
    char sqlstate[6];      /* "" when the server did not speak */
};
typedef void pg_done_fn(void *arg, const struct pg_answer *answer);

struct pg_options {
    const char *conninfo;    /* copied; holds the password, never logged */
    const char *namespace;   /* schema: first in search_path */
    const char *application; /* application_name */
    bool index_plan;         /* enable_seqscan, enable_bitmapscan (it reads all that a page leaves
                                out), enable_hashjoin, enable_mergejoin = off; jit off;
                                plan_cache_mode=force_generic_plan */
    int64_t statement_timeout_us; /* server side; 0: 30 s */
};
struct pg_hooks {
    void *arg;
    void (*connected)(void *arg);
    void (*lost)(void *arg, const struct err *why);
    void (*notified)(void *arg, const char *channel, const char *payload); /* after pg_listen */
};

struct pg *pg_new(struct loop *loop, const struct pg_options *options,
                  const struct pg_hooks *hooks); /* connects at once */
void pg_free(struct pg *pg);                     /* ends everything with ERR_CANCELLED */
bool pg_is_up(const struct pg *pg);
size_t pg_in_flight(const struct pg *pg);
void pg_listen(struct pg *pg, const char *channel); /* now and after every reconnect */

/* Parameters, binary. Order of calls is order of $n. */
struct pg_params {
    struct buf bytes; /* private */
    int count;        /* private */
    struct {
        uint32_t oid;
        int32_t offset, len;
    } at[48];            /* private */
    int32_t array_start; /* private */
};
void pg_params_init(struct pg_params *params);
void pg_params_close(struct pg_params *params);
void pg_null(struct pg_params *params, uint32_t oid);
void pg_bool(struct pg_params *params, bool value);
void pg_int4(struct pg_params *params, int32_t value);
void pg_int8(struct pg_params *params, int64_t value);
void pg_float8(struct pg_params *params, double value);
void pg_uuid(struct pg_params *params, const struct ident *id);
void pg_text(struct pg_params *params, const char *text); /* NULL: null */
void pg_text_len(struct pg_params *params, const char *text, size_t len);
/* One-dimensional arrays: begin, items, end. */
#define PG_OID_BOOL   16
#define PG_OID_INT8   20
#define PG_OID_INT4   23
#define PG_OID_TEXT   25
#define PG_OID_FLOAT8 701
#define PG_OID_UUID   2950
void pg_array(struct pg_params *params, uint32_t element_oid);
void pg_array_end(struct pg_params *params);
void pg_item_null(struct pg_params *params);
void pg_item_bool(struct pg_params *params, bool value);
void pg_item_int4(struct pg_params *params, int32_t value);
void pg_item_int8(struct pg_params *params, int64_t value);
void pg_item_float8(struct pg_params *params, double value);
void pg_item_uuid(struct pg_params *params, const struct ident *id);
void pg_item_text(struct pg_params *params, const char *text, size_t len); /* NULL: null */

/* Sends; takes the contents of params (closed by this call; NULL: none). deadline_us 0: 10 s. done
 * runs exactly once, never before this returns. */
void pg_send(struct pg *pg, const struct pg_statement *statement, struct pg_params *params,
             int64_t deadline_us, pg_done_fn *done, void *arg);
/* Several statements of plain text SQL in one transaction (migrations); no parameters. */
void pg_script(struct pg *pg, const char *sql, int64_t deadline_us, pg_done_fn *done, void *arg);

int pg_row_count(const struct pg_rows *rows);
bool pg_is_null(const struct pg_rows *rows, int row, int column);
bool pg_get_bool(const struct pg_rows *rows, int row,
                 int column); /* null reads as false / 0 / "" */
int32_t pg_get_int4(const struct pg_rows *rows, int row, int column);
int64_t pg_get_int8(const struct pg_rows *rows, int row, int column);
double pg_get_float8(const struct pg_rows *rows, int row, int column);
struct ident pg_get_uuid(const struct pg_rows *rows, int row, int column);
const char *pg_get_text(const struct pg_rows *rows, int row, int column,
                        size_t *len); /* NUL-terminated, borrowed; len may be NULL */
