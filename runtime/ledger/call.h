/* call.h (private to this folder): one verb under way.
 *
 * A call keeps its parameters, so that a statement can be sent again: after a deadlock by the call
 * itself, a few times with growing, jittered pauses; or by its verb, as another statement over the
 * same parameters. `answered` runs once for each call_send and then owns the call: it sends again,
 * or completes the verb and ends with call_free. */
#pragma once
#include <stdbool.h>

#include "base/list.h"
#include "base/mem.h"
#include "io/pg.h"
#include "ledger/ledger.h"
#include "ledger/schema.h"

struct call {
    struct ledger *ledger;
    struct pg_params params;
    void (*answered)(struct call *call, const struct pg_answer *answer);
    void *arg; /* of the caller of the verb */
    union {
        ledger_done_fn *done;
        ledger_json_fn *json;
        ledger_hints_fn *hints;
        ledger_operate_fn *operate;
    };
    int64_t deadline_us;                  /* 0: the usual one */
    const struct pg_statement *statement; /* the one that was answered */
    /* private */
    struct list node; /* among ledger->again between two tries */
    int tries;
};

/* For verbs with a state of their own: struct call is its first member, at the start of `size`
 * bytes of zeroes. */
void *call_new(struct ledger *ledger, size_t size,
               void (*answered)(struct call *, const struct pg_answer *), void *arg);
void call_send(struct call *call, const struct pg_statement *statement);
void call_free(struct call *call);

/* Calls that complete by themselves. What the statement answers: one int8 (none counts as 0); */
struct call *call_plain(struct ledger *ledger, ledger_done_fn *done, void *arg);
/* one text, or no row; */
struct call *call_json(struct ledger *ledger, ledger_json_fn *json, void *arg);
/* rows of HINT_COLUMNS; */
struct call *call_hints(struct ledger *ledger, ledger_hints_fn *hints, void *arg);
/* rows of an answer's text and HINT_COLUMNS. */
struct call *call_operate(struct ledger *ledger, ledger_operate_fn *operate, void *arg);

/* id null: no hint in this row. due false: the hint is not to be pushed, only its time counts. */
#define HINT_COLUMNS                                                                               \
    " id, starts, priority::int4, micros(run_at), queue, run_at <= clock_timestamp() "
bool hint_read(const struct pg_rows *rows, int row, int column, struct hint *hint); /* gives due */
void hint_read_queue(const struct pg_rows *rows, int row, int column, struct hint *hint);

#define ARRAY_OF(params, oid, count, put_item)                                                     \
    do {                                                                                           \
        pg_array(params, oid);                                                                     \
        for (size_t i = 0; i < (count); i++) put_item;                                             \
        pg_array_end(params);                                                                      \
    } while (0)
void item_text(struct pg_params *params, const char *text); /* NULL: null */
void put_idents(struct pg_params *params, const struct ident *ids, size_t count);
void put_ident_or_null(struct pg_params *params, const struct ident *id); /* zero: null */
void put_texts(struct pg_params *params, const char *const *texts);       /* NULL-terminated */

/* The planner trap. A statement is planned once for each connection, maybe while a table is empty
 * and vacuumed: then reading all of it looks as cheap as a probe of its index, and stays chosen
 * when the table has grown. Two spellings leave no choice but the probe:
 * - for what is written or locked, a condition on the key that is no join clause to the planner;
 * - for what is read, a correlated subquery that OFFSET 0 keeps from being merged into the rest. */
#define PROBE(key, outer) key " = ANY (ARRAY[" outer "])"
#define ALONE             " OFFSET 0"

struct pg *ledger_pg(struct ledger *ledger);
struct loop *ledger_loop(struct ledger *ledger);
const char *ledger_namespace(const struct ledger *ledger);
void ledger_again(struct ledger *ledger, struct list *node, int tries);
