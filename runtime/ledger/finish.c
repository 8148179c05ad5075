/* finish.c: what came of a start. The claim fences: whoever does not hold it changes nothing.
 *
 * A batch of nothing but SUCCESS takes the short way: DELETE by claim, INSERT what was deleted;
 * neither a cancel nor a policy has a say in it. The long way locks the rows first and decides on
 * the locked values, since a cancel that was written meanwhile turns every other end into REVOKED.
 * Items whose row is not there are looked up by claim in what earlier, unanswered tries may have
 * written; what somebody else wrote about the same claim (a release, a death) does not count. */
#include <stdlib.h>

#include "ledger/call.h"

struct finish_call {
    struct call call;
    ledger_finish_fn *done;
    size_t count;
    size_t undecided;
    struct finished *finished; /* FENCED until something else is known */
};

static void finish_answered(struct call *call, const struct pg_answer *answer);
static void read_finished(struct finish_call *finish, const struct pg_rows *rows);
static void finish_done(struct finish_call *finish, bool unknown, const struct err *err);
static void put_finishes(struct pg_params *params, const struct finish *items, size_t count);

/* All three take the same parameters and answer (place, status, HINT_COLUMNS). */
#define FINISHES                                                                                   \
    "unnest($2::uuid[], $3::uuid[], $4::int4[], $5::bool[], $6::int8[], $7::text[], $8::text[],"   \
    " $9::text[], $10::float8[], $11::text[], $12::text[]) WITH ORDINALITY"                        \
    " f (id, claim, became, spends, delay_us, ended, result, error, percent_now, metadata_now,"    \
    " hook, n)"
#define OUTCOME_COLUMNS                                                                            \
    "id, round, attempt, claim_id, status, result, error, failures, losses, percent, run_at,"      \
    " started_at, finished_at, cancel_at, progress_at, worker, version, metadata"
#define LAST_PERCENT(r)  "CASE WHEN " r ".percent_now >= 0 THEN " r ".percent_now ELSE " r ".percent END"
#define LAST_METADATA(r) "coalesce(" r ".metadata_now::jsonb, " r ".metadata)"
#define LAST_PROGRESS(r)                                                                           \
    "CASE WHEN " r ".percent_now >= 0 THEN coalesce(" r ".progress_at, now())"                     \
    " ELSE " r ".progress_at END"
#define TOLD_ERROR                                                                                 \
    "l.error::jsonb || jsonb_build_object('attempt', l.starts, 'at', time_word(now()))"
#define ME "(SELECT w.name FROM workers w WHERE w.incarnation = $1)"

static const struct pg_statement FINISH_SUCCESS = {
    "finish_success",
    "WITH d AS ("
    " DELETE FROM active a USING (SELECT f.id AS of, f.claim, f.result, f.percent_now,"
    "  f.metadata_now, f.hook, f.n FROM " FINISHES " ORDER BY f.id) f"
    " WHERE a.id = f.of AND a.status = 1 AND a.claim_id = f.claim RETURNING f.*, a.*), "
    "o AS ("
    " INSERT INTO outcomes (" OUTCOME_COLUMNS ")"
    " SELECT d.id, d.round, d.starts, d.claim_id, 3, d.result::jsonb, NULL, d.failures, d.losses,"
    "  " LAST_PERCENT("d") ", d.run_at, d.started_at, clock_timestamp(), d.cancel_at,"
    "  " LAST_PROGRESS("d") ", " ME ", d.version, " LAST_METADATA("d") " FROM d), "
    "k AS ("
    " INSERT INTO hooks_owed (id, round, attempt, event, name, owner)"
    " SELECT d.id, d.round, d.starts, d.hook, d.name, $1 FROM d WHERE d.hook IS NOT NULL) "
    "SELECT d.n::int4, 3, NULL::uuid, 0, 0, 0::int8, NULL::text, false FROM d"
};
static const struct pg_statement FINISH = {
    "finish",
    "WITH l AS MATERIALIZED ("
    " SELECT a.*, f.n, f.ended, f.result, f.error, f.percent_now, f.metadata_now,"
    "  CASE WHEN a.cancel_at IS NOT NULL AND f.became <> 3 THEN 5 ELSE f.became END AS became,"
    "  a.cancel_at IS NOT NULL AND f.became NOT IN (3, 5) AS is_revoked,"
    "  CASE WHEN a.cancel_at IS NULL OR f.became = 3 THEN f.hook END AS hook,"
    "  a.failures + f.spends::int4 AS failures_now,"
    "  CASE WHEN f.delay_us = 0 AND f.ended = 'released' THEN a.run_at"
    "   ELSE clock_timestamp() + f.delay_us * interval '1 microsecond' END AS run_next"
    " FROM " FINISHES " JOIN active a ON a.id = f.id"
    " WHERE a.status = 1 AND a.claim_id = f.claim ORDER BY a.id FOR UPDATE OF a), "
    "d AS (DELETE FROM active a USING l WHERE a.id = l.id AND l.became >= 3), "
    "o AS ("
    " INSERT INTO outcomes (" OUTCOME_COLUMNS ")"
    " SELECT l.id, l.round, l.starts, l.claim_id, l.became, l.result::jsonb,"
    "  CASE WHEN l.is_revoked THEN make_error('cancelled', 'cancelled while it ran', l.starts)"
    "   ELSE " TOLD_ERROR " END,"
    "  l.failures_now, l.losses, " LAST_PERCENT("l") ", l.run_at, l.started_at,"
    "  clock_timestamp(), l.cancel_at, " LAST_PROGRESS("l") ", " ME ", l.version,"
    "  " LAST_METADATA("l")
    " FROM l WHERE l.became >= 3), "
    "u AS ("
    " UPDATE active a SET status = l.became, failures = l.failures_now, run_at = l.run_next,"
    "  claim_id = NULL, owner = NULL, percent = " LAST_PERCENT("l") ","
    "  metadata = " LAST_METADATA("l") ", progress_at = " LAST_PROGRESS("l")
    " FROM l WHERE a.id = l.id AND l.became < 3), "
    "t AS ("
    " INSERT INTO attempts (id, attempt, round, claim_id, ended, started_at, ended_at, worker,"
    "  version, error)"
    " SELECT l.id, l.starts, l.round, l.claim_id, l.ended, l.started_at, clock_timestamp(), " ME ","
    "  l.version, " TOLD_ERROR " FROM l WHERE l.became < 3), "
    "k AS ("
    " INSERT INTO hooks_owed (id, round, attempt, event, name, owner)"
    " SELECT l.id, l.round, l.starts, l.hook, l.name, $1 FROM l WHERE l.hook IS NOT NULL) "
    "SELECT l.n::int4, l.became, CASE WHEN l.became < 3 THEN l.id END, l.starts,"
    " l.priority::int4, micros(l.run_next), l.queue, l.run_next <= clock_timestamp() FROM l"
};
static const struct pg_statement LOOK = {
    "finish_look",
    "SELECT f.n::int4, o.status::int4, NULL::uuid, 0, 0, 0::int8, NULL::text, false "
    "FROM " FINISHES " JOIN outcomes o ON o.id = f.id AND o.claim_id = f.claim "
    "WHERE o.status = f.became OR o.status = 5 AND f.became <> 3 "
    "UNION ALL "
    "SELECT f.n::int4, f.became, a.id, a.starts, a.priority::int4, micros(a.run_at), a.queue,"
    " coalesce(a.run_at <= now(), false) "
    "FROM " FINISHES " JOIN attempts p ON p.id = f.id AND p.claim_id = f.claim"
    " AND p.ended = f.ended"
    " LEFT JOIN active a ON a.id = f.id AND a.starts = p.attempt AND a.status IN (0, 2) "
    "WHERE f.became < 3"
};

