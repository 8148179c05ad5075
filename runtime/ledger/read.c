/* read.c: what is shown. The words stand in the view task_info and in info_json; here is only which
 * tasks, and how many.
 *
 * Lists go newest first, hence backwards along a primary key, or the other way round. Without
 * SUCCESS among the wanted statuses they walk `active` and the index of rare outcomes, which are
 * short even where millions of successes lie; otherwise `tasks`. */
#include <stdlib.h>
#include <string.h>

#include "ledger/call.h"

#define TOTAL_MAX "10000"

struct results_call {
    struct call call;
    ledger_results_fn *done;
};

static void results_answered(struct call *call, const struct pg_answer *answer);

static void put_filter(struct pg_params *params, const struct task_filter *filter);
static bool wants_success(const struct task_filter *filter);

/* clang-format off */
static const struct pg_statement INFO = {
    "info", "SELECT info_json(i)::text FROM task_info i WHERE i.task_id = $1"
};
static const struct pg_statement RESULT = {
    "result", "SELECT result_json(i) FROM task_info i WHERE i.task_id = $1"
};
/* Sizes first: the results of all together may be gigabytes. */
static const struct pg_statement RESULTS = {
    "results",
    "SELECT s.ahead < 4194304, CASE WHEN s.ahead < 4194304 THEN"
    " (SELECT result_json(i) FROM task_info i WHERE i.task_id = s.id" ALONE ") END"
    " FROM (SELECT w.n, w.id, coalesce(sum((SELECT pg_column_size(o.result) FROM outcomes o"
    "   WHERE o.id = w.id ORDER BY o.round DESC LIMIT 1))"
    "   OVER (ORDER BY w.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS ahead"
    "  FROM unnest($1::uuid[]) WITH ORDINALITY w (id, n)) s ORDER BY s.n"
};
static const struct pg_statement FINALS = {
    "finals",
    "SELECT coalesce(json_agg(i.id), '[]')::text FROM unnest($1::uuid[]) i (id)"
    " WHERE NOT EXISTS (SELECT FROM active a WHERE a.id = i.id" ALONE ")"
};
static const struct pg_statement LOGS = {
    "logs",
    "WITH l AS MATERIALIZED ("
    " SELECT seq, time_word(at) AS at, attempt, level, text FROM logs"
    " WHERE id = $1 AND seq > $2 ORDER BY seq LIMIT $3 + 1) "
    "SELECT '{\"logs\":' || coalesce((SELECT json_agg(row_to_json(p) ORDER BY p.seq)"
    "  FROM (SELECT * FROM l ORDER BY seq LIMIT $3) p), '[]')"
    " || ',\"has_more\":' || ((SELECT count(*) FROM l) > $3)::text || '}' "
    "FROM tasks WHERE id = $1"
};
static const struct pg_statement QUEUES = { "queues", "SELECT queues_json()::text" };
static const struct pg_statement WORKERS = { "workers", "SELECT workers_json()::text" };

/* Parameters: statuses name queue worker tags since until limit offset only_like only_by text
 * parent. A caller's id may be made a week before its submission or a day after. The text is looked
 * for before secrets are masked, too: that is cheaper and lets few through. */
#define MOMENT(us) "('epoch'::timestamptz + " us " * interval '1 microsecond')"
#define HOLDS(json) "position(lower($12) IN lower((" json ")::text)) > 0"
#define MATCHES                                                                                    \
    " ($2::text IS NULL OR t.name = $2) AND ($3::text IS NULL OR t.queue = $3)"                    \
    " AND ($4::text IS NULL OR x.worker = $4)"                                                     \
    " AND (cardinality($5::text[]) = 0 OR t.tags @> $5)"                                           \
    " AND ($10::text IS NULL OR t.name LIKE $10)"                                                  \
    " AND ($11::text IS NULL OR t.created_by = $11)"                                               \
    " AND ($6 = 0 OR t.created_at >= " MOMENT("$6") ")"                                            \
    " AND ($7 = 0 OR t.created_at < " MOMENT("$7") ")"                                             \
    " AND t.id >= CASE WHEN $6 > 0 THEN id_bound(" MOMENT("$6") " - interval '8 days')"            \
    "  ELSE '00000000-0000-0000-0000-000000000000'::uuid END"                                      \
    " AND t.id <= CASE WHEN $7 > 0 THEN id_bound(" MOMENT("$7") " + interval '2 days')"            \
    "  ELSE 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid END"                                      \
    " AND ($12::text IS NULL OR (" HOLDS("t.parameters") " AND " HOLDS("masked(t.parameters,"       \
    "  (SELECT s.secrets FROM secrets s WHERE s.name = t.name AND s.schema_hash = t.schema_hash)"  \
    "  || (SELECT c.secrets FROM catalogue c WHERE c.name = t.name))") ")) "
