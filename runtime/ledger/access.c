/* access.c: see access.h. A change of tokens is told over the channel of control requests. */
#include "ledger/access.h"

#include "ledger/call.h"

/* clang-format off */
static const struct pg_statement CREATE = {
    "token_create",
    "SELECT create_token($1, decode($2, 'hex'), $3, $4, $5, $6, $7, $8,"
    " CASE WHEN $9 > 0 THEN $9 * interval '1 microsecond' END, $10)"
};
static const struct pg_statement REVOKE = { "token_revoke", "SELECT revoke_token($1, $2)" };
static const struct pg_statement TOKENS = {
    "tokens",
    "SELECT json_build_object('tokens', coalesce(json_agg(token_json(t)"
    " ORDER BY t.created_at DESC, t.id), '[]'))::text"
    " FROM tokens t WHERE NOT t.session OR token_state(t) = 'active'"
};
static const struct pg_statement GRANTS = {
    "grants",
    "SELECT json_build_object('any', EXISTS (SELECT FROM tokens t WHERE NOT t.session),"
    " 'grants', coalesce((SELECT json_agg(json_build_object('id', t.id,"
    "   'hash', encode(t.hash, 'hex'), 'session', t.session, 'scope', t.scope,"
    "   'tasks', t.tasks, 'own', t.own,"
    "   'actor', CASE WHEN t.session THEN t.created_by ELSE 'token:' || t.name END,"
    "   'left_us', (extract(epoch FROM least(t.expires_at, p.expires_at) - now())"
    "     * 1000000)::int8))"
    "  FROM tokens t LEFT JOIN tokens p ON p.id = t.parent"
    "  WHERE token_state(t) = 'active' AND (t.parent IS NULL OR token_state(p) = 'active')),"
    " '[]'))::text"
};
static const struct pg_statement USED = {
    "tokens_used",
    "WITH u AS (UPDATE tokens t SET used_at = now()"
    " WHERE t.id = ANY ($1::text[] || ARRAY(SELECT s.parent FROM tokens s WHERE s.id = ANY ($1)))"
    " RETURNING 1) SELECT count(*) FROM u"
};
static const struct pg_statement VISIBLE = {
    "visible",
    "SELECT coalesce(json_agg(i.id ORDER BY i.n), '[]')::text"
    " FROM unnest($1::uuid[]) WITH ORDINALITY i (id, n)"
    " CROSS JOIN LATERAL (SELECT t.name, t.created_by FROM tasks t WHERE t.id = i.id" ALONE ") t"
    " WHERE ($2::text IS NULL OR t.name LIKE $2) AND ($3::text IS NULL OR t.created_by = $3)"
};
static const struct pg_statement OPERATIONS = { "operations", "SELECT operations_json($1, $2)" };
/* clang-format on */

void ledger_token_create(struct ledger *ledger, const struct token_row *row, const char *actor,
                         ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_text(&call->params, row->id);
    pg_text(&call->params, row->hash);
    pg_text(&call->params, row->name);
    pg_text(&call->params, row->scope);
    pg_text(&call->params, row->tasks);
    pg_bool(&call->params, row->own);
    pg_bool(&call->params, row->session);
    pg_text(&call->params, row->parent);
    pg_int8(&call->params, row->lives_us);
    pg_text(&call->params, actor);
    call_send(call, &CREATE);
}

void ledger_token_revoke(struct ledger *ledger, const char *id, const char *actor,
                         ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_text(&call->params, id);
    pg_text(&call->params, actor);
    call_send(call, &REVOKE);
}

void ledger_tokens(struct ledger *ledger, ledger_json_fn *done, void *arg)
{
    call_send(call_json(ledger, done, arg), &TOKENS);
}

void ledger_grants(struct ledger *ledger, ledger_json_fn *done, void *arg)
{
    call_send(call_json(ledger, done, arg), &GRANTS);
}

void ledger_tokens_used(struct ledger *ledger, const char *const *ids, ledger_done_fn *done,
                        void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    put_texts(&call->params, ids);
    call_send(call, &USED);
}

void ledger_visible(struct ledger *ledger, const struct ident *ids, size_t count, const char *like,
                    const char *by, ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    put_idents(&call->params, ids, count);
    pg_text(&call->params, like);
    pg_text(&call->params, by);
    call_send(call, &VISIBLE);
}

void ledger_operations(struct ledger *ledger, int64_t limit, int64_t offset, ledger_json_fn *done,
                       void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_int8(&call->params, limit);
    pg_int8(&call->params, offset);
    call_send(call, &OPERATIONS);
}
