/* keeper.c: what the keeper asks for. All of it compares and sets, so two keepers do no harm. */
#include "ledger/call.h"

#define SCAN_DEADLINE_US 30000000 /* these may read all that waits */

struct keeper_call {
    struct call call;
    struct ident me;
    ledger_keeper_fn *done;
};

static void beat_answered(struct call *call, const struct pg_answer *answer);

/* clang-format off */
static const struct pg_statement BEAT = {
    "keeper_beat",
    "WITH u AS ("
    " UPDATE keeper SET holder = $1, counter = counter + 1"
    " WHERE holder = $1 OR holder IS NULL OR counter = $2 RETURNING holder, counter) "
    "SELECT holder, counter, micros(now()) FROM u UNION ALL "
    "SELECT holder, counter, micros(now()) FROM keeper WHERE NOT EXISTS (SELECT FROM u)"
};
static const struct pg_statement RESIGN = {
    "keeper_resign",
    "WITH u AS (UPDATE keeper SET holder = NULL WHERE holder = $1 RETURNING 1) "
    "SELECT count(*) FROM u"
};
static const struct pg_statement LIMIT = {
    "keeper_limit",
    "WITH u AS (UPDATE keeper SET max_params = $1 WHERE max_params <> $1 RETURNING 1) "
    "SELECT count(*) FROM u"
};
/* After the due rows: the earliest of those that are not due yet, and the clock (due: null). */
static const struct pg_statement DUE = {
    "due",
    "(SELECT a.id, a.starts, a.priority::int4, micros(a.run_at), " HINT_QUEUE("a") ", true FROM active a"
    " WHERE (a.run_at, uuid_send(a.id)) >"
    "   ('epoch'::timestamptz + $1 * interval '1 microsecond', uuid_send($2))"
    "  AND a.run_at <= CASE WHEN $4 > 0"
    "   THEN least(now(), 'epoch'::timestamptz + $4 * interval '1 microsecond') ELSE now() END"
    "  AND a.status IN (0, 2) AND a.cancel_at IS NULL AND ($3 < 0 OR a.priority = $3)"
    "  AND (NOT $6 OR a.starts > 0 OR a.run_at > a.created_at)"
    " ORDER BY a.run_at, uuid_send(a.id) LIMIT $5) "
    "UNION ALL "
    "(SELECT a.id, a.starts, a.priority::int4, micros(a.run_at), a.queue, false FROM active a"
    " WHERE a.run_at > now() AND a.status IN (0, 2) ORDER BY a.run_at LIMIT 1) "
    "UNION ALL "
    "SELECT '00000000-0000-0000-0000-000000000000', 0, 0, micros(clock_timestamp()), '', NULL"
};
static const struct pg_statement SWEEP = { "sweep", "SELECT" HINT_COLUMNS "FROM sweep()" };
static const struct pg_statement PULSE = {
    "pulse",
    "SELECT coalesce(json_agg(json_build_object('incarnation', incarnation,"
    " 'heartbeat', heartbeat)), '[]')::text FROM workers WHERE state = 'alive'"
};
static const struct pg_statement UNKNOWN = {
    "unknown", "SELECT end_unknown($1 * interval '1 microsecond', $2)"
};
/* clang-format on */

void ledger_keeper_beat(struct ledger *ledger, const struct ident *me, int64_t stale,
                        ledger_keeper_fn *done, void *arg)
{
    struct keeper_call *keeper = call_new(ledger, sizeof *keeper, beat_answered, arg);
    keeper->done = done;
    keeper->me = *me;
    pg_uuid(&keeper->call.params, me);
    pg_int8(&keeper->call.params, stale);
    call_send(&keeper->call, &BEAT);
}

static void beat_answered(struct call *call, const struct pg_answer *answer)
{
    struct keeper_call *keeper = container_of(call, struct keeper_call, call);
    struct keeper_state state = { 0 };
    if (!answer->err) {
        state.holder = pg_get_uuid(answer->rows, 0, 0);
        state.counter = pg_get_int8(answer->rows, 0, 1);
        state.now_us = pg_get_int8(answer->rows, 0, 2);
        state.is_me = ident_equal(&state.holder, &keeper->me);
    }
    keeper->done(call->arg, &state, answer->err);
    call_free(call);
}

void ledger_keeper_resign(struct ledger *ledger, const struct ident *me, ledger_done_fn *done,
                          void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    pg_uuid(&call->params, me);
    call_send(call, &RESIGN);
}

void ledger_keeper_limit(struct ledger *ledger, int64_t max_params, ledger_done_fn *done, void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    pg_int8(&call->params, max_params);
    call_send(call, &LIMIT);
}

void ledger_due(struct ledger *ledger, const struct due_cursor *cursor, int32_t limit,
                ledger_hints_fn *done, void *arg)
{
    struct call *call = call_hints(ledger, done, arg);
    call->deadline_us = SCAN_DEADLINE_US; /* of a priority that is rare */
    pg_int8(&call->params, cursor->run_at_us);
    pg_uuid(&call->params, &cursor->id);
    pg_int4(&call->params, cursor->priority);
    pg_int8(&call->params, cursor->until_us);
    pg_int4(&call->params, limit);
    pg_bool(&call->params, cursor->delayed_only);
    call_send(call, &DUE);
}

void ledger_sweep(struct ledger *ledger, ledger_hints_fn *done, void *arg)
{
    struct call *call = call_hints(ledger, done, arg);
    call->deadline_us = SCAN_DEADLINE_US;
    call_send(call, &SWEEP);
}

void ledger_pulse(struct ledger *ledger, ledger_json_fn *done, void *arg)
{
    call_send(call_json(ledger, done, arg), &PULSE);
}

void ledger_unknown(struct ledger *ledger, int64_t grace_us, int64_t max_waiting,
                    ledger_done_fn *done, void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    call->deadline_us = SCAN_DEADLINE_US;
    pg_int8(&call->params, grace_us);
    pg_int8(&call->params, max_waiting);
    call_send(call, &UNKNOWN);
}
