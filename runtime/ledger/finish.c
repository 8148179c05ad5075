/* finish.c: what came of a start. The claim fences: whoever does not hold it changes nothing.
 *
 * Successes take the short way: DELETE by claim, INSERT what was deleted; neither a cancel nor a
 * policy has a say in it. The long way locks the rows first and decides on the locked values, since
 * a cancel that was written meanwhile turns every other end into REVOKED. It costs half as much
 * again, so a mixed batch is sent in two parts.
 * Items whose row is not there are looked up by claim in what earlier, unanswered tries may have
 * written; what somebody else wrote about the same claim (a death) does not count: it tells another
 * error. */
#include <stdlib.h>

#include "ledger/call.h"

struct finish_batch {
    ledger_finish_fn *done;
    void *arg;
    size_t count;
    struct finished *finished; /* FENCED until something else is known */
    int parts;                 /* under way */
    bool unknown;
    struct err err; /* of the first part that failed */
};

struct finish_part {
    struct call call;
    struct finish_batch *batch;
    size_t *places; /* of this part's items in the batch */
    size_t undecided;
};

static void send_part(struct ledger *ledger, struct finish_batch *batch,
                      const struct ident *incarnation, const struct finish *items,
                      const struct pg_statement *statement);
static void part_answered(struct call *call, const struct pg_answer *answer);
static void read_finished(struct finish_part *part, const struct pg_rows *rows);
static void part_free(struct finish_part *part);
static void batch_done(struct finish_batch *batch);
static void put_finishes(struct pg_params *params, const struct finish *items, size_t count);

/* clang-format off */
/* All three take the same parameters and answer (place, status, HINT_COLUMNS). */
#define FINISHES                                                                                   \
    "unnest($2::uuid[], $3::uuid[], $4::int4[], $5::bool[], $6::int8[], $7::text[], $8::text[],"   \
    " $9::text[], $10::float8[], $11::text[], $12::text[]) WITH ORDINALITY"                        \
    " f (id, claim, became, spends, delay_us, ended, result, error, percent_now, metadata_now,"    \
    " hook, n)"
#define OUTCOME_COLUMNS                                                                            \
    "id, round, attempt, claim_id, status, result, error, failures, losses, percent, run_at,"      \
    " started_at, finished_at, cancel_at, progress_at, worker, version, metadata,"     \
    " name, queue"
#define LAST_PERCENT(r)                                                                            \
    "CASE WHEN " r ".percent_now >= 0 THEN " r ".percent_now ELSE " r ".percent END"
#define LAST_METADATA(r) "coalesce(" r ".metadata_now::jsonb, " r ".metadata)"
#define LAST_PROGRESS(r)                                                                           \
    "CASE WHEN " r ".percent_now >= 0 THEN coalesce(" r ".progress_at, now())"                     \
    " ELSE " r ".progress_at END"
#define TOLD_ERROR                                                                                 \
    "l.error::jsonb || jsonb_build_object('attempt', l.starts, 'at', time_word(now()))"
/* A release of what may never run twice is its end. */
#define IS_GIVEN_UP "l.became = 4 AND l.ended = 'released'"
/* What others end under my claim has the same status at times, never the error that I told. */
#define IS_TOLD(row) "(f.error IS NULL OR " row ".error @> f.error::jsonb)"
#define ME           "(SELECT w.name FROM workers w WHERE w.incarnation = $1)"

