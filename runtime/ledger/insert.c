/* insert.c: submits. INSERT_NEW needs one statement; whatever it did not take is looked at by a
 * second one, and what is free again by then (the holder of its unique key has just ended) is
 * inserted anew.
 *
 * Rows go in id order, so that two batches that overlap do not deadlock. Of several submissions of
 * one id in a batch the first is inserted, the others meet it as a duplicate or a conflict. */
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "ledger/call.h"

#define PASSES_MAX 6

struct insert_call {
    struct call call;
    ledger_insert_fn *done;
    size_t count;
    size_t undecided;
    struct inserted *answers; /* in the order given */
    size_t *places;           /* in id order: index into answers */
    bool *decided;            /* in id order */
    int passes;
};

static void insert_answered(struct call *call, const struct pg_answer *answer);
static void look_answered(struct insert_call *insert, const struct pg_rows *rows);
static void rows_inserted(struct insert_call *insert, const struct pg_rows *rows);
static void insert_again(struct insert_call *insert);
static void on_partitions(void *arg, int64_t count, bool unknown, const struct err *err);
static void insert_done(struct insert_call *insert, bool unknown, const struct err *err);
static void decide(struct insert_call *insert, size_t at, enum insert_verdict verdict,
                   struct ident id);
static size_t find_first(const struct insert_call *insert, const struct ident *id);
static void put_submissions(struct pg_params *params, const struct submission *const *sorted,
                            size_t count);
static void put_policies(struct pg_params *params, const struct submission *const *sorted,
                         size_t count);
static void put_labels(struct pg_params *params, const struct submission *const *sorted,
                       size_t count);
static bool is_first_of_key(struct map *keys, const struct submission *submission);

/* clang-format off */
/* `(... IN ...) IS TRUE` keeps the planner from making a join of it, and so to a hash: hash joins
 * are off on this connection, and a nested loop over two unindexed lists is quadratic. */
static const struct pg_statement INSERT = {
    "insert",
    "WITH s AS MATERIALIZED ("
    " SELECT u.*,"
    "  CASE WHEN u.expires_us > 0"
    "   THEN now() + u.expires_us * interval '1 microsecond' END AS expires_at,"
    "  CASE WHEN u.run_at_us > 0"
    "   THEN 'epoch'::timestamptz + u.run_at_us * interval '1 microsecond'"
    "   ELSE now() + u.delay_us * interval '1 microsecond' END AS run_at"
    " FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int4[],"
    "  $7::int8[], $8::int8[], $9::int8[], $10::int4[], $11::int4[], $12::int8[], $13::int8[],"
    "  $14::bool[], $15::int4[], $16::int8[], $17::text[], $18::text[], $19::text[], $20::bool[],"
    "  $21::text[], $22::text[])"
    " u (id, name, parameters, queue, unique_key, priority, run_at_us, delay_us, timeout_us,"
    "  retry_max, retry_backoff, retry_base_us, retry_cap_us, retry_jitter, max_losses,"
    "  expires_us, tags, created_by, schema_hash, is_first, idem_key, idem_body)), "
    "a AS ("
    " INSERT INTO active (id, name, queue, priority, run_at, created_at, expires_at, unique_key)"
    " SELECT s.id, s.name, s.queue, s.priority, s.run_at, now(), s.expires_at, s.unique_key FROM s"
    " WHERE s.is_first AND NOT EXISTS (SELECT FROM tasks t WHERE t.id = s.id" ALONE ")"
    "  AND s.queue <> ALL (ARRAY(SELECT q.name FROM queues q WHERE q.is_full))"
    "  AND NOT EXISTS (SELECT FROM idempotency k WHERE k.key = s.idem_key" ALONE ")"
    " ON CONFLICT DO NOTHING RETURNING id, run_at, queue, name), "
    "t AS ("
    " INSERT INTO tasks (id, name, queue, priority, parameters, tags, created_at, run_at,"
    "  timeout_us, retry_max, retry_backoff, retry_base_us, retry_cap_us, retry_jitter,"
    "  max_losses, expires_at, unique_key, created_by, schema_hash)"
    " SELECT s.id, s.name, s.queue, s.priority, s.parameters::jsonb,"
    "  CASE WHEN s.tags IS NOT NULL"
    "   THEN ARRAY(SELECT jsonb_array_elements_text(s.tags::jsonb)) END,"
    "  now(), s.run_at, s.timeout_us, s.retry_max, s.retry_backoff, s.retry_base_us,"
    "  s.retry_cap_us, s.retry_jitter, s.max_losses, s.expires_at, s.unique_key, s.created_by,"
    "  s.schema_hash"
    " FROM s WHERE s.is_first AND (s.id IN (SELECT id FROM a)) IS TRUE), "
    "k AS ("
    " INSERT INTO idempotency (key, body, task) SELECT s.idem_key, s.idem_body, s.id FROM s"
    " WHERE s.idem_key IS NOT NULL AND s.is_first AND (s.id IN (SELECT id FROM a)) IS TRUE) "
    "SELECT a.id, micros(a.run_at), a.run_at <= now(), " HINT_QUEUE("a") " FROM a"
};
/* Over the same parameters: who is in the way of each? No row: nobody any more. */
static const struct pg_statement LOOK = {
    "insert_look",
    "SELECT s.n::int4,"
    " CASE WHEN k.body = s.idem_body THEN 4 WHEN k.key IS NOT NULL THEN 5"
    "  WHEN t.id IS NULL AND h.id IS NULL THEN 3"
    "  WHEN t.id IS NULL OR t.name = s.name AND t.parameters = s.parameters::jsonb THEN 1"
    "  ELSE 2 END,"
    " coalesce(k.task, t.id, h.id) "
    "FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $21::text[],"
    "  $22::text[]) WITH ORDINALITY"
    "  s (id, name, parameters, queue, unique_key, idem_key, idem_body, n)"
    " LEFT JOIN LATERAL (SELECT * FROM idempotency k WHERE k.key = s.idem_key" ALONE ") k ON true"
    " LEFT JOIN LATERAL (SELECT * FROM tasks t WHERE t.id = s.id" ALONE ") t ON true"
    " LEFT JOIN LATERAL (SELECT a.id FROM active a"
    "  WHERE a.name = s.name AND a.unique_key = s.unique_key" ALONE ") h ON true "
    "WHERE t.id IS NOT NULL OR h.id IS NOT NULL OR k.key IS NOT NULL"
    " OR s.queue IN (SELECT q.name FROM queues q WHERE q.is_full)"
};
/* clang-format on */

