/* ledger.h: what Postgres means to us: the truth. Every verb is one statement (one transaction),
 * every write to a running task is fenced by claim_id.
 *
 * Tables (schema = namespace; id-range partitions by week for tasks, outcomes, attempts, logs):
 *   tasks      what was asked. Immutable.
 *   active     what is going on: only what is not final. Narrow; indexes on run_at, on (name,
 * unique_key), on cancel_at where set: nothing that a start or a finish of most tasks changes, so
 * starts are HOT updates. outcomes   what came of it, keyed (id, round), insert-only. attempts one
 * row per start that did not end the task: failed, lost, released, snoozed. logs, hooks_owed,
 * workers, catalogue, load_errors, queues, controls, keeper.   View task_info joins them in
 * interface words. Time is Postgres' clock. Deadlocks (ERR_RETRY) are repeated inside the verb.
 * Every verb copies what it is given before it returns. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ident.h"
#include "loop/loop.h"
#include "task/retry.h"
#include "task/task.h"

struct ledger; /* opaque: one connection; open several for parallel statements */

struct ledger_hooks {
    void *arg;
    void (*connected)(void *arg);
    void (*lost)(void *arg, const struct err *why);
    /* NOTIFY, only after ledger_listen: a control request or answer was written; */
    void (*control)(void *arg);
    /* somebody's transaction submitted tasks that are due at run_at_us at the earliest. */
    void (*submitted)(void *arg, int64_t run_at_us);
    /* a status was changed by others than the task's worker (an end, a release, an operator's
     * retry). */
    void (*changed)(void *arg);
};
struct ledger *ledger_new(struct loop *loop, const char *conninfo, const char *namespace,
                          const char *application, const struct ledger_hooks *hooks);
void ledger_free(struct ledger *ledger);
bool ledger_is_up(const struct ledger *ledger);
void ledger_listen(struct ledger *ledger); /* for each of these three that is set */

/* A completion without rows of its own. unknown: it was sent, it may have committed (repeat it;
 * every verb is made to be repeated). */
typedef void ledger_done_fn(void *arg, int64_t count, bool unknown, const struct err *err);
/* A completion with one JSON text ("" when nothing was found). */
typedef void ledger_json_fn(void *arg, const char *json, size_t len, const struct err *err);
/* A completion with hints that are due now and should be pushed, and the earliest run_at of what it
 * made wait (0: none). */
struct ledger_hints {
    const struct hint *hints;
    size_t count;
    int64_t next_run_at_us;
    int64_t now_us; /* Postgres' clock, of ledger_due; else 0 */
};
typedef void ledger_hints_fn(void *arg, const struct ledger_hints *hints, const struct err *err);

/* ---- schema (migrate.c) ---- */
#define LEDGER_SCHEMA_VERSION 2
/* Applies the missing numbered migrations under an advisory lock (two at once are safe); creates
 * the schema. count = how many were applied. */
void ledger_migrate(struct ledger *ledger, ledger_done_fn *done, void *arg);
/* count = version of the schema, 0 when absent. */
void ledger_schema_version(struct ledger *ledger, ledger_done_fn *done, void *arg);

/* What a role of Postgres may do there: "submit" (submit, cancel) or "read" (task_info). count: 0
 * when there is no such role. */
void ledger_grant(struct ledger *ledger, const char *door, const char *role, ledger_done_fn *done,
                  void *arg);

