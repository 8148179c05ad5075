/* running.c: what a task says while it runs. Progress is fenced by the claim; logs are kept for
 * starts that are known, also when they come in behind the finish. */
#include "ledger/call.h"

/* clang-format off */
/* Within one start the percentage only grows. */
static const struct pg_statement PROGRESS = {
    "progress",
    "WITH u AS ("
    " UPDATE active a SET percent = greatest(a.percent, p.percent),"
    "  metadata = coalesce(p.metadata::jsonb, a.metadata), progress_at = now()"
    " FROM (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::float8[], $4::text[])"
    "  p (of, claim, percent, metadata) ORDER BY of) p"
    " WHERE " PROBE("a.id", "p.of") " AND a.status = 1 AND a.claim_id = p.claim RETURNING a.id) "
    "SELECT count(*) FROM u"
};
static const struct pg_statement LOG = {
    "log",
    "WITH i AS ("
    " INSERT INTO logs (id, attempt, at, level, text)"
    " SELECT l.id, l.attempt, 'epoch'::timestamptz + l.at_us * interval '1 microsecond',"
    "  l.level, l.text"
    " FROM unnest($1::uuid[], $2::uuid[], $3::int4[], $4::int8[], $5::text[], $6::text[])"
    "  WITH ORDINALITY l (id, claim, attempt, at_us, level, text, n)"
    " WHERE EXISTS (SELECT FROM active a WHERE a.id = l.id AND a.claim_id = l.claim" ALONE ")"
    "  OR EXISTS (SELECT FROM outcomes o WHERE o.id = l.id AND o.claim_id = l.claim" ALONE ")"
    "  OR EXISTS (SELECT FROM attempts p WHERE p.id = l.id AND p.claim_id = l.claim" ALONE ")"
    " ORDER BY l.n RETURNING 1) "
    "SELECT count(*) FROM i"
};
/* clang-format on */

void ledger_progress(struct ledger *ledger, const struct progress *items, size_t count,
                     ledger_done_fn *done, void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    struct pg_params *params = &call->params;
    ARRAY_OF(params, PG_OID_UUID, count, pg_item_uuid(params, &items[i].id));
    ARRAY_OF(params, PG_OID_UUID, count, pg_item_uuid(params, &items[i].claim));
    ARRAY_OF(params, PG_OID_FLOAT8, count, pg_item_float8(params, items[i].percent));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, items[i].metadata));
    call_send(call, &PROGRESS);
}

void ledger_log(struct ledger *ledger, const struct log_entry *items, size_t count,
                ledger_done_fn *done, void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    struct pg_params *params = &call->params;
    ARRAY_OF(params, PG_OID_UUID, count, pg_item_uuid(params, &items[i].id));
    ARRAY_OF(params, PG_OID_UUID, count, pg_item_uuid(params, &items[i].claim));
    ARRAY_OF(params, PG_OID_INT4, count, pg_item_int4(params, items[i].attempt));
    ARRAY_OF(params, PG_OID_INT8, count, pg_item_int8(params, items[i].at_us));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, items[i].level));
    ARRAY_OF(params, PG_OID_TEXT, count, pg_item_text(params, items[i].text, items[i].text_len));
    call_send(call, &LOG);
}
