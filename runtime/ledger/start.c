/* start.c: the compare-and-set that makes a waiting task run (protocol "start").
 *
 * The UPDATE alone decides; a row that changed under it is judged by its newest version. The second
 * half of the statement says of the others why not, from the statement's snapshot: a row that looks
 * as if it could be started was changed meanwhile, its hint is stale. Both halves use now(), so
 * that no row is early for the one and due for the other. Rows are locked in id order. */
#include <stdlib.h>

#include "ledger/call.h"

struct start_call {
    struct call call;
    ledger_start_fn *done;
    size_t count;
};

static void start_answered(struct call *call, const struct pg_answer *answer);
static void read_started(const struct pg_rows *rows, int row, struct started *started);
static void read_policy(const struct pg_rows *rows, int row, struct started *started);

/* clang-format off */
#define IS_ISOLATED "a.name = ANY (" ISOLATED_NAMES ")"
static const struct pg_statement START = {
    "start",
    "WITH h AS MATERIALIZED ("
    " SELECT * FROM unnest($1::uuid[], $2::int4[], $3::uuid[]) WITH ORDINALITY"
    "  h (id, starts, claim, n) ORDER BY id), "
    "me AS MATERIALIZED ("
    " SELECT EXISTS (SELECT FROM workers w"
    "  WHERE w.incarnation = $4 AND w.state = 'alive') AS alive), "
    "paused AS MATERIALIZED (SELECT ARRAY(SELECT q.name FROM queues q WHERE q.paused) AS names), "
    "u AS ("
    " UPDATE active a SET starts = h.starts + 1, status = 1, claim_id = h.claim, owner = $4,"
    "  started_at = CASE a.status WHEN 1 THEN a.started_at ELSE clock_timestamp() END,"
    "  version = ($6::text[])[array_position($5::text[], a.name)],"
    "  percent = NULL, metadata = NULL, progress_at = NULL"
    " FROM h"
    " WHERE " PROBE("a.id", "h.id") " AND (SELECT alive FROM me)"
    "  AND (a.status = 1 AND a.claim_id = h.claim AND a.starts = h.starts + 1"
    "   OR a.status IN (0, 2) AND a.starts = h.starts AND a.cancel_at IS NULL"
    "    AND a.run_at <= now() AND (a.expires_at IS NULL OR a.expires_at > now())"
    "    AND a.name = ANY ($5::text[]) AND (" IS_ISOLATED ") = $7"
    "    AND a.queue <> ALL ((SELECT names FROM paused)::text[]))"
    " RETURNING h.n, a.id, a.starts, a.failures, a.round, a.created_at, a.started_at) "
    "SELECT u.n::int4, true, 0, 0::int8, t.name, t.queue, t.parameters::text,"
    " t.priority::int4, u.starts, u.failures, u.round, t.timeout_us, micros(u.created_at),"
    " micros(u.started_at), t.retry_max, t.retry_backoff::int4, t.retry_base_us,"
    " t.retry_cap_us, t.retry_jitter, t.schema_hash "
    "FROM u CROSS JOIN LATERAL (SELECT * FROM tasks t WHERE t.id = u.id" ALONE ") t "
    "UNION ALL "
    "SELECT h.n::int4, (SELECT alive FROM me),"
    " CASE WHEN NOT (SELECT alive FROM me) THEN 1"
    "  WHEN a.id IS NULL OR a.status = 1 OR a.starts <> h.starts OR a.cancel_at IS NOT NULL THEN 3"
    "  WHEN (" IS_ISOLATED ") <> $7 THEN 4"
    "  WHEN a.name <> ALL ($5::text[]) THEN 2"
    "  WHEN a.run_at > now() OR a.expires_at <= now()"
    "   OR a.queue = ANY ((SELECT names FROM paused)::text[]) THEN 1"
    "  ELSE 3 END,"
    " CASE WHEN a.run_at > now() THEN least(micros(a.run_at) - micros(now()), 5000000)"
    "  ELSE 1000000 END,"
    " NULL, " HINT_QUEUE("a") ", NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, false, NULL "
    "FROM h LEFT JOIN LATERAL (SELECT * FROM active a WHERE a.id = h.id" ALONE ") a ON true "
    "WHERE h.n NOT IN (SELECT u.n FROM u)"
};
/* clang-format on */

void ledger_start(struct ledger *ledger, const struct ident *incarnation,
                  const struct carried *carried, size_t carried_count, bool isolated,
                  const struct start_request *requests, size_t count, ledger_start_fn *done,
                  void *arg)
{
    struct start_call *start = call_new(ledger, sizeof *start, start_answered, arg);
    struct pg_params *params = &start->call.params;
    start->done = done;
    start->count = count;
    ARRAY_OF(params, PG_OID_UUID, count, pg_item_uuid(params, &requests[i].id));
    ARRAY_OF(params, PG_OID_INT4, count, pg_item_int4(params, requests[i].starts));
    ARRAY_OF(params, PG_OID_UUID, count, pg_item_uuid(params, &requests[i].claim));
    pg_uuid(params, incarnation);
    ARRAY_OF(params, PG_OID_TEXT, carried_count, item_text(params, carried[i].name));
    ARRAY_OF(params, PG_OID_TEXT, carried_count, item_text(params, carried[i].version));
    pg_bool(params, isolated);
    call_send(&start->call, &START);
}

static void start_answered(struct call *call, const struct pg_answer *answer)
{
    struct start_call *start = container_of(call, struct start_call, call);
    struct started *started = NULL;
    bool owner_alive = true;
    if (!answer->err) {
        started = xcalloc(start->count, sizeof *started);
        for (size_t i = 0; i < start->count; i++) started[i].verdict = START_STALE;
        for (int row = 0; row < pg_row_count(answer->rows); row++) {
            read_started(answer->rows, row, &started[pg_get_int4(answer->rows, row, 0) - 1]);
            owner_alive = pg_get_bool(answer->rows, row, 1);
        }
    }
    start->done(call->arg, started, started ? start->count : 0, owner_alive, answer->unknown,
                answer->err);
    free(started);
    call_free(call);
}

static void read_started(const struct pg_rows *rows, int row, struct started *started)
{
    started->verdict = (enum start_verdict)pg_get_int4(rows, row, 2);
    started->not_before_us = pg_get_int8(rows, row, 3);
    if (started->verdict == START_ELSEWHERE || started->verdict == START_STARTED)
        started->queue = pg_get_text(rows, row, 5, NULL);
    if (started->verdict != START_STARTED) return;
    started->name = pg_get_text(rows, row, 4, NULL);
    started->params = pg_get_text(rows, row, 6, &started->params_len);
    started->priority = pg_get_int4(rows, row, 7);
    started->attempt = pg_get_int4(rows, row, 8);
    started->failures = pg_get_int4(rows, row, 9);
    started->round = pg_get_int4(rows, row, 10);
    started->timeout_us = pg_get_int8(rows, row, 11);
    started->created_at_us = pg_get_int8(rows, row, 12);
    started->started_at_us = pg_get_int8(rows, row, 13);
    read_policy(rows, row, started);
    started->schema_hash = pg_get_text(rows, row, 19, NULL);
}

static void read_policy(const struct pg_rows *rows, int row, struct started *started)
{
    started->retry.max = pg_get_int4(rows, row, 14);
    started->retry.backoff = (enum backoff)pg_get_int4(rows, row, 15);
    started->retry.base_us = pg_get_int8(rows, row, 16);
    started->retry.cap_us = pg_get_int8(rows, row, 17);
    started->retry.jitter = pg_get_bool(rows, row, 18);
}