/* ---- submit ---- */
struct submission {
    struct ident id;
    const char *name;
    const char *params; /* JSON text */
    size_t params_len;
    const char *queue; /* resolved */
    int32_t priority;
    int64_t run_at_us; /* absolute wall time, or 0: now + delay_us by Postgres' clock */
    int64_t delay_us;
    int64_t timeout_us; /* of one attempt; -1: none */
    struct retry_policy retry;
    int32_t max_losses;
    int64_t
        expires_us; /* after submission; 0: never. must lie after run_at (checked at the door) */
    const char *unique_key;  /* or NULL */
    const char *tags;        /* JSON array text, or NULL */
    const char *created_by;  /* or NULL */
    const char *schema_hash; /* of the params schema it was checked against */
    /* Of a request that may be repeated: whose and which, and a hash of all it asked. Or NULL. */
    const char *idempotency_key, *idempotency_body;
};
enum insert_verdict {
    INSERT_NEW,
    INSERT_DUPLICATE /* id: of the one that was there */,
    INSERT_CONFLICT,
    INSERT_FULL,
    INSERT_REPEATED,    /* this request was answered before; id: what it got */
    INSERT_KEY_CONFLICT /* its key was used for another request */
};
struct inserted {
    enum insert_verdict verdict;
    struct ident id;
    struct hint hint;
    bool due;
    int64_t run_at_us;
};
typedef void ledger_insert_fn(void *arg, const struct inserted *inserted, size_t count,
                              bool unknown, const struct err *err);
/* answers in the order given. ERR_DATA: Postgres refused some data, ERR_INPUT: an id of a wrong
 * clock; the caller halves the batch.
 * Makes a missing partition and repeats by itself. */
void ledger_insert(struct ledger *ledger, const struct submission *const *submissions, size_t count,
                   ledger_insert_fn *done, void *arg);

/* ---- start ---- */
struct start_request {
    struct ident id;
    int32_t starts;
    struct ident claim;
};
enum start_verdict {
    START_STARTED,
    START_NOT_DUE,
    START_NOT_MINE,
    START_STALE,
    START_ELSEWHERE /* its hint belongs into the list `queue`: the task runs isolated, or does so
                       no more */
};
struct started {
    enum start_verdict verdict;
    int64_t not_before_us; /* NOT_DUE: look again after this long (early: until run_at, at most 5 s;
                              paused or expired: 1 s) */
    /* STARTED: all below (ELSEWHERE: queue), borrowed for the callback */
    const char *name, *queue, *params;
    size_t params_len;
    int32_t priority, attempt, failures, round;
    int64_t timeout_us, created_at_us, started_at_us;
    struct retry_policy retry; /* max_attempts = retry.max + 1 */
    const char *schema_hash;
};
struct carried {
    const char *name, *version;
};
typedef void ledger_start_fn(void *arg, const struct started *started, size_t count,
                             bool owner_alive, bool unknown, const struct err *err);
/* Compare-and-set of protocol "start". Repeating it with the same claims answers STARTED again.
 * owner_alive false: this incarnation was declared dead. isolated: this process runs one task
 * alone, and only such tasks as must have that. */
void ledger_start(struct ledger *ledger, const struct ident *incarnation,
                  const struct carried *carried, size_t carried_count, bool isolated,
                  const struct start_request *requests, size_t count, ledger_start_fn *done,
                  void *arg);

/* ---- while it runs ---- */
struct progress {
    struct ident id, claim;
    double percent;
    const char *metadata; /* JSON or NULL */
};
void ledger_progress(struct ledger *ledger, const struct progress *items, size_t count,
                     ledger_done_fn *done, void *arg); /* monotone within a start */
struct log_entry {
    struct ident id, claim;
    int32_t attempt;
    int64_t at_us;
    const char *level;
    const char *text;
    size_t text_len;
};
void ledger_log(struct ledger *ledger, const struct log_entry *items, size_t count,
                ledger_done_fn *done, void *arg);

