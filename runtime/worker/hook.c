/* hook.c: on_success, on_retry, on_failure: after the outcome is committed, at least once. The
 * finish left a mark that this incarnation owns; it is cleared when the hook ended. Marks whose
 * owner died, or that the keeper or an operator left, are taken by whoever carries the task. One
 * that ended its processes is given up. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "task/params.h"
#include "worker/runner_private.h"

#define HOOK_TIMEOUT_US 30000000
#define HOOKS_TAKEN     20

struct hook {
    struct runner *runner;
    struct ident id;
    int32_t attempt;
    enum run_kind kind;
    const char *event; /* a word of the program */
    char name[TASK_NAME_MAX + 1];
};

static void hook_start(struct runner *runner, const char *event, struct run_spec *spec);
static void hook_give_up(struct runner *runner, const char *event, const struct run_spec *spec);
static struct hook *hook_new(struct runner *runner, const char *event, const struct run_spec *spec);
static enum run_kind kind_of(const char *event, const char **word);
static void on_hook_log(void *arg, struct run *run, const char *level, const char *text,
                        size_t len);
static void on_hook_progress(void *arg, struct run *run, double percent, const char *metadata);
static void on_hook_ended(void *arg, struct run *run, const struct run_ended *ended);
static void clear_mark(struct hook *hook);
static void on_cleared(void *arg, int64_t count, bool unknown, const struct err *err);
static void ask_for_marks(struct runner *runner, bool again);
static void on_taken(void *arg, const char *json, size_t len, const struct err *err);
static void start_taken(struct runner *runner, const json_t *mark);

void hook_after(struct slot *slot, enum task_status status)
{
    const char *event = slot->finish.hook;
    if (status != slot->finish.status) return; /* a cancel came first: REVOKED has no hook */
    struct run_spec spec = {
        .name = slot->name,
        .id = slot->id,
        .claim = slot->claim,
        .queue = slot->queue,
        .worker = slot->runner->name,
        .priority = slot->priority,
        .attempt = slot->attempt,
        .failures = slot->failures + (slot->finish.spends_failure ? 1 : 0),
        .max_attempts = slot->retry.max + 1,
        .created_at_us = slot->created_at_us,
        .params = slot->params,
        .params_len = slot->params_len,
        .argument = status == TASK_SUCCESS ? slot->result : slot->error,
        .argument_len = status == TASK_SUCCESS ? slot->finish.result_len : slot->finish.error_len,
    };
    hook_start(slot->runner, event, &spec);
}

static void hook_start(struct runner *runner, const char *event, struct run_spec *spec)
{
    struct hook *hook = hook_new(runner, event, spec);
    spec->kind = hook->kind;
    spec->timeout_us = HOOK_TIMEOUT_US;
    (void)fault_here("hook_run");
    struct run_events events = { hook, on_hook_ended, on_hook_progress, on_hook_log };
    run_start(runner->generation, spec, &events);
}

static void hook_give_up(struct runner *runner, const char *event, const struct run_spec *spec)
{
    struct hook *hook = hook_new(runner, event, spec);
    char id[IDENT_TEXT_SIZE];
    ident_text(&hook->id, id);
    log_error("on_%s of %s (%s) is given up: processes died while it ran, or had to be killed",
              hook->event, hook->name, id);
    clear_mark(hook);
}

static struct hook *hook_new(struct runner *runner, const char *event, const struct run_spec *spec)
{
    struct hook *hook = xcalloc(1, sizeof *hook);
    hook->runner = runner;
    hook->id = spec->id;
    hook->attempt = spec->attempt;
    hook->kind = kind_of(event, &hook->event);
    snprintf(hook->name, sizeof hook->name, "%s", spec->name);
    runner->hooks++;
    return hook;
}

static enum run_kind kind_of(const char *event, const char **word)
{
    *word = "success";
    if (strcmp(event, *word) == 0) return RUN_ON_SUCCESS;
    *word = "retry";
    if (strcmp(event, *word) == 0) return RUN_ON_RETRY;
    *word = "failure";
    return RUN_ON_FAILURE;
}

static void on_hook_log(void *arg, struct run *run, const char *level, const char *text, size_t len)
{
    struct hook *hook = arg;
    (void)run;
    log_info("on_%s of %s: %s: %.*s", hook->event, hook->name, level, (int)len, text);
}

