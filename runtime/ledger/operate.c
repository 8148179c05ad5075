/* operate.c: what operators do. The functions in the schema lock first and decide then, so that a
 * cancel and a finish have one winner each. */
#include "ledger/call.h"

static void operate(struct ledger *ledger, const struct pg_statement *statement,
                    const struct ident *ids, size_t count, const char *actor,
                    ledger_operate_fn *done, void *arg);

/* clang-format off */
#define OPERATE(function) "SELECT answer," HINT_COLUMNS "FROM " function "($1, $2) ORDER BY n"
static const struct pg_statement CANCEL = { "cancel", OPERATE("cancel_tasks") };
static const struct pg_statement RETRY = { "retry", OPERATE("retry_tasks") };
static const struct pg_statement DELETE = { "delete", OPERATE("delete_tasks") };
/* Only what changes something. */
#define IS_PAUSED "EXISTS (SELECT FROM queues q WHERE q.name = $1 AND q.paused)"
#define NOTED(operation, before, after, changes)                                                   \
    "o AS ("                                                                                       \
    " INSERT INTO operations (actor, operation, target, before, after)"                            \
    " SELECT $2, " operation ", $1, " before ", " after " WHERE " changes ")"
static const struct pg_statement PAUSE = {
    "pause",
    "WITH " NOTED("'pause'", "'open'", "'paused'", "NOT " IS_PAUSED) " "
    "INSERT INTO queues (name, paused) VALUES ($1, true)"
    " ON CONFLICT (name) DO UPDATE SET paused = true RETURNING 1::int8"
};
/* A queue that nothing else is known of was never one. */
static const struct pg_statement RESUME = {
    "resume",
    "WITH " NOTED("'resume'", "'paused'", "'open'", IS_PAUSED) ", "
    "d AS ("
    " DELETE FROM queues q WHERE q.name = $1 AND q.served_since IS NULL AND NOT q.is_full"
    "  AND q.name NOT IN (" FIRST_QUEUES ") RETURNING q.name), "
    "u AS ("
    " UPDATE queues q SET paused = false WHERE q.name = $1 AND q.name NOT IN (SELECT name FROM d)"
    " RETURNING 1) "
    "SELECT count(*) FROM u"
};
static const struct pg_statement PAUSED = {
    "paused", "SELECT coalesce(json_agg(name ORDER BY name), '[]')::text FROM queues WHERE paused"
};
/* clang-format on */

void ledger_cancel(struct ledger *ledger, const struct ident *ids, size_t count, const char *actor,
                   ledger_operate_fn *done, void *arg)
{
    operate(ledger, &CANCEL, ids, count, actor, done, arg);
}

void ledger_retry(struct ledger *ledger, const struct ident *ids, size_t count, const char *actor,
                  ledger_operate_fn *done, void *arg)
{
    operate(ledger, &RETRY, ids, count, actor, done, arg);
}

void ledger_delete(struct ledger *ledger, const struct ident *ids, size_t count, const char *actor,
                   ledger_operate_fn *done, void *arg)
{
    operate(ledger, &DELETE, ids, count, actor, done, arg);
}

static void operate(struct ledger *ledger, const struct pg_statement *statement,
                    const struct ident *ids, size_t count, const char *actor,
                    ledger_operate_fn *done, void *arg)
{
    struct call *call = call_operate(ledger, done, arg);
    put_idents(&call->params, ids, count);
    pg_text(&call->params, actor);
    call_send(call, statement);
}

void ledger_pause(struct ledger *ledger, const char *queue, bool paused, const char *actor,
                  ledger_done_fn *done, void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    pg_text(&call->params, queue);
    pg_text(&call->params, actor);
    call_send(call, paused ? &PAUSE : &RESUME);
}

void ledger_paused(struct ledger *ledger, ledger_json_fn *done, void *arg)
{
    call_send(call_json(ledger, done, arg), &PAUSED);
}