struct sorted {
    const struct submission *submission;
    size_t place;
};

static int by_id(const void *a, const void *b)
{
    const struct sorted *one = a, *other = b;
    int order = ident_compare(&one->submission->id, &other->submission->id);
    return order ? order : (one->place > other->place) - (one->place < other->place);
}

void ledger_insert(struct ledger *ledger, const struct submission *const *submissions, size_t count,
                   ledger_insert_fn *done, void *arg)
{
    struct insert_call *insert = call_new(ledger, sizeof *insert, insert_answered, arg);
    insert->done = done;
    insert->count = insert->undecided = count;
    insert->answers = xcalloc(count, sizeof *insert->answers);
    insert->places = xcalloc(count, sizeof *insert->places);
    insert->decided = xcalloc(count, sizeof *insert->decided);
    struct sorted *pairs = xcalloc(count, sizeof *pairs);
    const struct submission **sorted = xcalloc(count, sizeof *sorted);
    for (size_t i = 0; i < count; i++) pairs[i] = (struct sorted){ submissions[i], i };
    qsort(pairs, count, sizeof *pairs, by_id);
    for (size_t i = 0; i < count; i++) {
        const struct submission *from = pairs[i].submission;
        struct hint *hint = &insert->answers[pairs[i].place].hint;
        sorted[i] = from;
        insert->places[i] = pairs[i].place;
        hint->id = from->id;
        hint->priority = (int16_t)from->priority;
    }
    put_submissions(&insert->call.params, sorted, count);
    free(pairs);
    free(sorted);
    call_send(&insert->call, &INSERT);
}

static void insert_answered(struct call *call, const struct pg_answer *answer)
{
    struct insert_call *insert = container_of(call, struct insert_call, call);
    bool has_raced = answer->err && answer->err->code == ERR_CONFLICT;
    bool wants_partition = answer->err && strcmp(answer->sqlstate, "23514") == 0;
    if (wants_partition && insert->passes == 0) {
        insert->passes++;
        ledger_partitions(call->ledger, on_partitions, insert);
    } else if (wants_partition) {
        struct err err;
        err_set(&err, ERR_INPUT,
                "an id is weeks off Postgres' clock: set the clock of the machine "
                "that made it (the id holds its time)");
        insert_done(insert, false, &err);
    } else if (has_raced && insert->passes < PASSES_MAX) {
        insert_again(insert);
    } else if (answer->err) {
        insert_done(insert, answer->unknown, answer->err);
    } else if (call->statement == &LOOK) {
        look_answered(insert, answer->rows);
    } else {
        rows_inserted(insert, answer->rows);
    }
}

static void on_partitions(void *arg, int64_t count, bool unknown, const struct err *err)
{
    struct insert_call *insert = arg;
    (void)count, (void)unknown;
    if (err) {
        insert_done(insert, false, err);
    } else {
        call_send(&insert->call, &INSERT);
    }
}

static void rows_inserted(struct insert_call *insert, const struct pg_rows *rows)
{
    for (int row = 0; row < pg_row_count(rows); row++) {
        struct ident id = pg_get_uuid(rows, row, 0);
        size_t at = find_first(insert, &id);
        struct inserted *answer = &insert->answers[insert->places[at]];
        answer->run_at_us = answer->hint.ready_us = pg_get_int8(rows, row, 1);
        answer->due = pg_get_bool(rows, row, 2);
        hint_read_queue(rows, row, 3, &answer->hint);
        decide(insert, at, INSERT_NEW, id);
    }
    if (insert->undecided == 0) {
        insert_done(insert, false, NULL);
    } else {
        call_send(&insert->call, &LOOK);
    }
}