#define WANTED(status) "status_word(" status ") = ANY (string_to_array($1, ','))"
#define OF_TASKS(condition, direction)                                                             \
    "SELECT t.id FROM tasks t"                                                                     \
    " LEFT JOIN LATERAL (SELECT * FROM active a WHERE a.id = t.id" ALONE ") a ON true"             \
    " LEFT JOIN LATERAL (SELECT o.status, o.worker FROM outcomes o"                                \
    "  WHERE o.id = t.id AND a.id IS NULL ORDER BY o.round DESC LIMIT 1) o ON true"                \
    " LEFT JOIN LATERAL (SELECT coalesce(a.status, o.status) AS status, coalesce(o.worker,"        \
    "  (SELECT w.name FROM workers w WHERE w.incarnation = a.owner)) AS worker) x ON true"         \
    " WHERE " condition "($1::text IS NULL OR " WANTED("x.status") ") AND" MATCHES                  \
    "ORDER BY t.id " direction
#define OF_ALL(direction)      OF_TASKS("", direction)
#define OF_CHILDREN(direction) OF_TASKS("t.parent_id = $13 AND ", direction)
#define OF_FEW(direction)                                                                          \
    "SELECT x.id FROM (SELECT * FROM ("                                                            \
    "  (SELECT a.id, (SELECT w.name FROM workers w WHERE w.incarnation = a.owner) AS worker"        \
    "  FROM active a WHERE " WANTED("a.status") " ORDER BY a.id " direction ")"                                                    \
    "  UNION ALL"                                                                                  \
    "  (SELECT o.id, o.worker FROM outcomes o WHERE o.status <> 3 AND " WANTED("o.status")          \
    "   AND NOT EXISTS (SELECT FROM active a WHERE a.id = o.id" ALONE ")"                          \
    "   AND NOT EXISTS (SELECT FROM outcomes y WHERE y.id = o.id AND y.round > o.round" ALONE ")"  \
    "   ORDER BY o.id " direction ")) u ORDER BY u.id " direction ") x"                             \
    " CROSS JOIN LATERAL (SELECT * FROM tasks t WHERE t.id = x.id" ALONE ") t"                     \
    " WHERE" MATCHES "ORDER BY x.id " direction
#define LIST_OF(ids, direction)                                                                               \
    "WITH p AS MATERIALIZED (" ids " LIMIT $8 + 1 OFFSET $9),"                                     \
    " total AS (SELECT count(*) AS n FROM (" ids " LIMIT " TOTAL_MAX " + 1) c) "                   \
    "SELECT '{\"tasks\":' || coalesce((SELECT json_agg(i.json ORDER BY q.id " direction ")"        \
    "  FROM (SELECT id FROM p LIMIT $8) q CROSS JOIN LATERAL (SELECT info_json(i) AS json"         \
    "   FROM task_info i WHERE i.task_id = q.id" ALONE ") i)::text, '[]')"                         \
    " || ',\"total\":' || least(total.n, " TOTAL_MAX ") || ',\"limit\":' || $8"                    \
    " || ',\"offset\":' || $9"                                                                     \
    " || ',\"has_more\":' || ((SELECT count(*) FROM p) > $8)::text"                                \
    " || CASE WHEN total.n > " TOTAL_MAX " THEN ',\"total_capped\":true}' ELSE '}' END FROM total"
#define MATCH_OF(ids)                                                                              \
    "SELECT coalesce(json_agg(m.id ORDER BY m.id DESC), '[]')::text"                               \
    " FROM (" ids " LIMIT $8 OFFSET $9) m"

/* [is_oldest_first] */
#define BOTH_WAYS(name, ids)                                                                       \
    { { name, LIST_OF(ids("DESC"), "DESC") }, { name "_up", LIST_OF(ids("ASC"), "ASC") } }
