/* local_run.c: one coroutine in this process (see local.h).
 *
 *   generation -> run_start -> (on_progress | on_log | on_cancel)* -> on_ended -> print
 * The folders of the run lie in one of our own, which is gone at the end, as are all processes that
 * the task started. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "cli/interruption.h"
#include "cli/local.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "io/proc.h"
#include "io/tree.h"
#include "script/run.h"
#include "task/outcome.h"

#define REDRAW_US INT64_C(500000)
#define REAP_US   INT64_C(2000000) /* for the killed to go */

struct local_run {
    struct app *app;
    const struct submission *submission;
    struct run *run;          /* NULL: it has ended */
    struct buf result, error; /* JSON, or empty */
    enum task_status status;
    int64_t again_us; /* it asked to run again after this; -1: it did not */
    /* the bar */
    double percent;
    struct buf metadata;
    int64_t began_us;
    struct timer redraw;
};

static int run_in(struct local_run *local, struct local_tasks *tasks);
static bool are_children_reaped(const struct app *app);
static void start(struct local_run *local, struct generation *generation);
static void on_cancel(void *arg);
static void on_redraw(struct timer *timer);
static void show(const struct local_run *local);
static void on_progress(void *arg, struct run *run, double percent, const char *metadata);
static void on_log(void *arg, struct run *run, const char *level, const char *text, size_t len);
static void on_ended(void *arg, struct run *run, const struct run_ended *ended);
static void print_outcome(struct local_run *local);
static void tell_error(const struct local_run *local);

int local_run(struct app *app, struct local_tasks *tasks, const struct submission *submission)
{
    struct err err;
    const char *root = getenv("TMPDIR");
    char *directory = xasprintf("%s/ctutor-run-XXXXXX", root && *root ? root : "/tmp");
    struct local_run local = { .app = app, .submission = submission, .percent = -1 };
    int status;
    if (!mkdtemp(directory)) {
        err_set(&err, ERR_IO, "cannot make %s: %s (set TMPDIR)", directory, strerror(errno));
        status = app_fail(app, &err);
    } else {
        tasks->host.run_directory = directory;
        status = run_in(&local, tasks);
        if (!tree_remove_all(directory, &err)) output_note("%s", err.text);
    }
    buf_close(&local.result);
    buf_close(&local.error);
    buf_close(&local.metadata);
    free(directory);
    return status;
}

static int run_in(struct local_run *local, struct local_tasks *tasks)
{
    struct err err;
    struct app *app = local->app;
    struct generation *generation;
    const struct definition *definition;
    tasks->host.is_isolated = true; /* the run has this process to itself */
    if (!generation_new(&tasks->host, &tasks->outcome.snapshot, &generation, &err))
        return app_fail(app, &err);
    definition = generation_find(generation, local->submission->name);
    if (definition && definition->memory) generation_limit_memory(generation, definition->memory);
    proc_init(&app->loop, true);
    timer_init(&app->loop, &local->redraw, on_redraw);
    interruption_start(&app->loop, tasks->host.run_directory, on_cancel, local);
    start(local, generation);
    while (local->run) loop_turn(&app->loop, true);
    bool was_interrupted = interruption_stop();
    timer_close(&local->redraw, NULL);
    loop_turn(&app->loop, false); /* what was closed lives on this stack */
    proc_kill_descendants_but(NULL, 0);
    app_wait_until(app, are_children_reaped, REAP_US);
    proc_close();
    generation_retire(generation);
    print_outcome(local);
    if (was_interrupted) return 130;
    return local->status == TASK_SUCCESS ? 0 : 1;
}

/* A subprocess that was abandoned is watched until it is gone; it holds pipes of the loop. */
static bool are_children_reaped(const struct app *app)
{
    (void)app;
    return !proc_is_awaited();
}

static void start(struct local_run *local, struct generation *generation)
{
    const struct submission *submission = local->submission;
    const struct run_spec spec = { .kind = RUN_EXECUTE,
                                   .name = submission->name,
                                   .id = submission->id,
                                   .claim = ident_random(),
                                   .queue = submission->queue,
                                   .worker = "tasks run",
                                   .priority = submission->priority,
                                   .attempt = 1,
                                   .max_attempts = 1,
                                   .created_at_us = clock_wall_us(),
                                   .timeout_us = submission->timeout_us,
                                   .params = submission->params,
                                   .params_len = submission->params_len };
    const struct run_events events = { local, on_ended, on_progress, on_log };
    local->began_us = clock_boot_us();
    local->run = run_start(generation, &spec, &events);
    if (local->app->terminal_err) timer_start(&local->redraw, REDRAW_US);
}

