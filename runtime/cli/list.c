/* list.c: `list` and `status`. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/filter.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/wait.h"

#define WIDE 110 /* columns from which on the list says more */

static int run_list(struct app *app, const struct cli_args *args);
static int run_status(struct app *app, const struct cli_args *args);
static void print_list(struct app *app, const json_t *answer);
static void add_task(struct table *table, const json_t *task, bool is_wide);
static void print_info(struct app *app, const json_t *task);
static void add_line(struct buf *out, const char *label, const char *text);
static void add_moment(struct buf *out, const char *label, const json_t *time);
static void add_json_line(struct buf *out, const char *label, const json_t *value);
static const char *text_of(const json_t *object, const char *key);
static int64_t integer_of(const json_t *object, const char *key);

static const struct cli_option list_options[] = {
    FILTER_OPTIONS,
    { "limit", "N", "rows, 1 to 1000; default 100", false },
    { "offset", "N", "rows that are skipped", false },
    { 0 }
};
const struct command command_list = {
    .name = "list",
    .usage = "[FILTERS]",
    .summary = "list tasks, newest first",
    .details = "Examples:\n"
               "  ctutor-run list --status FAILURE --since 1d\n"
               "  ctutor-run list --name my_simple_task --tag night --limit 20\n",
    .options = list_options,
    .run = run_list,
};
const struct command command_status = {
    .name = "status",
    .usage = "ID",
    .summary = "say how a task is",
    .details = "Exit status 0 whatever the status is.\n\n"
               "Example:\n"
               "  ctutor-run status 01932c07-4a80-7c3e-9f5d-2b8a6e1f0c34\n",
    .run = run_status,
};

static int run_list(struct app *app, const struct cli_args *args)
{
    struct filter filter;
    struct err err;
    struct await await = { 0 };
    if (!cli_expect_words(&command_list, args, 0, 0, &err) || !filter_read(args, &filter, &err))
        return app_fail(app, &err);
    filter.filter.limit = 100;
    bool good = cli_int(args, "limit", 1, 1000, &filter.filter.limit, &err) &&
                cli_int(args, "offset", 0, INT32_MAX, &filter.filter.offset, &err) &&
                app_open_stores(app, &err);
    if (good) {
        ledger_list(app->ledger, &filter.filter, await_json, &await);
        good = await_run(&app->loop, &await, &err);
    }
    if (good && app->json) {
        output_line(&await.json);
    } else if (good) {
        json_t *answer = json_loadb(buf_text(&await.json), await.json.len, 0, NULL);
        print_list(app, answer);
        json_decref(answer);
    }
    filter_close(&filter);
    await_close(&await);
    return good ? 0 : app_fail(app, &err);
}

static const struct table_column list_columns[] = {
    { "ID", false, false },   { "NAME", false, true },   { "STATUS", false, false },
    { "QUEUE", false, true }, { "TRY", true, false },    { "%", true, false },
    { "AGE", true, false },   { "TOOK", true, false },   { "WORKER", false, true },
};

static void print_list(struct app *app, const json_t *answer)
{
    const json_t *tasks = json_object_get(answer, "tasks");
    size_t width = output_width(STDOUT_FILENO), index;
    bool is_wide = width == 0 || width >= WIDE;
    struct table *table = table_new(list_columns, COUNT_OF(list_columns) - (is_wide ? 0 : 2));
    struct buf out = BUF_EMPTY;
    json_t *task;
    json_array_foreach((json_t *)(uintptr_t)tasks, index, task) add_task(table, task, is_wide);
    if (json_array_size(tasks)) table_print(table, width, app->colour, &out);
    output_text(&out);
    table_free(table);
    buf_close(&out);
    if (json_array_size(tasks) == 0) output_plain_note("no tasks");
    if (json_is_true(json_object_get(answer, "has_more")))
        output_plain_note("%zu of %lld%s; --offset %lld shows more", json_array_size(tasks),
                          (long long)integer_of(answer, "total"),
                          json_is_true(json_object_get(answer, "total_capped")) ? " or more" : "",
                          (long long)(integer_of(answer, "offset") +
                                      (int64_t)json_array_size(tasks)));
}

static void add_task(struct table *table, const json_t *task, bool is_wide)
{
    struct buf cell = BUF_EMPTY;
    int64_t created_us;
    const char *status = text_of(task, "status"), *created = text_of(task, "created_at");
    const json_t *percent = json_object_get(json_object_get(task, "progress"), "percentage");
    const json_t *duration = json_object_get(task, "duration");
    table_cell(table, text_of(task, "task_id"));
    table_cell(table, text_of(task, "task_name"));
    table_cell_colour(table, status, output_status_colour(status));
    table_cell(table, text_of(task, "queue"));
    buf_addf(&cell, "%lld", (long long)integer_of(task, "attempt"));
    table_cell(table, buf_text(&cell));
    buf_clear(&cell);
    if (json_is_number(percent)) buf_addf(&cell, "%.0f", floor(json_number_value(percent)));
    table_cell(table, buf_text(&cell));
    buf_clear(&cell);
    if (time_parse(created, &created_us, NULL))
        output_add_span(&cell, clock_wall_us() > created_us ? clock_wall_us() - created_us : 0);
    table_cell(table, buf_text(&cell));
    buf_clear(&cell);
    if (json_is_number(duration))
        output_add_span(&cell, (int64_t)(json_number_value(duration) * 1e6));
    if (is_wide) table_cell(table, buf_text(&cell));
    if (is_wide) table_cell(table, text_of(task, "worker"));
    buf_close(&cell);
}

