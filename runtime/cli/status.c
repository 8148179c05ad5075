/* status.c: `status`: all that is known about one task. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/source.h"
#include "cli/wait.h"

static int run_status(struct app *app, const struct cli_args *args);
static void print_info(struct app *app, const json_t *task);
static void add_run(struct buf *out, const json_t *task);
static void add_end(struct buf *out, const json_t *task);
static void add_line(struct buf *out, const char *label, const char *text);
static void add_moment(struct buf *out, const char *label, const char *time);
static void add_json(struct buf *out, const char *label, const json_t *value);

const struct command command_status = {
    .name = "status",
    .usage = "ID",
    .summary = "say how a task is",
    .details = "Exit status 0 whatever the status is.\n\n"
               "Example:\n"
               "  ctutor-run status 01932c07-4a80-7c3e-9f5d-2b8a6e1f0c34\n",
    .run = run_status,
};

static int run_status(struct app *app, const struct cli_args *args)
{
    struct ident id;
    struct err err;
    struct await await = { 0 };
    if (!cli_expect_words(&command_status, args, 1, 1, &err) ||
        !read_id(args->words[0], &id, &err) || !source_open(app, &err))
        return app_fail(app, &err);
    source_info(app, &id, await_json, &await);
    bool good = await_run(&app->loop, &await, &err);
    if (good && !await.json.len)
        good = err_set(&err, ERR_NOT_FOUND, "there is no task %s", args->words[0]);
    if (good && app->json) {
        output_line(&await.json);
    } else if (good) {
        json_t *task = params_load(buf_text(&await.json), await.json.len);
        print_info(app, task);
        json_decref(task);
    }
    await_close(&await);
    return good ? 0 : app_fail(app, &err);
}

static void print_info(struct app *app, const json_t *task)
{
    struct buf out = BUF_EMPTY;
    const char *status = member_text(task, "status");
    const char *colour = app->colour ? output_status_colour(status) : NULL;
    add_line(&out, "task", member_text(task, "task_id"));
    add_line(&out, "name", member_text(task, "task_name"));
    if (colour)
        buf_addf(&out, "%-12s \033[%sm%s\033[0m\n", "status", colour, status);
    else
        add_line(&out, "status", status);
    add_run(&out, task);
    add_line(&out, "unique key", member_text(task, "unique_key"));
    add_line(&out, "worker", member_text(task, "worker"));
    add_moment(&out, "created", member_text(task, "created_at"));
    add_moment(&out, "due", member_text(task, "run_at"));
    add_moment(&out, "started", member_text(task, "started_at"));
    add_moment(&out, "finished", member_text(task, "finished_at"));
    add_moment(&out, "expires", member_text(task, "expires_at"));
    add_moment(&out, "cancel asked", member_text(task, "cancel_requested_at"));
    add_end(&out, task);
    output_text(&out);
    buf_close(&out);
}

static void add_run(struct buf *out, const json_t *task)
{
    struct buf text = BUF_EMPTY;
    const json_t *progress = json_object_get(task, "progress");
    const json_t *percent = json_object_get(progress, "percentage");
    buf_addf(&text, "%lld, %lld of %lld failed", (long long)member_int(task, "attempt"),
             (long long)member_int(task, "failures"), (long long)member_int(task, "max_attempts"));
    add_line(out, "attempt", buf_text(&text));
    buf_clear(&text);
    if (json_is_number(percent)) {
        buf_addf(&text, "%.3g%% ", json_number_value(percent));
        progress_metadata(&text, json_object_get(progress, "metadata"));
        add_line(out, "progress", buf_text(&text));
    }
    buf_clear(&text);
    buf_addf(&text, "%s, priority %lld", member_text(task, "queue"),
             (long long)member_int(task, "priority"));
    add_line(out, "queue", buf_text(&text));
    add_json(out, "parameters", json_object_get(task, "parameters"));
    if (json_array_size(json_object_get(task, "tags")))
        add_json(out, "tags", json_object_get(task, "tags"));
    buf_close(&text);
}

static void add_end(struct buf *out, const json_t *task)
{
    struct buf text = BUF_EMPTY;
    const json_t *duration = json_object_get(task, "duration");
    const json_t *error = json_object_get(task, "error");
    if (json_is_number(duration))
        output_add_span(&text, (int64_t)(json_number_value(duration) * 1e6));
    add_line(out, "duration", buf_text(&text));
    buf_clear(&text);
    if (json_is_object(error))
        buf_addf(&text, "%s: %s", member_text(error, "kind"), member_text(error, "message"));
    add_line(out, "error", buf_text(&text));
    buf_close(&text);
}

/* Nothing for what is not known. */
static void add_line(struct buf *out, const char *label, const char *text)
{
    if (!*text) return;
    buf_addf(out, "%-12s ", label);
    output_add_clean(out, text, strlen(text), true);
    buf_add_char(out, '\n');
}

static void add_moment(struct buf *out, const char *label, const char *time)
{
    int64_t at_us;
    if (!*time || !time_parse(time, &at_us, NULL)) return;
    int64_t ago_us = clock_wall_us() - at_us;
    struct buf text = BUF_EMPTY;
    output_add_local_time(&text, at_us);
    buf_add_text(&text, ago_us < 0 ? " (in " : " (");
    output_add_span(&text, ago_us < 0 ? -ago_us : ago_us);
    buf_add_text(&text, ago_us < 0 ? ")" : " ago)");
    add_line(out, label, buf_text(&text));
    buf_close(&text);
}

static void add_json(struct buf *out, const char *label, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text) add_line(out, label, text);
    free(text);
}
