/* audit.c: does the ledger hold what it promised, and do hints fit it? Reads only, takes no lock
 * that anybody waits for.
 *
 * All that is said of an id lies in rows of that id. So the tables are walked in slices of ids,
 * each one statement and hence one snapshot: no slice lasts long enough to keep dead rows from
 * being cleaned up, none sees half of a commit, and what the slices count adds up. Rows without a
 * task belong to the slice their id falls into. The four tables are read side by side and grouped
 * by id: a join would make the planner choose, and it knows these tables as they once were. */
#include <string.h>

#include "ledger/call.h"

#define SLICE_DEADLINE_US 30000000
#define DUE_SECONDS       "10" /* a due task may be without a hint for so long */

/* clang-format off */
/* $1 behind this id, $2 that many tasks, $3 microseconds after which the death of an owner must have
 * been dealt with. The ends of starts: attempts, and outcomes of a start (with a claim). */
static const struct pg_statement SLICE = {
    "audit_slice",
    "WITH span AS MATERIALIZED (SELECT"
    "  (SELECT t.id FROM tasks t WHERE t.id > $1 ORDER BY t.id OFFSET $2 - 1 LIMIT 1) AS last), "
    "bound AS MATERIALIZED (SELECT"
    "  coalesce(last, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AS id FROM span), "
    "r AS ("
    " SELECT 1 AS of, t.id,"
    "  hash_record_extended((t.name, t.queue, t.priority, t.unique_key), 0) AS asked,"
    "  NULL::int4 AS status, NULL::int4 AS round, NULL::int4 AS starts, NULL::uuid AS claim,"
    "  0 AS failures, 0 AS losses, t.retry_max, t.max_losses, false AS is_delayed,"
    "  false AS is_spent, NULL::text AS wrong"
    " FROM tasks t WHERE t.id > $1 AND t.id <= (SELECT id FROM bound) "
    "UNION ALL"
    " SELECT 2, a.id, hash_record_extended((a.name, a.queue, a.priority, a.unique_key), 0),"
    "  a.status, a.round,"
    "  a.starts, a.claim_id, a.failures, a.losses, NULL, NULL, a.run_at > now(), false,"
    "  CASE WHEN a.status NOT IN (0, 1, 2) THEN 'its status is ' || a.status"
    "   WHEN a.status = 1 AND (a.claim_id IS NULL OR a.owner IS NULL OR a.starts = 0)"
    "    THEN 'it runs without a claim, an owner or a start'"
    "   WHEN a.status <> 1 AND (a.claim_id IS NOT NULL OR a.owner IS NOT NULL)"
    "    THEN 'it waits but has a claim or an owner'"
    "   WHEN a.status = 1 AND a.started_at < now() - $3 * interval '1 microsecond'"
    "    AND NOT EXISTS (SELECT FROM workers w WHERE w.incarnation = a.owner AND (w.state = 'alive'"
    "     OR w.ended_at > now() - $3 * interval '1 microsecond'))"
    "    THEN '@' || a.owner END"
    " FROM active a WHERE a.id > $1 AND a.id <= (SELECT id FROM bound) "
    "UNION ALL"
    " SELECT 3, o.id, NULL, o.status, o.round, o.attempt, o.claim_id, o.failures, o.losses, NULL,"
    "  NULL, false, false, CASE WHEN o.status NOT IN (3, 4, 5) THEN 'its final status is ' || o.status"
    "   WHEN o.status = 3 AND o.claim_id IS NULL THEN '#' END"
    " FROM outcomes o WHERE o.id > $1 AND o.id <= (SELECT id FROM bound) "
    "UNION ALL"
    " SELECT 4, p.id, NULL, NULL, p.round, p.attempt, p.claim_id, 0, 0, NULL, NULL, false,"
    "  p.ended IN ('failed', 'lost'), NULL"
    " FROM attempts p WHERE p.id > $1 AND p.id <= (SELECT id FROM bound)), "
    "x AS MATERIALIZED ("
    " SELECT r.id, bool_or(of = 1) AS is_known, bool_or(of = 2) AS is_active,"
    "  max(status) FILTER (WHERE of = 2) AS status, bool_or(is_delayed) AS is_delayed,"
    "  coalesce(max(round) FILTER (WHERE of = 2), 0) AS round,"
    "  count(*) FILTER (WHERE of = 3) AS finals,"
    "  count(*) FILTER (WHERE of = 3 AND status <> 3) AS unlucky,"
    "  coalesce(max(round) FILTER (WHERE of = 3), 0) AS last_final,"
    "  max(round * 8 + status) FILTER (WHERE of = 3) % 8 AS final,"
    "  coalesce(max(starts) FILTER (WHERE of IN (2, 3)), 0)"
    "   - count(*) FILTER (WHERE of = 2 AND status = 1) AS ended_starts,"
    "  count(*) FILTER (WHERE of = 4 OR of = 3 AND claim IS NOT NULL) AS ends,"
    "  count(DISTINCT starts) FILTER (WHERE of = 4 OR of = 3 AND claim IS NOT NULL) AS one_end,"
    "  coalesce(max(starts) FILTER (WHERE of = 4 OR of = 3 AND claim IS NOT NULL), 0) AS last_end,"
    "  coalesce(min(starts) FILTER (WHERE of = 4 OR of = 3 AND claim IS NOT NULL), 1) AS first_end,"
    "  count(*) FILTER (WHERE of = 4 OR claim IS NOT NULL) AS claims,"
    "  count(DISTINCT claim) AS one_claim,"
    "  max(failures - (of = 3 AND status = 4)::int4) AS failures, max(losses) AS losses,"
    "  max(losses) FILTER (WHERE of = 2) AS losses_now,"
    "  max(retry_max) AS retry_max, max(max_losses) AS max_losses,"
    "  sum(failures + losses) - count(*) FILTER (WHERE is_spent) AS unexplained,"
    "  min(asked) <> max(asked) AS is_other, max(wrong) AS wrong"
    " FROM r GROUP BY r.id), "
    "d AS ("
    " SELECT x.id, c.kind, c.detail FROM x CROSS JOIN LATERAL (VALUES"
    "  (NOT is_known, 'unknown', CASE WHEN is_active THEN 'it is active, but was never submitted'"
    "   ELSE 'what came of it is kept, but it was never submitted' END),"
    "  (is_known AND NOT is_active AND finals = 0, 'lost',"
    "   'it was accepted, but it is neither waiting nor running nor final'),"
    "  (is_active AND last_final >= round, 'twice',"
    "   format('it is active in round %s, which has ended already', round)),"
    "  (finals <> last_final OR is_active AND last_final < round - 1, 'rounds',"
    "   format('%s of %s ended rounds are known', finals, greatest(last_final, round - 1))),"
    "  ((is_active OR finals > 0) AND (ends <> ended_starts OR one_end <> ended_starts"
    "   OR last_end > ended_starts OR first_end < 1), 'starts',"
    "   format('%s starts have ended; %s ends of %s of them are known, the last one of start %s',"
    "    ended_starts, ends, one_end, last_end)),"
    "  (claims <> one_claim OR wrong = '#', 'claim', CASE WHEN wrong = '#'"
    "   THEN 'it succeeded without a claim' ELSE 'two of its starts have one claim, or one has none'"
    "   END),"
    "  (is_known AND (is_active OR finals > 0) AND (failures > retry_max"
    "   OR losses > greatest(max_losses, 1) OR coalesce(losses_now, 0) >= greatest(max_losses, 1)"
    "   OR unexplained < 0 OR unexplained > unlucky), 'budget',"
    "   format('failures %s of %s, losses %s of %s, of which %s are unexplained', failures, retry_max,"
    "    losses, greatest(max_losses, 1), unexplained)),"
    "  (is_known AND is_active AND is_other, 'row',"
    "   'its name, queue, priority or unique_key is not what was asked for'),"
    "  (wrong LIKE 'it%', 'row', wrong),"
    "  (wrong LIKE '@%', 'owner', format('it runs on a worker that is no more (%s)',"
    "   substr(wrong, 2)))) c (is_wrong, kind, detail)"
    " WHERE c.is_wrong) "
    "SELECT json_build_object('last', (SELECT last FROM span),"
    " 'submitted', count(*) FILTER (WHERE is_known),"
    " 'waiting', count(*) FILTER (WHERE is_known AND status IN (0, 2) AND NOT is_delayed),"
    " 'delayed', count(*) FILTER (WHERE is_known AND status IN (0, 2) AND is_delayed),"
    " 'running', count(*) FILTER (WHERE is_known AND status = 1),"
    " 'SUCCESS', count(*) FILTER (WHERE is_known AND NOT is_active AND final = 3),"
    " 'FAILURE', count(*) FILTER (WHERE is_known AND NOT is_active AND final = 4),"
    " 'REVOKED', count(*) FILTER (WHERE is_known AND NOT is_active AND final = 5),"
    " 'differences', (SELECT coalesce(json_agg(row_to_json(d) ORDER BY d.id, d.kind), '[]') FROM d)"
    ")::text FROM x"
};
/* The index that keeps them unique may be missing, or broken. */
static const struct pg_statement UNIQUE = {
    "audit_unique",
    "SELECT coalesce(json_agg(json_build_object('id', u.id, 'kind', 'unique', 'detail',"
    "  format('%s active tasks of this name hold its unique_key', u.of))), '[]')::text "
    "FROM (SELECT unnest(array_agg(a.id)) AS id, count(*) AS of FROM active a"
    "  WHERE a.unique_key IS NOT NULL GROUP BY a.name, a.unique_key HAVING count(*) > 1) u"
};
/* In which of its queue's two lists a hint lies is no difference: it moves when it is claimed. */
#define IS_ASTRAY "h.queue NOT IN (t.queue, hint_queue(t.queue, t.name, ARRAY[t.name]))"
static const struct pg_statement HINTS = {
    "audit_hints",
    "SELECT coalesce(json_agg(json_build_object('id', d.id, 'kind', d.kind, 'detail', d.detail)),"
    "  '[]')::text "
    "FROM (SELECT h.id, CASE WHEN t.id IS NULL THEN 'hint_unknown'"
    "   WHEN h.starts > coalesce(a.starts, o.attempt, 0) THEN 'hint_ahead'"
    "   WHEN " IS_ASTRAY " THEN 'hint_queue' END AS kind,"
    "  CASE WHEN t.id IS NULL THEN format('queue %s has a hint of it, the ledger has not', h.queue)"
    "   WHEN h.starts > coalesce(a.starts, o.attempt, 0)"
    "    THEN format('its hint says start %s, the ledger %s', h.starts,"
    "     coalesce(a.starts, o.attempt, 0))"
    "   ELSE format('its hint lies in queue %s, it belongs to %s', h.queue, t.queue) END AS detail"
    " FROM unnest($1::uuid[], $2::int4[], $3::text[]) h (id, starts, queue)"
    " LEFT JOIN LATERAL (SELECT t.id, t.queue, t.name FROM tasks t WHERE t.id = h.id" ALONE ") t ON true"
    " LEFT JOIN LATERAL (SELECT a.starts FROM active a WHERE a.id = h.id" ALONE ") a ON true"
    " LEFT JOIN LATERAL (SELECT o.attempt FROM outcomes o WHERE o.id = h.id"
    "  AND a.starts IS NULL ORDER BY o.round DESC LIMIT 1) o ON true) d "
    "WHERE d.kind IS NOT NULL"
};
/* Of tasks that these workers would take if they saw a hint. */
#define DUE_COLUMNS                                                                                \
    "a.id, a.starts, a.priority::int4, micros(a.run_at), " HINT_QUEUE("a") ", true"
