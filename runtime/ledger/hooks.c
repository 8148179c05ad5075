/* hooks.c: hooks that are owed. The finish leaves a mark with its own incarnation as owner; an end
 * that was decided elsewhere leaves one without. Whoever carries the task takes marks that nobody
 * alive owns, and clears each once its hook has run: at least once. */
#include "ledger/call.h"

/* clang-format off */
static const struct pg_statement TAKE = {
    "hooks_take",
    "WITH m AS MATERIALIZED ("
    " SELECT h.*, gen_random_uuid() AS fresh FROM hooks_owed h WHERE h.name = ANY ($2) AND ($4 AND h.owner = $1"
    "  OR NOT EXISTS (SELECT FROM workers w"
    "   WHERE w.incarnation = h.owner AND w.state = 'alive'))"
    " ORDER BY h.id LIMIT $3 FOR UPDATE OF h SKIP LOCKED), "
    "u AS ("
    " UPDATE hooks_owed h SET owner = $1, claim = m.fresh FROM m"
    " WHERE h.id = m.id AND h.round = m.round AND h.attempt = m.attempt AND h.event = m.event) "
    "SELECT coalesce(json_agg(row_to_json(r)), '[]')::text FROM ("
    " SELECT m.id, m.fresh AS claim, m.losses >= " HOOK_LOSSES_MAX " AS is_given_up, m.attempt, m.event, m.name, t.queue, t.priority,"
    "  coalesce(o.failures, a.failures) AS failures, t.retry_max + 1 AS max_attempts,"
    "  micros(t.created_at) AS created_at, t.parameters,"
    "  CASE m.event WHEN 'success' THEN o.result END AS result,"
    "  error_json(CASE m.event WHEN 'retry' THEN p.error ELSE o.error END) AS error, m.round"
    " FROM m CROSS JOIN LATERAL (SELECT * FROM tasks t WHERE t.id = m.id" ALONE ") t"
    "  LEFT JOIN LATERAL (SELECT * FROM outcomes o"
    "   WHERE o.id = m.id AND o.round = m.round" ALONE ") o ON true"
    "  LEFT JOIN LATERAL (SELECT * FROM attempts p"
    "   WHERE p.id = m.id AND p.attempt = m.attempt" ALONE ") p ON true"
    "  LEFT JOIN LATERAL (SELECT * FROM active a WHERE a.id = m.id" ALONE ") a ON true"
    " ORDER BY m.id) r"
};
static const struct pg_statement DONE = {
    "hook_done",
    "WITH d AS ("
    " DELETE FROM hooks_owed WHERE id = $1 AND attempt = $2 AND event = $3 AND round = ("
    "  SELECT min(h.round) FROM hooks_owed h WHERE h.id = $1 AND h.attempt = $2 AND h.event = $3)"
    " RETURNING 1) "
    "SELECT count(*) FROM d"
};
/* clang-format on */

void ledger_hooks_take(struct ledger *ledger, const struct ident *incarnation,
                       const char *const *names, int32_t max, bool again, ledger_json_fn *done,
                       void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_uuid(&call->params, incarnation);
    put_texts(&call->params, names);
    pg_int4(&call->params, max);
    pg_bool(&call->params, again);
    call_send(call, &TAKE);
}

void ledger_hook_done(struct ledger *ledger, const struct ident *id, int32_t attempt,
                      const char *event, ledger_done_fn *done, void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    pg_uuid(&call->params, id);
    pg_int4(&call->params, attempt);
    pg_text(&call->params, event);
    call_send(call, &DONE);
}