/* ---- finish ---- */
struct finish {
    struct ident id, claim;
    enum task_status
        status; /* SUCCESS FAILURE REVOKED, or RETRY / PENDING (again after delay_us) */
    bool spends_failure;
    int64_t delay_us;
    const char *ended;  /* of a start that did not end the task: "failed" "snoozed" "released"; NULL
                           when final */
    const char *result; /* JSON text (SUCCESS) */
    size_t result_len;
    const char *error; /* JSON object {kind, message, traceback, details}; the verb adds attempt and
                          at; NULL on SUCCESS */
    size_t error_len;
    double percent;       /* -1: no progress was reported */
    const char *metadata; /* last progress metadata, JSON or NULL */
    const char *hook;     /* "success" "retry" "failure" when the task has that hook: leaves a mark
                             owned by this incarnation; else NULL */
};
enum finish_verdict { FINISH_DONE, FINISH_FENCED };
struct finished {
    enum finish_verdict verdict;
    enum task_status status; /* as written: REVOKED when a cancel was pending, FAILURE (worker_lost)
                                for a release of what may never run twice (max_losses = 0) */
    struct hint hint;
    bool due;
    int64_t run_at_us;
};
typedef void ledger_finish_fn(void *arg, const struct finished *finished, size_t count,
                              bool unknown, const struct err *err);
/* A row that is not there any more under this claim: DONE if outcomes or attempts hold my claim (an
 * earlier, unanswered try worked), else FENCED. ERR_DATA: Postgres refused some data: the caller
 * halves. */
void ledger_finish(struct ledger *ledger, const struct ident *incarnation,
                   const struct finish *items, size_t count, ledger_finish_fn *done, void *arg);

/* ---- hooks owed ---- */
/* Takes up to max marks that nobody alive owns and whose task is in names; owner becomes this
 * incarnation. again: an earlier try had no answer and may have taken some, so the incarnation's
 * own count too (those whose hook runs at the moment included: at least once). A hook that is given
 * up has cost too many processes: say so and clear the mark. JSON array
 * [{id, claim, is_given_up, attempt, event, name, queue, priority, failures, max_attempts,
 * created_at, parameters, result, error, round}], times as microseconds. */
void ledger_hooks_take(struct ledger *ledger, const struct ident *incarnation,
                       const char *const *names, int32_t max, bool again, ledger_json_fn *done,
                       void *arg);
/* Clears one mark, the oldest: after several rounds without a start there may be one of each. */
void ledger_hook_done(struct ledger *ledger, const struct ident *id, int32_t attempt,
                      const char *event, ledger_done_fn *done, void *arg);

/* ---- workers ---- */
struct worker_row {
    struct ident incarnation;
    struct ident supervisor; /* zero for a supervisor's own row */
    const char *name;        /* of the worker; unique among living supervisors: else ERR_CONFLICT */
    const char *host, *boot_id;
    int32_t pid;
    int64_t pid_start;         /* clock ticks since boot */
    const char *const *queues; /* NULL-terminated */
    int32_t slots;
    bool isolated; /* a process for one task */
};
/* Repeating it is harmless. */
void ledger_worker_register(struct ledger *ledger, const struct worker_row *row,
                            ledger_done_fn *done, void *arg);
/* The names (and generation label) this supervisor's runners carry. */
void ledger_worker_carries(struct ledger *ledger, const struct ident *supervisor,
                           const char *const *names, const char *version, ledger_done_fn *done,
                           void *arg);
struct heartbeat {
    struct ident incarnation;
    const char *stats; /* JSON object: running, rate, memory, loop_lag, fenced */
};
struct cancel_mark {
    struct ident id, claim, owner;
};
struct heartbeat_answer {
    const struct ident *alive;
    size_t alive_count; /* of those sent; a missing one was declared dead: kill it */
    const struct cancel_mark *cancels;
    size_t cancel_count; /* cancel_at set on running tasks of these */
    const char *paused;  /* comma-separated queue names */
    bool hooks_owed;     /* marks that nobody alive owns */
    bool controls;       /* requests for this supervisor are waiting */
};
typedef void ledger_heartbeat_fn(void *arg, const struct heartbeat_answer *answer,
                                 const struct err *err);
/* beats[0] is the supervisor itself. */
void ledger_heartbeat(struct ledger *ledger, const struct heartbeat *beats, size_t count,
                      ledger_heartbeat_fn *done, void *arg);