#define SERVED                                                                                     \
    "served AS MATERIALIZED (SELECT DISTINCT q.name AS queue, n.name FROM workers w"               \
    "  CROSS JOIN LATERAL unnest(w.queues) q (name) CROSS JOIN LATERAL unnest(w.carries) n (name)" \
    "  WHERE w.incarnation = ANY ($1::uuid[]) AND w.state = 'alive'"                               \
    "   AND q.name NOT IN (SELECT p.name FROM queues p WHERE p.paused)) "
#define IS_DUE                                                                                     \
    "a.run_at <= now() - interval '" DUE_SECONDS " seconds' AND a.status IN (0, 2)"                \
    " AND a.cancel_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())"                  \
    " AND EXISTS (SELECT FROM served s WHERE s.queue = a.queue AND s.name = a.name)"
static const struct pg_statement DUE = {
    "audit_due",
    "WITH " SERVED "SELECT " DUE_COLUMNS " FROM active a WHERE (a.run_at, uuid_send(a.id)) >"
    "  ('epoch'::timestamptz + $2 * interval '1 microsecond', uuid_send($3)) AND " IS_DUE
    " ORDER BY a.run_at, uuid_send(a.id) LIMIT $4"
};
static const struct pg_statement STILL_DUE = {
    "audit_still_due",
    "WITH " SERVED "SELECT " DUE_COLUMNS " FROM unnest($2::uuid[], $3::int4[]) h (of, starts)"
    " CROSS JOIN LATERAL (SELECT * FROM active a WHERE a.id = h.of" ALONE ") a"
    " WHERE a.starts = h.starts AND " IS_DUE
};
/* clang-format on */

