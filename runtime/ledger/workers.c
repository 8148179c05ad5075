/* workers.c: incarnations: they register, their supervisor's heartbeat keeps them alive, and
 * whoever sees one end declares it dead. One heartbeat statement also brings back all that a
 * supervisor must know every few seconds. */
#include <stdlib.h>

#include "ledger/call.h"

struct heartbeat_call {
    struct call call;
    ledger_heartbeat_fn *done;
};

static void heartbeat_answered(struct call *call, const struct pg_answer *answer);
static void read_beat(const struct pg_rows *rows, int row, struct ident *alive,
                      struct cancel_mark *cancels, struct heartbeat_answer *into);

/* clang-format off */
/* A second supervisor of a living one's name meets the unique index: ERR_CONFLICT. */
static const struct pg_statement REGISTER = {
    "worker_register",
    "WITH w AS ("
    " INSERT INTO workers (incarnation, supervisor, name, host, boot_id, pid, pid_start, queues,"
    "  slots, isolated) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
    " ON CONFLICT (incarnation) DO NOTHING RETURNING 1) "
    "SELECT count(*) FROM w"
};
static const struct pg_statement CARRIES = {
    "worker_carries",
    "WITH w AS (UPDATE workers SET carries = $2, version = $3 WHERE incarnation = $1 RETURNING 1) "
    "SELECT count(*) FROM w"
};
enum beat_row { BEAT_ALIVE, BEAT_CANCEL, BEAT_REST };
static const struct pg_statement HEARTBEAT = {
    "heartbeat",
    "WITH u AS ("
    " UPDATE workers w SET heartbeat = w.heartbeat + 1, stats = coalesce(b.stats::jsonb, w.stats)"
    " FROM (SELECT * FROM unnest($1::uuid[], $2::text[]) b (of, stats) ORDER BY of) b"
    " WHERE w.incarnation = b.of AND w.state = 'alive' RETURNING w.incarnation) "
    "SELECT 0, u.incarnation, NULL::uuid, NULL::uuid, NULL::text, false, false FROM u "
    "UNION ALL "
    "SELECT 1, a.id, a.claim_id, a.owner, NULL, false, false FROM active a"
    " WHERE a.cancel_at IS NOT NULL AND a.status = 1 AND a.owner = ANY ($1) "
    "UNION ALL "
    "SELECT 2, NULL, NULL, NULL,"
    " (SELECT string_agg(q.name, ',' ORDER BY q.name) FROM queues q WHERE q.paused),"
    " EXISTS (SELECT FROM hooks_owed h WHERE NOT EXISTS (SELECT FROM workers w"
    "  WHERE w.incarnation = h.owner AND w.state = 'alive')),"
    " EXISTS (SELECT FROM controls c WHERE c.supervisor = ($1::uuid[])[1] AND c.taken_at IS NULL)"
};
static const struct pg_statement DECLARE_DEAD = {
    "declare_dead", "SELECT" HINT_COLUMNS "FROM declare_dead($1, $2, $3, $4)"
};
static const struct pg_statement RELEASE_UNCLAIMED = {
    "release_unclaimed",
    "SELECT" HINT_COLUMNS "FROM release_unclaimed($1, $2, $3 * interval '1 microsecond')"
};
static const struct pg_statement GONE = {
    "worker_gone",
    "WITH u AS ("
    " UPDATE workers SET state = 'gone', ended_at = now()"
    " WHERE incarnation = $1 AND state = 'alive' RETURNING 1) "
    "SELECT count(*) FROM u"
};
static const struct pg_statement OF_HOST = {
    "workers_of_host",
    "SELECT coalesce(json_agg(row_to_json(r)), '[]')::text FROM ("
    " SELECT incarnation, supervisor, name, pid, pid_start FROM workers"
    " WHERE state = 'alive' AND host = $1 AND boot_id = $2 ORDER BY started_at) r"
};
/* clang-format on */

void ledger_worker_register(struct ledger *ledger, const struct worker_row *row,
                            ledger_done_fn *done, void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    pg_uuid(&call->params, &row->incarnation);
    put_ident_or_null(&call->params, &row->supervisor);
    pg_text(&call->params, row->name);
    pg_text(&call->params, row->host);
    pg_text(&call->params, row->boot_id);
    pg_int4(&call->params, row->pid);
    pg_int8(&call->params, row->pid_start);
    put_texts(&call->params, row->queues);
    pg_int4(&call->params, row->slots);
    pg_bool(&call->params, row->isolated);
    call_send(call, &REGISTER);
}

