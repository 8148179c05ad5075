/* trial.c: see trial.h. */
#include "lifecycle/trial.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "lifecycle/await.h"

#define TASK      "doctor.trial"
#define MINUTE_US INT64_C(60000000)

struct trial_run {
    struct trial *trial;
    struct loop *loop;
    struct ledger *ledger;
    struct broker *broker;
    struct ident id, incarnation, claim;
    struct hint hint;
    bool is_done, is_right; /* of the step under way */
    struct err err;
};

static bool accept_task(struct trial_run *run, struct err *err);
static bool dispatch(struct trial_run *run, struct err *err);
static bool start(struct trial_run *run, struct err *err);
static bool finish(struct trial_run *run, struct err *err);
static bool register_worker(struct trial_run *run, struct err *err);
static bool remove_traces(struct trial_run *run, struct err *err);
static bool step_wait(struct trial_run *run, const char *wrong, struct err *err);
static void on_inserted(void *arg, const struct inserted *inserted, size_t count, bool unknown,
                        const struct err *err);
static void on_claimed(void *arg, const struct broker_claimed *claimed, const struct err *err);
static void on_started(void *arg, const struct started *started, size_t count, bool owner_alive,
                       bool unknown, const struct err *err);
static void on_finished(void *arg, const struct finished *finished, size_t count, bool unknown,
                        const struct err *err);

static const struct {
    const char *what;
    bool (*run)(struct trial_run *run, struct err *err);
} steps[TRIAL_STEPS] = { [TRIAL_ACCEPT] = { "accept a task", accept_task },
                         [TRIAL_DISPATCH] = { "push and claim its hint", dispatch },
                         [TRIAL_START] = { "start it", start },
                         [TRIAL_FINISH] = { "finish it", finish } };

void trial_init(struct trial *trial)
{
    struct ident random = ident_random();
    char text[IDENT_TEXT_SIZE];
    ident_text(&random, text);
    *trial = (struct trial){ 0 };
    snprintf(trial->queue, sizeof trial->queue, "doctor.%s", text);
}

bool trial_run(struct trial *trial, struct loop *loop, struct ledger *ledger, struct broker *broker,
               struct err *err)
{
    struct trial_run run = { .trial = trial,
                             .loop = loop,
                             .ledger = ledger,
                             .broker = broker,
                             .id = ident_v7(),
                             .incarnation = ident_random(),
                             .claim = ident_random() };
    bool good = register_worker(&run, err);
    for (int i = 0; good && i < TRIAL_STEPS; i++) {
        int64_t began_us = clock_mono_us();
        good = steps[i].run(&run, err) || err_wrap(err, "%s", steps[i].what);
        trial->took_us[i] = clock_mono_us() - began_us;
        trial->done += good;
    }
    struct err left;
    if (!remove_traces(&run, &left) && good) {
        *err = left;
        good = err_wrap(err, "remove it again");
    }
    return good;
}

/* As a runner of a supervisor that is not there: no list of workers shows it. */
static bool register_worker(struct trial_run *run, struct err *err)
{
    struct await await = { 0 };
    const char *const queues[] = { run->trial->queue, NULL };
    const struct worker_row row = { .incarnation = run->incarnation,
                                    .supervisor = run->incarnation,
                                    .name = TASK,
                                    .host = "",
                                    .boot_id = "",
                                    .queues = queues,
                                    .slots = 1 };
    ledger_worker_register(run->ledger, &row, await_done, &await);
    return await_run(run->loop, &await, err) || err_wrap(err, "register a worker");
}

static bool accept_task(struct trial_run *run, struct err *err)
{
    const struct submission submission = { .id = run->id,
                                           .name = TASK,
                                           .params = "{}",
                                           .params_len = 2,
                                           .queue = run->trial->queue,
                                           .priority = TASK_PRIORITY_DEFAULT,
                                           .timeout_us = MINUTE_US,
                                           .retry = RETRY_NONE,
                                           .max_losses = 1,
                                           .expires_us = MINUTE_US };
    const struct submission *const all[] = { &submission };
    ledger_insert(run->ledger, all, 1, on_inserted, run);
    return step_wait(run, "Postgres says it was there already", err);
}

