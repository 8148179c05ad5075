/* control.c: reload and stop, asked for from any machine. A request is a row for each worker it
 * goes to; a NOTIFY wakes both sides, and the heartbeat finds what a NOTIFY missed. */
#include "ledger/call.h"

#define NOTIFY "pg_notify(current_schema() || '_control', '')"

/* clang-format off */
static const struct pg_statement REQUEST = {
    "control_request",
    "WITH c AS ("
    " INSERT INTO controls (request, supervisor, worker, verb)"
    " SELECT $1, w.incarnation, w.name, $2 FROM workers w"
    " WHERE w.supervisor IS NULL AND w.state = 'alive'"
    "  AND ($5 OR CASE WHEN cardinality($3::text[]) > 0 THEN w.name = ANY ($3)"
    "   ELSE w.host = $4 END)"
    " ON CONFLICT DO NOTHING RETURNING worker), "
    "o AS ("
    " INSERT INTO operations (actor, operation, target) SELECT $6, $2, c.worker FROM c), "
    "n AS MATERIALIZED (SELECT " NOTIFY " AS sent) "
    "SELECT coalesce(json_agg(c.worker ORDER BY c.worker), '[]')::text"
    " FROM c WHERE (SELECT count(n.sent) FROM n) = 1"
};
static const struct pg_statement TAKE = {
    "control_take",
    "WITH c AS ("
    " UPDATE controls SET taken_at = now() WHERE supervisor = $1 AND taken_at IS NULL"
    " RETURNING request, verb, created_at) "
    "SELECT coalesce(json_agg(json_build_object('request', request, 'verb', verb)"
    " ORDER BY created_at), '[]')::text FROM c"
};
static const struct pg_statement ANSWER = {
    "control_answer",
    "WITH c AS ("
    " UPDATE controls SET answer = $3::jsonb WHERE request = $2 AND supervisor = $1"
    " RETURNING " NOTIFY ") "
    "SELECT count(*) FROM c"
};
static const struct pg_statement READ = {
    "control_read",
    "SELECT coalesce(json_agg(json_build_object('worker', worker, 'answer', answer)"
    " ORDER BY worker), '[]')::text FROM controls WHERE request = $1"
};
/* clang-format on */

void ledger_control_request(struct ledger *ledger, const struct ident *request, const char *verb,
                            const char *const *names, const char *host, bool all, const char *actor,
                            ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_uuid(&call->params, request);
    pg_text(&call->params, verb);
    put_texts(&call->params, names);
    pg_text(&call->params, host);
    pg_bool(&call->params, all);
    pg_text(&call->params, actor);
    call_send(call, &REQUEST);
}

void ledger_control_take(struct ledger *ledger, const struct ident *supervisor,
                         ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_uuid(&call->params, supervisor);
    call_send(call, &TAKE);
}

void ledger_control_answer(struct ledger *ledger, const struct ident *supervisor,
                           const struct ident *request, const char *json, ledger_done_fn *done,
                           void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    pg_uuid(&call->params, supervisor);
    pg_uuid(&call->params, request);
    pg_text(&call->params, json);
    call_send(call, &ANSWER);
}

void ledger_control_read(struct ledger *ledger, const struct ident *request, ledger_json_fn *done,
                         void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_uuid(&call->params, request);
    call_send(call, &READ);
}