/* The supervisor saw this incarnation end (or it leaves by itself: state "gone"): alive -> dead
 * and, in the same transaction, release its rows: bystanders PENDING at once, uncharged; the
 * culprit (zero: none) charged a loss, or a failure of the kind that its process was killed for,
 * after its back-off; a hook as the culprit costs its task nothing, and is given up after three
 * losses or one kill for a cause; budgets used up: FAILURE worker_lost / timeout / memory (+ hook
 * mark without owner). DEATH_TIMEOUT: its name and version run isolated from then on, until another
 * version is published; cancel_at set: REVOKED; max_losses = 0: any loss is FAILURE worker_lost.
 * Repeating it is harmless. seen_heartbeat -1: unconditional; else only if the counter still is
 * that (the keeper). Then, and when its supervisor is dead too (declare that one first), rows count
 * as unwitnessed. */
enum death_cause { DEATH_LOST, DEATH_TIMEOUT, DEATH_MEMORY };
struct death {
    struct ident incarnation;
    struct ident culprit_claim;
    enum death_cause cause;
    int64_t seen_heartbeat;
};
void ledger_declare_dead(struct ledger *ledger, const struct death *death, ledger_hints_fn *done,
                         void *arg);
/* STARTED rows of the incarnation older than old_us whose claim is none of those go back as by
 * ledger_declare_dead, uncharged. */
void ledger_release_unclaimed(struct ledger *ledger, const struct ident *incarnation,
                              const struct ident *claims, size_t count, int64_t old_us,
                              ledger_hints_fn *done, void *arg);
/* A supervisor leaves by itself: its row becomes "gone" (its runners were declared dead one by
 * one). */
void ledger_worker_gone(struct ledger *ledger, const struct ident *incarnation,
                        ledger_done_fn *done, void *arg);
/* Living incarnations of this host and boot: JSON [{incarnation, supervisor, name, pid,
 * pid_start}] (a new supervisor looks for corpses). */
void ledger_workers_of_host(struct ledger *ledger, const char *host, const char *boot_id,
                            ledger_json_fn *done, void *arg);

/* ---- catalogue ---- */
/* json: {"entries":[{name, file, summary, queue, priority, timeout_us,
 * retry:{max,backoff,base_us,cap_us,jitter}, max_losses, isolate, memory, tags, schema,
 * schema_hash, secrets, patterns, version, hooks:[...]}], "errors":[{file, error}],
 * "removed":[names]} of one load of one supervisor. Entries are upserted, errors of this supervisor
 * replaced, removed names deleted unless another living worker carries them. */
void ledger_catalogue_publish(struct ledger *ledger, const struct ident *supervisor,
                              const char *json, size_t len, ledger_done_fn *done, void *arg);
/* One entry as the JSON object above, or "" */
void ledger_catalogue_find(struct ledger *ledger, const char *name, ledger_json_fn *done,
                           void *arg);
/* Array of REST's /tasks/types objects: name summary file queue priority timeout retries max_losses
 * tags parameters version isolate memory workers error. name NULL: all */
void ledger_catalogue_list(struct ledger *ledger, const char *name, ledger_json_fn *done,
                           void *arg);

/* ---- reading ---- */
struct task_filter {
    const char *statuses; /* comma-separated words, or NULL */
    const char *name, *queue, *worker;
    const char *const *tags;
    size_t tag_count;
    const char *text;           /* within the parameters as they are shown, whatever the case */
    struct ident parent;        /* zero: any */
    int64_t since_us, until_us; /* created_at; 0: open */
    int64_t limit, offset;
    bool is_oldest_first;
    const char *only_like; /* of the caller's rights: a pattern of LIKE over names, or NULL; */
    const char *only_by;   /* created_by, or NULL */
};
/* TaskInfo / TaskResult objects in the words and order of the contract, secret parameters masked.
 */
void ledger_info(struct ledger *ledger, const struct ident *id, ledger_json_fn *done, void *arg);
void ledger_result(struct ledger *ledger, const struct ident *id, ledger_json_fn *done, void *arg);
/* Of many at once, in their order. Of those that are too much for one answer (at least the first is
 * in it) json is NULL: to be asked for again; "": there is no such task. */
