/* pg_job.c: jobs, from the queue to their completion.
 *
 * In pipeline mode each job is [Parse] Bind Execute Sync, a transaction of its own, and its answers
 * come back as
 *
 *     [result of the prepare, NULL] result, NULL, PIPELINE_SYNC
 *
 * so the first job of `sent` is always the one being answered. The commit happens at the Sync: a
 * result counts only when the PIPELINE_SYNC behind it has come, because an error (a deferred
 * constraint) may still lie between. A script is sent by the simple protocol, alone: it waits for
 * the pipeline to run dry and what comes later waits for it.
 *
 * An error with severity FATAL is the connection's end and no answer to the job at the head, since
 * the server does not say what it was doing at the time. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "io/pg_private.h"

#define DEADLINE_US    INT64_C(10000000)
#define PARAMS_MAX     ((size_t)1 << 30) /* a message of Postgres' protocol is smaller than 1 GiB */
#define TIMEOUT_MS_MAX INT64_C(2147483647)

static struct pg_job *first_job(const struct list *jobs);
static bool script_is_running(const struct pg *pg);
static bool send_job(struct pg *pg, struct pg_job *job);
static void take_result(struct pg *pg, struct pg_job *job, PGresult *result);
static void lose_with_connection_error(struct pg *pg);

void pg_send(struct pg *pg, const struct pg_statement *statement, struct pg_params *params,
             int64_t deadline_us, pg_done_fn *done, void *arg)
{
    struct pg_job *job = pg_job_new(PG_JOB_STATEMENT, NULL, deadline_us);
    job->statement = statement;
    job->done = done;
    job->arg = arg;
    if (params) {
        job->params = *params;
        pg_params_init(params);
    }
    pg_job_queue(pg, job);
}

/* The server's timeout for a single statement would cut a migration short of its deadline. */
void pg_script(struct pg *pg, const char *sql, int64_t deadline_us, pg_done_fn *done, void *arg)
{
    int64_t timeout_ms = (deadline_us > 0 ? deadline_us : DEADLINE_US) / 1000 + 1;
    if (timeout_ms > TIMEOUT_MS_MAX) timeout_ms = TIMEOUT_MS_MAX;
    char *text = xasprintf("set local statement_timeout = %lld;%s", (long long)timeout_ms, sql);
    struct pg_job *job = pg_job_new(PG_JOB_SCRIPT, text, deadline_us);
    job->done = done;
    job->arg = arg;
    pg_job_queue(pg, job);
}

struct pg_job *pg_job_new(enum pg_job_kind kind, char *take_sql, int64_t deadline_us)
{
    struct pg_job *job = xcalloc(1, sizeof *job);
    list_init(&job->node);
    job->kind = kind;
    job->sql = take_sql;
    job->deadline_us = clock_boot_us() + (deadline_us > 0 ? deadline_us : DEADLINE_US);
    pg_params_init(&job->params);
    return job;
}

void pg_job_queue(struct pg *pg, struct pg_job *job)
{
    struct err err;
    if (job->done) pg->open_jobs++;
    if (job->params.bytes.len >= PARAMS_MAX) {
        err_set(&err, ERR_DATA, "%s: its parameters are too large", pg_job_name(job));
        pg_job_end(pg, job, &err, false);
    } else if (job->kind == PG_JOB_STATEMENT && fault_send(job->statement->name)) {
        err_set(&err, ERR_STORE, "%s: the fault that was ordered", pg_job_name(job));
        pg_job_end(pg, job, &err, false);
    } else {
        list_push_back(&pg->waiting, &job->node);
        pg_watch_deadline(pg, job->deadline_us);
    }
    loop_defer(pg->loop, &pg->work);
}

void pg_jobs_send(struct pg *pg)
{
    while (pg->state == PG_UP && !pg->doomed && !script_is_running(pg)) {
        struct pg_job *job = first_job(&pg->waiting);
        if (!job || (job->kind == PG_JOB_SCRIPT && !list_is_empty(&pg->sent))) break;
        if (job->kind == PG_JOB_SCRIPT) {
            pg_script_start(pg, job);
            return;
        }
        list_del(&job->node);
        list_push_back(&pg->sent, &job->node);
        if (!send_job(pg, job)) lose_with_connection_error(pg);
    }
    if (pg->state == PG_UP) pg_flush(pg);
}