static const struct pg_statement LIST_ALL[] = BOTH_WAYS("list", OF_ALL);
static const struct pg_statement LIST_FEW[] = BOTH_WAYS("list_few", OF_FEW);
static const struct pg_statement LIST_CHILDREN[] = BOTH_WAYS("list_children", OF_CHILDREN);
static const struct pg_statement MATCH_ALL = { "match", MATCH_OF(OF_ALL("DESC")) };
static const struct pg_statement MATCH_FEW = { "match_few", MATCH_OF(OF_FEW("DESC")) };
static const struct pg_statement MATCH_CHILDREN = { "match_children", MATCH_OF(OF_CHILDREN("DESC")) };
/* clang-format on */

void ledger_info(struct ledger *ledger, const struct ident *id, ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_uuid(&call->params, id);
    call_send(call, &INFO);
}

void ledger_result(struct ledger *ledger, const struct ident *id, ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_uuid(&call->params, id);
    call_send(call, &RESULT);
}

void ledger_results(struct ledger *ledger, const struct ident *ids, size_t count,
                    ledger_results_fn *done, void *arg)
{
    struct results_call *results = call_new(ledger, sizeof *results, results_answered, arg);
    results->done = done;
    put_idents(&results->call.params, ids, count);
    call_send(&results->call, &RESULTS);
}

static void results_answered(struct call *call, const struct pg_answer *answer)
{
    int count = answer->err ? 0 : pg_row_count(answer->rows);
    struct result *results = xcalloc((size_t)count + 1, sizeof *results);
    for (int row = 0; row < count; row++)
        if (pg_get_bool(answer->rows, row, 0))
            results[row].json = pg_get_text(answer->rows, row, 1, &results[row].len);
    container_of(call, struct results_call, call)
        ->done(call->arg, results, (size_t)count, answer->err);
    free(results);
    call_free(call);
}

void ledger_finals(struct ledger *ledger, const struct ident *ids, size_t count,
                   ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    put_idents(&call->params, ids, count);
    call_send(call, &FINALS);
}

void ledger_list(struct ledger *ledger, const struct task_filter *filter, ledger_json_fn *done,
                 void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    put_filter(&call->params, filter);
    const struct pg_statement *both = !ident_is_zero(&filter->parent) ? LIST_CHILDREN
                                      : wants_success(filter)         ? LIST_ALL
                                                                      : LIST_FEW;
    call_send(call, both + filter->is_oldest_first);
}

void ledger_match(struct ledger *ledger, const struct task_filter *filter, ledger_json_fn *done,
                  void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    put_filter(&call->params, filter);
    call_send(call, !ident_is_zero(&filter->parent) ? &MATCH_CHILDREN
                    : wants_success(filter)         ? &MATCH_ALL
                                                    : &MATCH_FEW);
}

void ledger_logs(struct ledger *ledger, const struct ident *id, int64_t after_seq, int32_t limit,
                 ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_uuid(&call->params, id);
    pg_int8(&call->params, after_seq);
    pg_int4(&call->params, limit);
    call_send(call, &LOGS);
}

void ledger_queues(struct ledger *ledger, ledger_json_fn *done, void *arg)
{
    call_send(call_json(ledger, done, arg), &QUEUES);
}

void ledger_workers(struct ledger *ledger, ledger_json_fn *done, void *arg)
{
    call_send(call_json(ledger, done, arg), &WORKERS);
}

static void put_filter(struct pg_params *params, const struct task_filter *filter)
{
    pg_text(params, filter->statuses);
    pg_text(params, filter->name);
    pg_text(params, filter->queue);
    pg_text(params, filter->worker);
    ARRAY_OF(params, PG_OID_TEXT, filter->tag_count, item_text(params, filter->tags[i]));
    pg_int8(params, filter->since_us);
    pg_int8(params, filter->until_us);
    pg_int8(params, filter->limit);
    pg_int8(params, filter->offset);
    pg_text(params, filter->only_like);
    pg_text(params, filter->only_by);
    pg_text(params, filter->text);
    put_ident_or_null(params, &filter->parent);
}

static bool wants_success(const struct task_filter *filter)
{
    return !filter->statuses || strstr(filter->statuses, "SUCCESS");
}