struct result {
    const char *json;
    size_t len;
};
typedef void ledger_results_fn(void *arg, const struct result *results, size_t count,
                               const struct err *err);
void ledger_results(struct ledger *ledger, const struct ident *ids, size_t count,
                    ledger_results_fn *done, void *arg);
/* Which of these will not change any more by themselves: final, or there is none: JSON array of
 * ids. */
void ledger_finals(struct ledger *ledger, const struct ident *ids, size_t count,
                   ledger_json_fn *done, void *arg);
/* {tasks, total, limit, offset, has_more[, total_capped]} */
void ledger_list(struct ledger *ledger, const struct task_filter *filter, ledger_json_fn *done,
                 void *arg);
/* {logs:[{seq, at, attempt, level, text}], has_more} after seq */
void ledger_logs(struct ledger *ledger, const struct ident *id, int64_t after_seq, int32_t limit,
                 ledger_json_fn *done, void *arg);
/* ---- following (news.c) ---- */
/* What somebody knows of a task. {-1, 0, 0}: nothing, and no history is wanted. */
struct known {
    int32_t attempt, step; /* of its last status, see schema_news.c */
    int64_t seq;           /* of its last log line */
};
enum news_kind {
    NEWS_STATUS,
    NEWS_LOG,
    NEWS_PROGRESS,
    NEWS_MORE,
    NEWS_GOING,
    NEWS_FINAL,
    NEWS_MISSING
};
struct news {
    size_t of; /* index of the task that was asked for */
    enum news_kind kind;
    struct known known; /* STATUS: attempt, step; LOG: seq */
    const char *data;   /* STATUS, LOG, PROGRESS: the event as JSON */
    size_t len;
};
/* Of each task in order what is new, at most 200 log lines, then one of MORE, GOING, FINAL,
 * MISSING.
 */
typedef void ledger_news_fn(void *arg, const struct news *news, size_t count,
                            const struct err *err);
void ledger_news(struct ledger *ledger, const struct ident *ids, const struct known *known,
                 size_t count, ledger_news_fn *done, void *arg);
/* Changes of status of all tasks, from age_us ago on, in the order of their time; of more than
 * `most` the newest. */
struct change {
    struct ident id;
    int64_t age_us;
    int32_t attempt;
    const char *status; /* a word */
    const char *data;
    size_t len;
};
typedef void ledger_changes_fn(void *arg, const struct change *changes, size_t count,
                               const struct err *err);
void ledger_changes(struct ledger *ledger, int64_t age_us, int32_t most, ledger_changes_fn *done,
                    void *arg);

void ledger_queues(struct ledger *ledger, ledger_json_fn *done,
                   void *arg); /* {queues:[...]} of the contract */
void ledger_workers(struct ledger *ledger, ledger_json_fn *done,
                    void *arg); /* {workers:[...]} of the contract */

/* ---- figures (figures.c, schema_figures.c) ---- */
/* Upper bounds of the buckets of histograms in seconds, inclusive; behind them one without. */
#define FIGURE_BOUNDS  "0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5,10,30,60,300,1800,3600,14400"
#define FIGURE_BUCKETS 18
/* What an attempt may fail of. */
#define FAILURE_KINDS "exception,timeout,memory,worker_lost,rejected,unstorable,unknown_task"
/* Books what happened into the figures by minute, up to lag_us ago; a slice. count = minutes left
 */
void ledger_figures_roll(struct ledger *ledger, int64_t lag_us, ledger_done_fn *done, void *arg);
/* {step, points: [{at, submitted, succeeded, failed, revoked, attempts_failed, run_p50, run_p99,
 * wait_p50, waiting}]} of the last since_us. name, queue: NULL: all */
void ledger_figures(struct ledger *ledger, int64_t since_us, int64_t step_us, const char *name,
                    const char *queue, ledger_json_fn *done, void *arg);