void ledger_worker_carries(struct ledger *ledger, const struct ident *supervisor,
                           const char *const *names, const char *version, ledger_done_fn *done,
                           void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    pg_uuid(&call->params, supervisor);
    put_texts(&call->params, names);
    pg_text(&call->params, version);
    call_send(call, &CARRIES);
}

void ledger_heartbeat(struct ledger *ledger, const struct heartbeat *beats, size_t count,
                      ledger_heartbeat_fn *done, void *arg)
{
    struct heartbeat_call *beat = call_new(ledger, sizeof *beat, heartbeat_answered, arg);
    beat->done = done;
    ARRAY_OF(&beat->call.params, PG_OID_UUID, count,
             pg_item_uuid(&beat->call.params, &beats[i].incarnation));
    ARRAY_OF(&beat->call.params, PG_OID_TEXT, count, item_text(&beat->call.params, beats[i].stats));
    call_send(&beat->call, &HEARTBEAT);
}

static void heartbeat_answered(struct call *call, const struct pg_answer *answer)
{
    struct heartbeat_call *beat = container_of(call, struct heartbeat_call, call);
    struct heartbeat_answer found = { .paused = "" };
    struct ident *alive = NULL;
    struct cancel_mark *cancels = NULL;
    if (!answer->err) {
        size_t rows = (size_t)pg_row_count(answer->rows);
        found.alive = alive = xcalloc(rows, sizeof *alive);
        found.cancels = cancels = xcalloc(rows, sizeof *cancels);
        for (int row = 0; row < (int)rows; row++)
            read_beat(answer->rows, row, alive, cancels, &found);
    }
    beat->done(call->arg, answer->err ? NULL : &found, answer->err);
    free(alive);
    free(cancels);
    call_free(call);
}

static void read_beat(const struct pg_rows *rows, int row, struct ident *alive,
                      struct cancel_mark *cancels, struct heartbeat_answer *into)
{
    switch ((enum beat_row)pg_get_int4(rows, row, 0)) {
    case BEAT_ALIVE: alive[into->alive_count++] = pg_get_uuid(rows, row, 1); break;
    case BEAT_CANCEL:
        cancels[into->cancel_count++] = (struct cancel_mark){ .id = pg_get_uuid(rows, row, 1),
                                                              .claim = pg_get_uuid(rows, row, 2),
                                                              .owner = pg_get_uuid(rows, row, 3) };
        break;
    case BEAT_REST:
        into->paused = pg_get_text(rows, row, 4, NULL);
        into->hooks_owed = pg_get_bool(rows, row, 5);
        into->controls = pg_get_bool(rows, row, 6);
        break;
    }
}

void ledger_worker_gone(struct ledger *ledger, const struct ident *incarnation,
                        ledger_done_fn *done, void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    pg_uuid(&call->params, incarnation);
    call_send(call, &GONE);
}

void ledger_declare_dead(struct ledger *ledger, const struct death *death, ledger_hints_fn *done,
                         void *arg)
{
    static const char *const causes[] = { [DEATH_TIMEOUT] = "timeout", [DEATH_MEMORY] = "memory" };
    struct call *call = call_hints(ledger, done, arg);
    pg_uuid(&call->params, &death->incarnation);
    put_ident_or_null(&call->params, &death->culprit_claim);
    pg_text(&call->params, causes[death->cause]);
    pg_int8(&call->params, death->seen_heartbeat);
    call_send(call, &DECLARE_DEAD);
}

void ledger_release_unclaimed(struct ledger *ledger, const struct ident *incarnation,
                              const struct ident *claims, size_t count, int64_t old_us,
                              ledger_hints_fn *done, void *arg)
{
    struct call *call = call_hints(ledger, done, arg);
    pg_uuid(&call->params, incarnation);
    put_idents(&call->params, claims, count);
    pg_int8(&call->params, old_us);
    call_send(call, &RELEASE_UNCLAIMED);
}

void ledger_workers_of_host(struct ledger *ledger, const char *host, const char *boot_id,
                            ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_text(&call->params, host);
    pg_text(&call->params, boot_id);
    call_send(call, &OF_HOST);
}