void pg_script_start(struct pg *pg, struct pg_job *job)
{
    list_del(&job->node);
    list_push_back(&pg->sent, &job->node);
    if (PQexitPipelineMode(pg->conn) && PQsendQuery(pg->conn, job->sql))
        pg_flush(pg);
    else
        lose_with_connection_error(pg);
}

/* Ends when libpq needs more bytes; an answer's completion may have freed pg. */
void pg_jobs_read(struct pg *pg)
{
    struct pg_job *job;
    while (pg->conn && PQstatus(pg->conn) == CONNECTION_OK && (job = first_job(&pg->sent)) &&
           !PQisBusy(pg->conn))
        take_result(pg, job, PQgetResult(pg->conn));
}

void pg_job_end(struct pg *pg, struct pg_job *job, const struct err *err, bool unknown)
{
    if (err && !job->err) {
        job->err = xmalloc(sizeof *job->err);
        *job->err = *err;
        job->unknown = unknown;
    }
    list_del(&job->node);
    list_push_back(&pg->ended, &job->node);
}

void pg_jobs_end(struct pg *pg, struct list *jobs, const struct err *err, bool unknown)
{
    struct pg_job *job;
    while ((job = first_job(jobs))) pg_job_end(pg, job, err, unknown);
}

static void complete(struct pg *pg, struct pg_job *job)
{
    struct pg_rows rows = { .result = job->result };
    struct pg_answer answer = { .err = job->err, .unknown = job->unknown };
    if (!job->err) answer.rows = &rows;
    memcpy(answer.sqlstate, job->sqlstate, sizeof answer.sqlstate);
    if (job->done) {
        pg->open_jobs--;
        job->done(job->arg, &answer);
    }
    PQclear(job->result);
    pg_params_close(&job->params);
    free(job->sql);
    free(job->err);
    free(job);
}

void pg_complete(struct pg *pg)
{
    struct list *node;
    while ((node = list_pop_front(&pg->ended)))
        complete(pg, container_of(node, struct pg_job, node));
}

const char *pg_job_name(const struct pg_job *job)
{
    switch (job->kind) {
    case PG_JOB_STATEMENT: return job->statement->name;
    case PG_JOB_SCRIPT: return "script";
    case PG_JOB_PLAIN: return job->sql;
    }
    return "";
}

static struct pg_job *first_job(const struct list *jobs)
{
    return list_is_empty(jobs) ? NULL : container_of(jobs->next, struct pg_job, node);
}

static bool script_is_running(const struct pg *pg)
{
    const struct pg_job *job = first_job(&pg->sent);
    return job && job->kind == PG_JOB_SCRIPT;
}

/* The statement counts as prepared from now on, so that the next ones in the pipeline do not
 * prepare it again. */
static bool send_prepare(struct pg *pg, struct pg_job *job)
{
    const struct pg_statement *statement = job->statement;
    Oid types[COUNT_OF(job->params.at)];
    for (int i = 0; i < job->params.count; i++) types[i] = job->params.at[i].oid;
    map_put(pg->prepared, &statement, sizeof(void *), pg);
    job->awaits_prepare = true;
    return PQsendPrepare(pg->conn, statement->name, statement->sql, job->params.count, types);
}

static bool send_statement(struct pg *pg, struct pg_job *job)
{
    const struct pg_params *params = &job->params;
    const char *values[COUNT_OF(params->at)];
    int lengths[COUNT_OF(params->at)], formats[COUNT_OF(params->at)];
    for (int i = 0; i < params->count; i++) {
        values[i] = params->at[i].len < 0 ? NULL : buf_text(&params->bytes) + params->at[i].offset;
        lengths[i] = params->at[i].len;
        formats[i] = 1;
    }
    if (!map_find(pg->prepared, &job->statement, sizeof(void *)) && !send_prepare(pg, job))
        return false;
    bool ok = PQsendQueryPrepared(pg->conn, job->statement->name, params->count, values, lengths,
                                  formats, 1);
    pg_params_close(&job->params);
    return ok;
}

static bool send_job(struct pg *pg, struct pg_job *job)
{
    bool ok = job->kind == PG_JOB_STATEMENT
                  ? send_statement(pg, job)
                  : PQsendQueryParams(pg->conn, job->sql, 0, NULL, NULL, NULL, NULL, 1);
    return ok && PQpipelineSync(pg->conn);
}