static void on_hook_progress(void *arg, struct run *run, double percent, const char *metadata)
{
    (void)arg, (void)run, (void)percent, (void)metadata; /* the task is settled */
}

static void on_hook_ended(void *arg, struct run *run, const struct run_ended *ended)
{
    struct hook *hook = arg;
    (void)run;
    if (ended->end == END_RELEASED) { /* shutting down: the mark stays, somebody else runs it */
        on_cleared(hook, 0, false, NULL);
        return;
    }
    if (ended->end != END_RETURNED) {
        log_warn("on_%s of %s failed: %.*s", hook->event, hook->name, (int)ended->error_len,
                 ended->error ? ended->error : "");
    }
    clear_mark(hook);
}

static void clear_mark(struct hook *hook)
{
    ledger_hook_done(hook->runner->finishes, &hook->id, hook->attempt, hook->event, on_cleared,
                     hook);
}

static void on_cleared(void *arg, int64_t count, bool unknown, const struct err *err)
{
    struct hook *hook = arg;
    (void)count, (void)unknown;
    if (err && err->code == ERR_STORE && !hook->runner->draining) {
        clear_mark(hook); /* waits for the connection inside; while we live nobody else clears it */
        return;
    }
    if (err && err->code != ERR_CANCELLED)
        log_warn("mark of on_%s stays: %s", hook->event, err->text);
    struct runner *runner = hook->runner;
    free(hook);
    runner->hooks--;
    runner_changed(runner);
}

void hooks_take(struct runner *runner)
{
    if (!runner->hooks_asked) ask_for_marks(runner, false);
}

static void ask_for_marks(struct runner *runner, bool again)
{
    runner->hooks_asked = true;
    size_t count = generation_count(runner->generation);
    const char **names = xcalloc(count + 1, sizeof *names);
    for (size_t i = 0; i < count; i++) names[i] = generation_at(runner->generation, i)->name;
    ledger_hooks_take(runner->starts, &runner->incarnation, names, HOOKS_TAKEN, again, on_taken,
                      runner);
    free(names);
}

static void on_taken(void *arg, const char *json, size_t len, const struct err *err)
{
    struct runner *runner = arg;
    runner->hooks_asked = false;
    if (err) {
        /* It may have taken some: they are mine then, and no heartbeat speaks of them again. */
        if (err->code == ERR_STORE && !runner->draining) ask_for_marks(runner, true);
        return;
    }
    json_t *marks = params_load(json, len);
    size_t index;
    json_t *mark;
    json_array_foreach(marks, index, mark) start_taken(runner, mark);
    json_decref(marks);
}

static void start_taken(struct runner *runner, const json_t *mark)
{
    const char *id = json_string_value(json_object_get(mark, "id"));
    const char *claim = json_string_value(json_object_get(mark, "claim"));
    const char *event = json_string_value(json_object_get(mark, "event"));
    const char *name = json_string_value(json_object_get(mark, "name"));
    const char *queue = json_string_value(json_object_get(mark, "queue"));
    const json_t *result = json_object_get(mark, "result"), *error = json_object_get(mark, "error");
    const json_t *params = json_object_get(mark, "parameters");
    struct buf argument = BUF_EMPTY, params_text = BUF_EMPTY;
    struct run_spec spec = {
        .name = name,
        .queue = queue,
        .worker = runner->name,
        .priority = (int32_t)json_integer_value(json_object_get(mark, "priority")),
        .attempt = (int32_t)json_integer_value(json_object_get(mark, "attempt")),
        .failures = (int32_t)json_integer_value(json_object_get(mark, "failures")),
        .max_attempts = (int32_t)json_integer_value(json_object_get(mark, "max_attempts")),
        .created_at_us = json_integer_value(json_object_get(mark, "created_at")),
    };
    if (!id || !claim || !event || !name || !queue) return;
    if (!ident_parse(id, &spec.id) || !ident_parse(claim, &spec.claim)) return;
    if (json_is_true(json_object_get(mark, "is_given_up"))) {
        hook_give_up(runner, event, &spec);
        return;
    }
    const json_t *given = strcmp(event, "success") == 0 ? result : error;
    if (given) params_write(&argument, given);
    if (params) params_write(&params_text, params);
    spec.argument = given ? buf_text(&argument) : NULL;
    spec.argument_len = argument.len;
    spec.params = buf_text(&params_text);
    spec.params_len = params_text.len;
    hook_start(runner, event, &spec);
    buf_close(&argument);
    buf_close(&params_text);
}