/* {totals: [{task, queue, submitted, ..., kinds, run_seconds, runs, wait_seconds, waits}], status,
 * queues, workers, fenced, rollup_age}: all that /metrics shows. */
void ledger_metrics(struct ledger *ledger, ledger_json_fn *done, void *arg);

/* ---- operators ---- */
/* Each answers a JSON array, one per id in order:
 * {"task_id","status","task_status","message","queue"}; status: cancelled | cancelling | retried |
 * deleted | not_found | refused. Hints come along: of retry those to push, of cancel those to
 * forget. What they change is noted with the actor in `operations`, as what is paused, resumed,
 * reloaded and stopped. */
typedef void ledger_operate_fn(void *arg, const char *json, size_t len,
                               const struct ledger_hints *hints, const struct err *err);
void ledger_cancel(struct ledger *ledger, const struct ident *ids, size_t count, const char *actor,
                   ledger_operate_fn *done, void *arg);
void ledger_retry(struct ledger *ledger, const struct ident *ids, size_t count, const char *actor,
                  ledger_operate_fn *done, void *arg);
void ledger_delete(struct ledger *ledger, const struct ident *ids, size_t count, const char *actor,
                   ledger_operate_fn *done, void *arg);
/* Ids that match a filter, newest first, at most limit: JSON array of texts. */
void ledger_match(struct ledger *ledger, const struct task_filter *filter, ledger_json_fn *done,
                  void *arg);
void ledger_pause(struct ledger *ledger, const char *queue, bool paused, const char *actor,
                  ledger_done_fn *done, void *arg); /* durable */
void ledger_paused(struct ledger *ledger, ledger_json_fn *done,
                   void *arg); /* JSON array of names */
/* Finals older than that: whole partitions are dropped where none of their tasks is active or
 * younger, the rest deleted in slices of 10,000.
 * {"tasks": n, "partitions": n} */
void ledger_prune(struct ledger *ledger, int64_t older_than_us, bool dry_run, ledger_json_fn *done,
                  void *arg);

/* Control of workers from any machine: a request row, a NOTIFY, an answer row. verb: reload | stop.
 */
void ledger_control_request(struct ledger *ledger, const struct ident *request, const char *verb,
                            const char *const *names, const char *host, bool all, const char *actor,
                            ledger_json_fn *done,
                            void *arg); /* JSON array of worker names it went to ([]: none); names
                                           NULL and host: workers of that host */
void ledger_control_take(struct ledger *ledger, const struct ident *supervisor,
                         ledger_json_fn *done, void *arg); /* [{request, verb}] */
void ledger_control_answer(struct ledger *ledger, const struct ident *supervisor,
                           const struct ident *request, const char *json, ledger_done_fn *done,
                           void *arg);
void ledger_control_read(struct ledger *ledger, const struct ident *request, ledger_json_fn *done,
                         void *arg); /* [{worker, answer|null}] */

/* ---- keeper ---- */
/* Election: a row with holder and counter. stale: the counter that was watched unchanged for 4 s,
 * or -1. Moves it if I hold it, it is free, or stale fits. */
struct keeper_state {
    struct ident holder;
    int64_t counter;
    int64_t now_us; /* by Postgres' clock */
    bool is_me;
};
typedef void ledger_keeper_fn(void *arg, const struct keeper_state *state, const struct err *err);
void ledger_keeper_beat(struct ledger *ledger, const struct ident *me, int64_t stale,
                        ledger_keeper_fn *done, void *arg);
void ledger_keeper_resign(struct ledger *ledger, const struct ident *me, ledger_done_fn *done,
                          void *arg);
/* For the SQL door, which does not know the settings of those who lead. */
void ledger_keeper_limit(struct ledger *ledger, int64_t max_params, ledger_done_fn *done,
                         void *arg);
/* Due hints (PENDING, RETRY; run_at <= now; not cancelled, not paused excluded) with (run_at, id)
 * after the cursor, in that order, of one priority or -1; next_run_at_us = the earliest run_at
 * after now of all waiting tasks. */