static const struct pg_statement FINISH_SUCCESS = {
    "finish_success",
    "WITH d AS ("
    " DELETE FROM active a USING (SELECT f.id AS of, f.claim, f.result, f.percent_now,"
    "  f.metadata_now, f.hook, f.n FROM " FINISHES " ORDER BY f.id) f"
    " WHERE " PROBE("a.id", "f.of") " AND a.status = 1 AND a.claim_id = f.claim"
    " RETURNING f.*, a.*), "
    "o AS ("
    " INSERT INTO outcomes (" OUTCOME_COLUMNS ")"
    " SELECT d.id, d.round, d.starts, d.claim_id, 3, d.result::jsonb, NULL, d.failures, d.losses,"
    "  " LAST_PERCENT("d") ", d.run_at, d.started_at, clock_timestamp(), d.cancel_at,"
    "  " LAST_PROGRESS("d") ", " ME ", d.version, " LAST_METADATA("d") ","
    "  d.name, d.queue FROM d), "
    "k AS ("
    " INSERT INTO hooks_owed (id, round, attempt, event, name, owner, claim)"
    " SELECT d.id, d.round, d.starts, d.hook, d.name, $1, d.claim_id FROM d WHERE d.hook IS NOT NULL) "
    "SELECT d.n::int4, 3, NULL::uuid, 0, 0, 0::int8, NULL::text, false FROM d"
};
static const struct pg_statement FINISH = {
    "finish",
    "WITH l AS MATERIALIZED ("
    " SELECT a.*, f.n, f.ended, f.result, f.error, f.percent_now, f.metadata_now,"
    "  CASE WHEN a.cancel_at IS NOT NULL AND f.became <> 3 THEN 5"
    "   WHEN f.ended = 'released'"
    "    AND (SELECT t.max_losses FROM tasks t WHERE t.id = a.id) = 0 THEN 4"
    "   ELSE f.became END AS became,"
    "  a.cancel_at IS NOT NULL AND f.became NOT IN (3, 5) AS is_revoked,"
    "  CASE WHEN a.cancel_at IS NULL OR f.became = 3 THEN f.hook END AS hook,"
    "  a.failures + f.spends::int4 AS failures_now,"
    "  CASE WHEN f.delay_us = 0 AND f.ended = 'released' THEN a.run_at"
    "   ELSE clock_timestamp() + f.delay_us * interval '1 microsecond' END AS run_next"
    " FROM (SELECT * FROM " FINISHES " ORDER BY f.id) f JOIN active a ON " PROBE("a.id", "f.id")
    " WHERE a.status = 1 AND a.claim_id = f.claim FOR UPDATE OF a), "
    "d AS (DELETE FROM active a USING l WHERE " PROBE("a.id", "l.id") " AND l.became >= 3), "
    "o AS ("
    " INSERT INTO outcomes (" OUTCOME_COLUMNS ")"
    " SELECT l.id, l.round, l.starts, l.claim_id, l.became, l.result::jsonb,"
    "  CASE WHEN l.is_revoked THEN make_error('cancelled', 'cancelled while it ran', l.starts)"
    "   WHEN " IS_GIVEN_UP " THEN make_error('worker_lost', 'its worker stopped while it ran, and"
    " max_losses = 0 forbids another start', l.starts)"
    "   ELSE " TOLD_ERROR " END,"
    "  l.failures_now, l.losses, " LAST_PERCENT("l") ", l.run_at, l.started_at,"
    "  clock_timestamp(), l.cancel_at, " LAST_PROGRESS("l") ", " ME ", l.version,"
    "  " LAST_METADATA("l") ", l.name, l.queue"
    " FROM l WHERE l.became >= 3), "
    "u AS ("
    " UPDATE active a SET status = l.became, failures = l.failures_now, run_at = l.run_next,"
    "  claim_id = NULL, owner = NULL, percent = " LAST_PERCENT("l") ","
    "  metadata = " LAST_METADATA("l") ", progress_at = " LAST_PROGRESS("l")
    " FROM l WHERE " PROBE("a.id", "l.id") " AND l.became < 3), "
    "t AS ("
    " INSERT INTO attempts (id, attempt, round, claim_id, ended, started_at, ended_at, worker,"
    "  version, error, name, queue, run_at)"
    " SELECT l.id, l.starts, l.round, l.claim_id, l.ended, l.started_at, clock_timestamp(), " ME ","
    "  l.version, " TOLD_ERROR ", l.name, l.queue, l.run_at FROM l WHERE l.became < 3), "
    "k AS ("
    " INSERT INTO hooks_owed (id, round, attempt, event, name, owner, claim)"
    " SELECT l.id, l.round, l.starts, l.hook, l.name, $1, l.claim_id FROM l WHERE l.hook IS NOT NULL"
    " UNION ALL"
    " SELECT l.id, l.round, l.starts, 'failure', l.name, NULL, NULL FROM l"
    "  JOIN catalogue c ON c.name = l.name AND c.on_failure WHERE " IS_GIVEN_UP ") "
    "SELECT l.n::int4, l.became, CASE WHEN l.became < 3 THEN l.id END, l.starts,"
    " l.priority::int4, micros(l.run_next), " HINT_QUEUE("l") ", l.run_next <= clock_timestamp() FROM l"
};
/* Whoever is not found in it was fenced: that is counted. */
static const struct pg_statement LOOK = {
    "finish_look",
    "WITH r (n, became, id, starts, priority, run_at, queue, due) AS ("
    " SELECT f.n::int4, o.status::int4, NULL::uuid, 0, 0, 0::int8, NULL::text, false"
    " FROM " FINISHES " CROSS JOIN LATERAL (SELECT * FROM outcomes o"
    "  WHERE o.id = f.id AND o.claim_id = f.claim" ALONE ") o"
    " WHERE o.status = f.became AND " IS_TOLD("o") " OR o.status = 5 AND f.became <> 3"
    "  OR o.status = 4 AND f.ended = 'released'"
    " UNION ALL"
    " SELECT f.n::int4, f.became, a.id, a.starts, a.priority::int4, micros(a.run_at),"
    "  " HINT_QUEUE("a") ", coalesce(a.run_at <= now(), false)"
    " FROM " FINISHES " CROSS JOIN LATERAL (SELECT * FROM attempts p"
    "   WHERE p.id = f.id AND p.claim_id = f.claim AND p.ended = f.ended AND " IS_TOLD("p") ALONE ") p"
    "  LEFT JOIN LATERAL (SELECT * FROM active a WHERE a.id = f.id AND a.starts = p.attempt"
    "   AND a.status IN (0, 2)" ALONE ") a ON true"
    " WHERE f.became < 3), "
    "c AS ("
    " INSERT INTO counts AS c (name, n) SELECT 'fenced', count(*) FROM " FINISHES
    "  WHERE f.n NOT IN (SELECT r.n FROM r) HAVING count(*) > 0"
    " ON CONFLICT (name) DO UPDATE SET n = c.n + excluded.n) "
    "SELECT * FROM r"
};
/* clang-format on */