void ledger_audit(struct ledger *ledger, const struct ident *after, int32_t most,
                  int64_t patience_us, ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    call->deadline_us = SLICE_DEADLINE_US;
    pg_uuid(&call->params, after);
    pg_int4(&call->params, most);
    pg_int8(&call->params, patience_us);
    call_send(call, &SLICE);
}

void ledger_audit_unique(struct ledger *ledger, ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    call->deadline_us = SLICE_DEADLINE_US;
    call_send(call, &UNIQUE);
}

void ledger_audit_hints(struct ledger *ledger, const struct hint *hints, size_t count,
                        ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    ARRAY_OF(&call->params, PG_OID_UUID, count, pg_item_uuid(&call->params, &hints[i].id));
    ARRAY_OF(&call->params, PG_OID_INT4, count, pg_item_int4(&call->params, hints[i].starts));
    ARRAY_OF(&call->params, PG_OID_TEXT, count, item_text(&call->params, hints[i].queue));
    call_send(call, &HINTS);
}

void ledger_audit_due(struct ledger *ledger, const struct ident *live, size_t live_count,
                      const struct due_cursor *behind, int32_t limit, ledger_hints_fn *done,
                      void *arg)
{
    struct call *call = call_hints(ledger, done, arg);
    call->deadline_us = SLICE_DEADLINE_US;
    put_idents(&call->params, live, live_count);
    pg_int8(&call->params, behind->run_at_us);
    pg_uuid(&call->params, &behind->id);
    pg_int4(&call->params, limit);
    call_send(call, &DUE);
}

void ledger_audit_still_due(struct ledger *ledger, const struct ident *live, size_t live_count,
                            const struct hint *hints, size_t count, ledger_hints_fn *done,
                            void *arg)
{
    struct call *call = call_hints(ledger, done, arg);
    put_idents(&call->params, live, live_count);
    ARRAY_OF(&call->params, PG_OID_UUID, count, pg_item_uuid(&call->params, &hints[i].id));
    ARRAY_OF(&call->params, PG_OID_INT4, count, pg_item_int4(&call->params, hints[i].starts));
    call_send(call, &STILL_DUE);
}