static void look_answered(struct insert_call *insert, const struct pg_rows *rows)
{
    for (int row = 0; row < pg_row_count(rows); row++) {
        size_t at = (size_t)pg_get_int4(rows, row, 0) - 1;
        if (insert->decided[at]) continue;
        enum insert_verdict verdict = (enum insert_verdict)pg_get_int4(rows, row, 1);
        struct ident asked = insert->answers[insert->places[at]].hint.id;
        bool is_of_another = verdict == INSERT_DUPLICATE || verdict == INSERT_REPEATED;
        decide(insert, at, verdict, is_of_another ? pg_get_uuid(rows, row, 2) : asked);
    }
    if (insert->undecided == 0) {
        insert_done(insert, false, NULL);
    } else {
        insert_again(insert);
    }
}

static void insert_again(struct insert_call *insert)
{
    if (insert->passes++ < PASSES_MAX) {
        call_send(&insert->call, &INSERT);
        return;
    }
    struct err err;
    err_set(&err, ERR_RETRY, "the holders of unique keys change too fast");
    insert_done(insert, false, &err);
}

static void insert_done(struct insert_call *insert, bool unknown, const struct err *err)
{
    insert->done(insert->call.arg, err ? NULL : insert->answers, err ? 0 : insert->count, unknown,
                 err);
    free(insert->answers);
    free(insert->places);
    free(insert->decided);
    call_free(&insert->call);
}

static void decide(struct insert_call *insert, size_t at, enum insert_verdict verdict,
                   struct ident id)
{
    struct inserted *answer = &insert->answers[insert->places[at]];
    answer->verdict = verdict;
    answer->id = id;
    insert->decided[at] = true;
    insert->undecided--;
}

/* The first place of the id, in id order. */
static size_t find_first(const struct insert_call *insert, const struct ident *id)
{
    size_t low = 0, high = insert->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct ident *there = &insert->answers[insert->places[middle]].hint.id;
        if (ident_compare(there, id) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void put_submissions(struct pg_params *params, const struct submission *const *sorted,
                            size_t count)
{
    ARRAY_OF(params, PG_OID_UUID, count, pg_item_uuid(params, &sorted[i]->id));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, sorted[i]->name));
    ARRAY_OF(params, PG_OID_TEXT, count,
             pg_item_text(params, sorted[i]->params, sorted[i]->params_len));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, sorted[i]->queue));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, sorted[i]->unique_key));
    ARRAY_OF(params, PG_OID_INT4, count, pg_item_int4(params, sorted[i]->priority));
    ARRAY_OF(params, PG_OID_INT8, count, pg_item_int8(params, sorted[i]->run_at_us));
    ARRAY_OF(params, PG_OID_INT8, count, pg_item_int8(params, sorted[i]->delay_us));
    ARRAY_OF(params, PG_OID_INT8, count, pg_item_int8(params, sorted[i]->timeout_us));
    put_policies(params, sorted, count);
    put_labels(params, sorted, count);
}

static void put_policies(struct pg_params *params, const struct submission *const *sorted,
                         size_t count)
{
    ARRAY_OF(params, PG_OID_INT4, count, pg_item_int4(params, sorted[i]->retry.max));
    ARRAY_OF(params, PG_OID_INT4, count, pg_item_int4(params, (int32_t)sorted[i]->retry.backoff));
    ARRAY_OF(params, PG_OID_INT8, count, pg_item_int8(params, sorted[i]->retry.base_us));
    ARRAY_OF(params, PG_OID_INT8, count, pg_item_int8(params, sorted[i]->retry.cap_us));
    ARRAY_OF(params, PG_OID_BOOL, count, pg_item_bool(params, sorted[i]->retry.jitter));
    ARRAY_OF(params, PG_OID_INT4, count, pg_item_int4(params, sorted[i]->max_losses));
}

static void put_labels(struct pg_params *params, const struct submission *const *sorted,
                       size_t count)
{
    ARRAY_OF(params, PG_OID_INT8, count, pg_item_int8(params, sorted[i]->expires_us));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, sorted[i]->tags));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, sorted[i]->created_by));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, sorted[i]->schema_hash));
    struct map *keys = map_new();
    ARRAY_OF(params, PG_OID_BOOL, count,
             pg_item_bool(params, (i == 0 || !ident_equal(&sorted[i]->id, &sorted[i - 1]->id)) &&
                                      is_first_of_key(keys, sorted[i])));
    map_free(keys);
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, sorted[i]->idempotency_key));
    ARRAY_OF(params, PG_OID_TEXT, count, item_text(params, sorted[i]->idempotency_body));
}

/* Of several requests with one key in a batch, the others meet it as a repetition. */
static bool is_first_of_key(struct map *keys, const struct submission *submission)
{
    const char *key = submission->idempotency_key;
    if (!key) return true;
    if (map_find(keys, key, strlen(key))) return false;
    map_put(keys, key, strlen(key), keys);
    return true;
}