static int run_status(struct app *app, const struct cli_args *args)
{
    struct ident id;
    struct err err;
    struct await await = { 0 };
    if (!cli_expect_words(&command_status, args, 1, 1, &err) ||
        !read_id(args->words[0], &id, &err) || !app_open_stores(app, &err))
        return app_fail(app, &err);
    ledger_info(app->ledger, &id, await_json, &await);
    bool good = await_run(&app->loop, &await, &err);
    if (good && !await.json.len)
        good = err_set(&err, ERR_NOT_FOUND, "there is no task %s", args->words[0]);
    if (good && app->json) {
        output_line(&await.json);
    } else if (good) {
        json_t *task = json_loadb(buf_text(&await.json), await.json.len, 0, NULL);
        print_info(app, task);
        json_decref(task);
    }
    await_close(&await);
    return good ? 0 : app_fail(app, &err);
}

static void print_info(struct app *app, const json_t *task)
{
    struct buf out = BUF_EMPTY, text = BUF_EMPTY;
    const char *status = text_of(task, "status");
    const char *colour = app->colour ? output_status_colour(status) : NULL;
    const json_t *progress = json_object_get(task, "progress");
    const json_t *percent = json_object_get(progress, "percentage");
    add_line(&out, "task", text_of(task, "task_id"));
    add_line(&out, "name", text_of(task, "task_name"));
    buf_addf(&out, "%-12s %s%s%s%s%s\n", "status", colour ? "\033[" : "", colour ? colour : "",
             colour ? "m" : "", status, colour ? "\033[0m" : "");
    buf_addf(&text, "%lld of %lld, %lld failed", (long long)integer_of(task, "attempt"),
             (long long)integer_of(task, "max_attempts"), (long long)integer_of(task, "failures"));
    add_line(&out, "attempt", buf_text(&text));
    buf_clear(&text);
    if (json_is_number(percent)) {
        buf_addf(&text, "%g%% ", json_number_value(percent));
        progress_metadata(&text, json_object_get(progress, "metadata"));
        add_line(&out, "progress", buf_text(&text));
    }
    buf_clear(&text);
    buf_addf(&text, "%s, priority %lld", text_of(task, "queue"),
             (long long)integer_of(task, "priority"));
    add_line(&out, "queue", buf_text(&text));
    add_json_line(&out, "parameters", json_object_get(task, "parameters"));
    if (json_array_size(json_object_get(task, "tags")))
        add_json_line(&out, "tags", json_object_get(task, "tags"));
    add_line(&out, "unique key", text_of(task, "unique_key"));
    add_line(&out, "worker", text_of(task, "worker"));
    add_moment(&out, "created", json_object_get(task, "created_at"));
    add_moment(&out, "due", json_object_get(task, "run_at"));
    add_moment(&out, "started", json_object_get(task, "started_at"));
    add_moment(&out, "finished", json_object_get(task, "finished_at"));
    add_moment(&out, "expires", json_object_get(task, "expires_at"));
    add_moment(&out, "cancel asked", json_object_get(task, "cancel_requested_at"));
    const json_t *duration = json_object_get(task, "duration"), *error = json_object_get(task, "error");
    buf_clear(&text);
    if (json_is_number(duration))
        output_add_span(&text, (int64_t)(json_number_value(duration) * 1e6));
    add_line(&out, "duration", buf_text(&text));
    buf_clear(&text);
    if (json_is_object(error))
        buf_addf(&text, "%s: %s", text_of(error, "kind"), text_of(error, "message"));
    add_line(&out, "error", buf_text(&text));
    output_text(&out);
    buf_close(&text);
    buf_close(&out);
}

/* Nothing for what is not known. */
static void add_line(struct buf *out, const char *label, const char *text)
{
    if (!*text) return;
    buf_addf(out, "%-12s ", label);
    output_add_clean(out, text, strlen(text), true);
    buf_add_char(out, '\n');
}

static void add_moment(struct buf *out, const char *label, const json_t *time)
{
    int64_t at_us;
    if (!json_is_string(time) || !time_parse(json_string_value(time), &at_us, NULL)) return;
    int64_t ago_us = clock_wall_us() - at_us;
    struct buf text = BUF_EMPTY;
    output_add_local_time(&text, at_us);
    buf_add_text(&text, ago_us < 0 ? " (in " : " (");
    output_add_span(&text, ago_us < 0 ? -ago_us : ago_us);
    buf_add_text(&text, ago_us < 0 ? ")" : " ago)");
    add_line(out, label, buf_text(&text));
    buf_close(&text);
}

static void add_json_line(struct buf *out, const char *label, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text) add_line(out, label, text);
    free(text);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static int64_t integer_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}