void ledger_finish(struct ledger *ledger, const struct ident *incarnation,
                   const struct finish *items, size_t count, ledger_finish_fn *done, void *arg)
{
    struct finish_call *finish = call_new(ledger, sizeof *finish, finish_answered, arg);
    bool all_success = true;
    finish->done = done;
    finish->count = finish->undecided = count;
    finish->finished = xcalloc(count, sizeof *finish->finished);
    for (size_t i = 0; i < count; i++) {
        finish->finished[i].verdict = FINISH_FENCED;
        finish->finished[i].status = items[i].status;
        all_success = all_success && items[i].status == TASK_SUCCESS;
    }
    pg_uuid(&finish->call.params, incarnation);
    put_finishes(&finish->call.params, items, count);
    call_send(&finish->call, all_success ? &FINISH_SUCCESS : &FINISH);
}

static void finish_answered(struct call *call, const struct pg_answer *answer)
{
    struct finish_call *finish = container_of(call, struct finish_call, call);
    if (answer->err) {
        finish_done(finish, answer->unknown, answer->err);
        return;
    }
    read_finished(finish, answer->rows);
    if (finish->undecided > 0 && call->statement != &LOOK) {
        call_send(call, &LOOK);
    } else {
        finish_done(finish, false, NULL);
    }
}

static void read_finished(struct finish_call *finish, const struct pg_rows *rows)
{
    for (int row = 0; row < pg_row_count(rows); row++) {
        struct finished *finished = &finish->finished[pg_get_int4(rows, row, 0) - 1];
        if (finished->verdict == FINISH_DONE) continue;
        finished->verdict = FINISH_DONE;
        finished->status = (enum task_status)pg_get_int4(rows, row, 1);
        finish->undecided--;
        if (pg_is_null(rows, row, 2)) continue;
        finished->due = hint_read(rows, row, 2, &finished->hint);
        finished->run_at_us = finished->hint.ready_us;
    }
}

static void finish_done(struct finish_call *finish, bool unknown, const struct err *err)
{
    finish->done(finish->call.arg, err ? NULL : finish->finished, err ? 0 : finish->count, unknown,
                 err);
    free(finish->finished);
    call_free(&finish->call);
}

static void put_finishes(struct pg_params *params, const struct finish *items, size_t count)
{
    ARRAY_OF(params, PG_OID_UUID, count, pg_item_uuid(params, &items[i].id));
    ARRAY_OF(params, PG_OID_UUID, count, pg_item_uuid(params, &items[i].claim));
    ARRAY_OF(params, PG_OID_INT4, count, pg_item_int4(params, (int32_t)items[i].status));
    ARRAY_OF(params, PG_OID_BOOL, count, pg_item_bool(params, items[i].spends_failure));
    ARRAY_OF(params, PG_OID_INT8, count, pg_item_int8(params, items[i].delay_us));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, items[i].ended));
    ARRAY_OF(params, PG_OID_TEXT, count, pg_item_text(params, items[i].result, items[i].result_len));
    ARRAY_OF(params, PG_OID_TEXT, count, pg_item_text(params, items[i].error, items[i].error_len));
    ARRAY_OF(params, PG_OID_FLOAT8, count, pg_item_float8(params, items[i].percent));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, items[i].metadata));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, items[i].hook));
}