void ledger_finish(struct ledger *ledger, const struct ident *incarnation,
                   const struct finish *items, size_t count, ledger_finish_fn *done, void *arg)
{
    struct finish_batch *batch = xcalloc(1, sizeof *batch);
    batch->done = done;
    batch->arg = arg;
    batch->count = count;
    size_t successes = 0;
    batch->finished = xcalloc(count, sizeof *batch->finished);
    for (size_t i = 0; i < count; i++) {
        batch->finished[i].verdict = FINISH_FENCED;
        batch->finished[i].status = items[i].status;
        successes += items[i].status == TASK_SUCCESS;
    }
    batch->parts = (successes > 0) + (successes < count || count == 0);
    if (successes > 0) send_part(ledger, batch, incarnation, items, &FINISH_SUCCESS);
    if (successes < count || count == 0) send_part(ledger, batch, incarnation, items, &FINISH);
}

static void send_part(struct ledger *ledger, struct finish_batch *batch,
                      const struct ident *incarnation, const struct finish *items,
                      const struct pg_statement *statement)
{
    struct finish *chosen = xcalloc(batch->count, sizeof *chosen);
    struct finish_part *part = call_new(ledger, sizeof *part, part_answered, NULL);
    part->batch = batch;
    part->places = xcalloc(batch->count, sizeof *part->places);
    for (size_t i = 0; i < batch->count; i++) {
        if ((items[i].status == TASK_SUCCESS) != (statement == &FINISH_SUCCESS)) continue;
        part->places[part->undecided] = i;
        chosen[part->undecided++] = items[i];
    }
    pg_uuid(&part->call.params, incarnation);
    put_finishes(&part->call.params, chosen, part->undecided);
    call_send(&part->call, statement);
    free(chosen);
}

static void part_answered(struct call *call, const struct pg_answer *answer)
{
    struct finish_part *part = container_of(call, struct finish_part, call);
    struct finish_batch *batch = part->batch;
    if (!answer->err) read_finished(part, answer->rows);
    if (!answer->err && part->undecided > 0 && call->statement != &LOOK) {
        call_send(call, &LOOK);
        return;
    }
    if (answer->err && batch->err.code == ERR_NONE) batch->err = *answer->err;
    batch->unknown = batch->unknown || answer->unknown;
    part_free(part);
    if (--batch->parts == 0) batch_done(batch);
}

static void read_finished(struct finish_part *part, const struct pg_rows *rows)
{
    for (int row = 0; row < pg_row_count(rows); row++) {
        size_t place = part->places[pg_get_int4(rows, row, 0) - 1];
        struct finished *finished = &part->batch->finished[place];
        if (finished->verdict == FINISH_DONE) continue;
        finished->verdict = FINISH_DONE;
        finished->status = (enum task_status)pg_get_int4(rows, row, 1);
        part->undecided--;
        if (pg_is_null(rows, row, 2)) continue;
        finished->due = hint_read(rows, row, 2, &finished->hint);
        finished->run_at_us = finished->hint.ready_us;
    }
}

static void part_free(struct finish_part *part)
{
    free(part->places);
    call_free(&part->call);
}

static void batch_done(struct finish_batch *batch)
{
    bool failed = batch->err.code != ERR_NONE;
    batch->done(batch->arg, failed ? NULL : batch->finished, failed ? 0 : batch->count,
                batch->unknown, failed ? &batch->err : NULL);
    free(batch->finished);
    free(batch);
}

static void put_finishes(struct pg_params *params, const struct finish *items, size_t count)
{
    ARRAY_OF(params, PG_OID_UUID, count, pg_item_uuid(params, &items[i].id));
    ARRAY_OF(params, PG_OID_UUID, count, pg_item_uuid(params, &items[i].claim));
    ARRAY_OF(params, PG_OID_INT4, count, pg_item_int4(params, (int32_t)items[i].status));
    ARRAY_OF(params, PG_OID_BOOL, count, pg_item_bool(params, items[i].spends_failure));
    ARRAY_OF(params, PG_OID_INT8, count, pg_item_int8(params, items[i].delay_us));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, items[i].ended));
    ARRAY_OF(params, PG_OID_TEXT, count,
             pg_item_text(params, items[i].result, items[i].result_len));
    ARRAY_OF(params, PG_OID_TEXT, count, pg_item_text(params, items[i].error, items[i].error_len));
    ARRAY_OF(params, PG_OID_FLOAT8, count, pg_item_float8(params, items[i].percent));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, items[i].metadata));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, items[i].hook));
}