static bool dispatch(struct trial_run *run, struct err *err)
{
    struct await await = { 0 };
    const char *const queues[] = { run->trial->queue, NULL };
    broker_push(run->broker, &run->hint, 1, await_broker, &await);
    if (!await_run(run->loop, &await, err)) return false;
    const struct broker_claim claim = {
        .incarnation = &run->incarnation, .token = &run->claim, .queues = queues, .max = 1
    };
    broker_claim(run->broker, &claim, on_claimed, run);
    return step_wait(run, "Redis did not give back what was pushed", err);
}

static bool start(struct trial_run *run, struct err *err)
{
    struct await await = { 0 };
    const struct carried carried = { TASK, "1" };
    const struct start_request request = { run->id, run->hint.starts, run->claim };
    ledger_start(run->ledger, &run->incarnation, &carried, 1, false, &request, 1, on_started, run);
    if (!step_wait(run, "Postgres says it may not be started", err)) return false;
    const struct broker_settle settle = { .id = run->id, .token = run->claim, .drop = true };
    broker_settle(run->broker, &settle, 1, await_broker, &await);
    return await_run(run->loop, &await, err);
}

static bool finish(struct trial_run *run, struct err *err)
{
    const struct finish finish = { .id = run->id,
                                   .claim = run->claim,
                                   .status = TASK_SUCCESS,
                                   .result = "null",
                                   .result_len = 4,
                                   .percent = -1 };
    ledger_finish(run->ledger, &run->incarnation, &finish, 1, on_finished, run);
    return step_wait(run, "Postgres says that somebody else finished it", err);
}

static bool remove_traces(struct trial_run *run, struct err *err)
{
    struct await await = { 0 };
    ledger_trial_remove(run->ledger, &run->id, &run->incarnation, await_done, &await);
    bool good = await_run(run->loop, &await, err);
    const char *const queue = run->trial->queue;
    struct hint newest = { .id = run->id, .starts = INT32_MAX, .ready_us = INT64_MAX };
    snprintf(newest.queue, sizeof newest.queue, "%s", queue);
    broker_forget(run->broker, &newest, 1, await_broker, &await);
    good = await_run(run->loop, &await, good ? err : NULL) && good;
    broker_drop_queue(run->broker, queue, &run->incarnation, await_broker, &await);
    return await_run(run->loop, &await, good ? err : NULL) && good;
}

static bool step_wait(struct trial_run *run, const char *wrong, struct err *err)
{
    while (!run->is_done) loop_turn(run->loop, true);
    run->is_done = false;
    if (run->err.code != ERR_NONE) {
        *err = run->err;
        err_clear(&run->err);
        return false;
    }
    return run->is_right || err_set(err, ERR_INTERNAL, "%s", wrong);
}

static struct trial_run *step_done(void *arg, bool is_right, const struct err *err)
{
    struct trial_run *run = arg;
    run->is_done = true;
    run->is_right = !err && is_right;
    if (err) run->err = *err;
    return run;
}

static void on_inserted(void *arg, const struct inserted *inserted, size_t count, bool unknown,
                        const struct err *err)
{
    (void)unknown;
    struct trial_run *run =
        step_done(arg, !err && count == 1 && inserted->verdict == INSERT_NEW, err);
    if (run->is_right) run->hint = inserted->hint;
}

static void on_claimed(void *arg, const struct broker_claimed *claimed, const struct err *err)
{
    struct trial_run *run = arg;
    bool is_mine = !err && claimed->count == 1 && ident_equal(&claimed->hints[0].id, &run->id);
    step_done(arg, is_mine, err);
}

static void on_started(void *arg, const struct started *started, size_t count, bool owner_alive,
                       bool unknown, const struct err *err)
{
    (void)unknown, (void)owner_alive;
    step_done(arg, !err && count == 1 && started->verdict == START_STARTED, err);
}

static void on_finished(void *arg, const struct finished *finished, size_t count, bool unknown,
                        const struct err *err)
{
    (void)unknown;
    step_done(arg, !err && count == 1 && finished->verdict == FINISH_DONE, err);
}