struct due_cursor {
    int64_t run_at_us;
    struct ident id;
    int32_t priority;
    int64_t until_us;  /* 0: now */
    bool delayed_only; /* leave out what its submitter pushed itself: run_at = created_at and never
                          started */
};
void ledger_due(struct ledger *ledger, const struct due_cursor *cursor, int32_t limit,
                ledger_hints_fn *done, void *arg);
/* Rows STARTED whose owner is not alive -> released as unwitnessed (the tenth: FAILURE
 * worker_lost); waiting rows past expires_at -> REVOKED expired. */
void ledger_sweep(struct ledger *ledger, ledger_hints_fn *done, void *arg);
/* JSON [{incarnation, heartbeat}] of all that are alive. */
void ledger_pulse(struct ledger *ledger, ledger_json_fn *done, void *arg);
/* Tasks waiting and due whose name no living worker has carried for grace while one serves their
 * queue -> FAILURE unknown_task. Also notes which names are carried now, and which queues are over
 * max_waiting. count = tasks ended */
void ledger_unknown(struct ledger *ledger, int64_t grace_us, int64_t max_waiting,
                    ledger_done_fn *done, void *arg);
/* Makes the partitions of the last 2 and the next 4 weeks. count = made */
void ledger_partitions(struct ledger *ledger, ledger_done_fn *done, void *arg);

/* ---- audit (audit.c): reads only ---- */
/* One slice: the next `most` tasks behind `after`, and all rows whose ids lie among theirs, in one
 * snapshot. {last (where to go on; null: it was the last slice), submitted, waiting, delayed,
 * running, SUCCESS, FAILURE, REVOKED, differences: [{id, kind, detail}]}. patience_us: after it the
 * rows of a dead owner must have been released. */
void ledger_audit(struct ledger *ledger, const struct ident *after, int32_t most,
                  int64_t patience_us, ledger_json_fn *done, void *arg);
/* Active tasks that share name and unique_key: [{id, kind, detail}] */
void ledger_audit_unique(struct ledger *ledger, ledger_json_fn *done, void *arg);
/* What is wrong with hints that Redis holds (of an unknown id, ahead of the row, of another queue):
 * [{id, kind, detail}] */
void ledger_audit_hints(struct ledger *ledger, const struct hint *hints, size_t count,
                        ledger_json_fn *done, void *arg);
/* Tasks due for over 10 s that one of these living workers serves and carries, in queues that are
 * not paused: (run_at, id) behind the cursor, in that order. They must have hints. */
void ledger_audit_due(struct ledger *ledger, const struct ident *live, size_t live_count,
                      const struct due_cursor *behind, int32_t limit, ledger_hints_fn *done,
                      void *arg);
/* Of these (id, starts) those that are so still. */
void ledger_audit_still_due(struct ledger *ledger, const struct ident *live, size_t live_count,
                            const struct hint *hints, size_t count, ledger_hints_fn *done,
                            void *arg);

/* ---- this installation (examine.c) ---- */
/* The server, its settings and our rights, also before there is a schema: {version, version_number,
 * fsync, full_page_writes, synchronous_commit, synchronous_commit_of_others, search_path,
 * statement_timeout, autovacuum, read_only, in_recovery, user, now_us, connections, reserved, used,
 * role_limit, database_limit, schema, may_use, may_create, may_make_schema, denied, owns,
 * unvacuumed}; null where there is no schema, or nothing to tell. */
void ledger_examine(struct ledger *ledger, ledger_json_fn *done, void *arg);
/* count = weeks ahead that have partitions */
void ledger_weeks_ahead(struct ledger *ledger, ledger_done_fn *done, void *arg);
/* All traces of a task and an incarnation of one's own. */
void ledger_trial_remove(struct ledger *ledger, const struct ident *id,
                         const struct ident *incarnation, ledger_done_fn *done, void *arg);