static void on_cancel(void *arg)
{
    struct local_run *local = arg;
    if (local->run) run_cancel(local->run);
}

static void on_redraw(struct timer *timer)
{
    show(container_of(timer, struct local_run, redraw));
    timer_start(timer, REDRAW_US);
}

static void show(const struct local_run *local)
{
    const struct progress_view view = { .status = task_status_text(TASK_STARTED),
                                        .percent = local->percent,
                                        .metadata = buf_text(&local->metadata),
                                        .elapsed_us = clock_boot_us() - local->began_us };
    progress_show(&view);
}

static void on_progress(void *arg, struct run *run, double percent, const char *metadata)
{
    struct local_run *local = arg;
    (void)run;
    json_t *parsed = metadata ? json_loads(metadata, JSON_DECODE_ANY, NULL) : NULL;
    local->percent = percent;
    buf_clear(&local->metadata);
    progress_metadata(&local->metadata, parsed);
    json_decref(parsed);
    if (local->app->terminal_err)
        show(local);
    else
        output_plain_note("%d%% %s", (int)percent, buf_text(&local->metadata));
}

static void on_log(void *arg, struct run *run, const char *level, const char *text, size_t len)
{
    struct local_run *local = arg;
    (void)run;
    if (local->app->terminal_err) progress_hide();
    output_plain_note("%s: %.*s", level, (int)len, text);
    if (local->app->terminal_err) show(local);
}

static void on_ended(void *arg, struct run *run, const struct run_ended *ended)
{
    struct local_run *local = arg;
    (void)run;
    const struct run_facts facts = { .end = ended->end,
                                     .max_attempts = 1,
                                     .asked_delay_us = ended->delay_us };
    bool asks_again = ended->end == END_SNOOZED || ended->end == END_RETRY_IN;
    if (ended->result) buf_add(&local->result, ended->result, ended->result_len);
    if (ended->error) buf_add(&local->error, ended->error, ended->error_len);
    local->status = outcome_decide(&facts).status;
    local->again_us = asks_again ? ended->delay_us : -1;
    local->run = NULL;
    timer_stop(&local->redraw);
    if (local->app->terminal_err) progress_hide();
}

static void add_json(struct jsonw *w, const char *key, const struct buf *json)
{
    jsonw_key(w, key);
    if (json->len)
        jsonw_raw(w, json->data, json->len);
    else
        jsonw_null(w);
}

static void print_outcome(struct local_run *local)
{
    struct buf out = BUF_EMPTY;
    struct jsonw w;
    if (local->app->json) {
        jsonw_init(&w, &out);
        jsonw_object(&w);
        jsonw_key_text(&w, "task_name", local->submission->name);
        jsonw_key_text(&w, "status", task_status_text(local->status));
        add_json(&w, "result", &local->result);
        add_json(&w, "error", &local->error);
        jsonw_object_end(&w);
        output_line(&out);
    } else if (local->status == TASK_SUCCESS) {
        output_stream_line(local->result.data, local->result.len);
    }
    buf_close(&out);
    if (local->status != TASK_SUCCESS) tell_error(local);
}

static void tell_error(const struct local_run *local)
{
    const char *name = local->submission->name;
    json_t *error = json_loadb(buf_text(&local->error), local->error.len, 0, NULL);
    const char *traceback = json_string_value(json_object_get(error, "traceback"));
    if (error)
        output_note("%s: %s: %s", name, json_string_value(json_object_get(error, "kind")),
                    json_string_value(json_object_get(error, "message")));
    if (traceback) output_plain_note("%s", traceback);
    if (json_object_get(error, "details")) {
        char *details =
            json_dumps(json_object_get(error, "details"), JSON_COMPACT | JSON_ENCODE_ANY);
        output_plain_note("details: %s", details);
        free(details);
    }
    if (local->again_us >= 0) {
        char *delay = duration_text(local->again_us);
        output_note("%s asks to run again after %s; here it runs once", name, delay);
        free(delay);
    }
    json_decref(error);
}