static void take_error(struct pg *pg, struct pg_job *job, const PGresult *result);
static void end_answered(struct pg *pg, struct pg_job *job);
static void end_script(struct pg *pg, struct pg_job *job);

/* NULL separates the results of a pipeline, and ends those of a script. */
static void take_result(struct pg *pg, struct pg_job *job, PGresult *result)
{
    if (!result) {
        if (job->kind == PG_JOB_SCRIPT) end_script(pg, job);
        return;
    }
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_FATAL_ERROR) {
        take_error(pg, job, result);
    } else if (status == PGRES_PIPELINE_SYNC) {
        end_answered(pg, job);
    } else if (job->awaits_prepare) {
        job->awaits_prepare = false;
    } else if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        PQclear(job->result);
        job->result = result;
        return;
    } else if (status != PGRES_PIPELINE_ABORTED && status != PGRES_EMPTY_QUERY) {
        struct err err;
        err_set(&err, ERR_STORE, "Postgres: unexpected answer: %s", PQresStatus(status));
        pg_lose(pg, &err);
    }
    PQclear(result);
}

static void forget_prepared(struct pg *pg, const struct pg_statement *statement)
{
    map_take(pg->prepared, &statement, sizeof(void *));
}

static void set_error(struct pg_job *job, const struct err *err, const char *sqlstate)
{
    if (job->err) return;
    job->err = xmalloc(sizeof *job->err);
    *job->err = *err;
    memcpy(job->sqlstate, sqlstate, sizeof job->sqlstate);
}

/* Those behind it in the pipeline that count on this prepare fail for the same reason; without this
 * they would say that there is no such prepared statement. */
static void fail_prepare(struct pg *pg, struct pg_job *job, const struct err *err,
                         const char *sqlstate)
{
    forget_prepared(pg, job->statement);
    for (struct list *node = job->node.next; node != &pg->sent; node = node->next) {
        struct pg_job *other = container_of(node, struct pg_job, node);
        if (other->statement != job->statement) continue;
        if (other->awaits_prepare) return;
        set_error(other, err, sqlstate);
    }
}

static void take_error(struct pg *pg, struct pg_job *job, const PGresult *result)
{
    struct err err;
    char sqlstate[6];
    if (pg_error_ends_connection(result)) {
        pg_error_of_result(result, "Postgres", &err, sqlstate);
        err.code = ERR_STORE;
        pg_lose(pg, &err);
        return;
    }
    pg_error_of_result(result, pg_job_name(job), &err, sqlstate);
    if (job->awaits_prepare) fail_prepare(pg, job, &err, sqlstate);
    job->awaits_prepare = false;
    set_error(job, &err, sqlstate);
    if (pg_error_dooms_connection(sqlstate)) {
        pg->doomed = true;
        pg->why = err;
    }
}

/* A job of our own has nobody else to tell that it failed. */
static bool is_own_failure(const struct pg_job *job) { return job->err && !job->done; }

static void end_answered(struct pg *pg, struct pg_job *job)
{
    struct err err;
    if (is_own_failure(job)) {
        err = *job->err;
        pg_lose(pg, &err);
        return;
    }
    if (job->kind == PG_JOB_STATEMENT && !job->err && fault_done(job->statement->name)) {
        err_set(&err, ERR_STORE, "the fault that was ordered");
        pg_lose(pg, &err); /* with this job among those that have no answer */
        return;
    }
    pg_job_end(pg, job, NULL, false);
    pg_complete(pg);
}

static void end_script(struct pg *pg, struct pg_job *job)
{
    struct err err;
    bool is_setup = pg->state == PG_SETTING_UP;
    if (is_own_failure(job)) {
        err = *job->err;
        pg_lose(pg, &err);
    } else if (PQtransactionStatus(pg->conn) != PQTRANS_IDLE || !PQenterPipelineMode(pg->conn)) {
        err_set(&err, ERR_STORE, "a script left its transaction open");
        pg_lose(pg, &err);
    } else {
        pg_job_end(pg, job, NULL, false);
        pg_complete(pg);
        if (is_setup) pg_ready(pg);
    }
}

static void lose_with_connection_error(struct pg *pg)
{
    struct err err;
    pg_error_of_connection(pg->conn, &err);
    pg_lose(pg, &err);
}
