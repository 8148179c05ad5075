/* prune.c: partitions made ahead, and what is old enough taken away: whole weeks dropped one by
 * one, then the rest in slices, each a transaction of its own, so that nobody waits long. Who
 * prunes gives way: the keeper tries again in an hour. */
#include "base/jsonw.h"
#include "ledger/call.h"

#define PRUNE_DEADLINE_US 60000000

struct prune_call {
    struct call call;
    int64_t cutoff_us;
    int64_t tasks, partitions;
};

static void counted(struct call *call, const struct pg_answer *answer);
static void week_dropped(struct call *call, const struct pg_answer *answer);
static void slice_pruned(struct call *call, const struct pg_answer *answer);
static void send_slice(struct prune_call *prune, const struct ident *after);
static void prune_done(struct prune_call *prune, const struct err *err);

/* clang-format off */
#define CUTOFF "(now() - $1::int8 * interval '1 microsecond')"
static const struct pg_statement PARTITIONS = {
    "partitions", "SELECT make_partitions()::int8 FROM (SELECT tidy()) t"
};
static const struct pg_statement COUNT = {
    "prune_count",
    "SELECT (SELECT count(*) FROM outcomes o WHERE o.finished_at < " CUTOFF
    " AND NOT EXISTS (SELECT FROM active a WHERE a.id = o.id" ALONE ")"
    " AND NOT EXISTS (SELECT FROM outcomes y WHERE y.id = o.id AND y.round > o.round" ALONE ")),"
    " (SELECT count(*) FROM prunable_weeks(" CUTOFF "))"
};
static const struct pg_statement WEEK = {
    "prune_week", "SELECT tasks, partitions::int8 FROM prune_week(" CUTOFF ")"
};
static const struct pg_statement SLICE = {
    "prune_slice", "SELECT tasks, last FROM prune_slice(" CUTOFF ", $2, 10000)"
};
/* clang-format on */

void ledger_partitions(struct ledger *ledger, ledger_done_fn *done, void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    call->deadline_us = PRUNE_DEADLINE_US;
    call_send(call, &PARTITIONS);
}

void ledger_prune(struct ledger *ledger, int64_t older_than_us, bool dry_run, ledger_json_fn *done,
                  void *arg)
{
    struct prune_call *prune =
        call_new(ledger, sizeof *prune, dry_run ? counted : week_dropped, arg);
    prune->call.json = done;
    prune->call.deadline_us = PRUNE_DEADLINE_US;
    prune->cutoff_us = older_than_us;
    pg_int8(&prune->call.params, older_than_us);
    call_send(&prune->call, dry_run ? &COUNT : &WEEK);
}

static void counted(struct call *call, const struct pg_answer *answer)
{
    struct prune_call *prune = container_of(call, struct prune_call, call);
    if (!answer->err) {
        prune->tasks = pg_get_int8(answer->rows, 0, 0);
        prune->partitions = pg_get_int8(answer->rows, 0, 1);
    }
    prune_done(prune, answer->err);
}

static void week_dropped(struct call *call, const struct pg_answer *answer)
{
    struct prune_call *prune = container_of(call, struct prune_call, call);
    if (answer->err) {
        prune_done(prune, answer->err);
        return;
    }
    struct err busy;
    int64_t dropped = pg_get_int8(answer->rows, 0, 1);
    if (dropped < 0) {
        err_set(&busy, ERR_STORE,
                "a long transaction (a backup?) reads the tasks, and to drop a week would have "
                "everybody wait for it: try again later");
        prune_done(prune, &busy);
        return;
    }
    prune->tasks += pg_get_int8(answer->rows, 0, 0);
    prune->partitions += dropped;
    if (dropped > 0) {
        call_send(call, &WEEK);
    } else {
        call->answered = slice_pruned;
        send_slice(prune, &(struct ident){ 0 });
    }
}

static void slice_pruned(struct call *call, const struct pg_answer *answer)
{
    struct prune_call *prune = container_of(call, struct prune_call, call);
    if (answer->err) {
        prune_done(prune, answer->err);
        return;
    }
    prune->tasks += pg_get_int8(answer->rows, 0, 0);
    if (pg_is_null(answer->rows, 0, 1)) {
        prune_done(prune, NULL);
    } else {
        struct ident last = pg_get_uuid(answer->rows, 0, 1);
        send_slice(prune, &last);
    }
}

static void send_slice(struct prune_call *prune, const struct ident *after)
{
    struct pg_params *params = &prune->call.params;
    pg_params_close(params);
    pg_params_init(params);
    pg_int8(params, prune->cutoff_us);
    pg_uuid(params, after);
    call_send(&prune->call, &SLICE);
}

static void prune_done(struct prune_call *prune, const struct err *err)
{
    struct buf json = BUF_EMPTY;
    struct jsonw writer;
    jsonw_init(&writer, &json);
    jsonw_object(&writer);
    jsonw_key_int(&writer, "tasks", prune->tasks);
    jsonw_key_int(&writer, "partitions", prune->partitions);
    jsonw_object_end(&writer);
    prune->call.json(prune->call.arg, err ? "" : buf_text(&json), err ? 0 : json.len, err);
    buf_close(&json);
    call_free(&prune->call);
}
