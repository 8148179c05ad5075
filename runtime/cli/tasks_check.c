/* tasks_check.c: `tasks check`: what a worker would say of the files, without one. */
#include <jansson.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/local.h"
#include "cli/options.h"
#include "cli/output.h"

static int run(struct app *app, const struct cli_args *args);
static void print_report(const struct buf *report);
static void print_file(const json_t *item, struct buf *out);

static const struct cli_option options[] = { { 0 } };

const struct command command_tasks_check = {
    .name = "tasks check",
    .usage = "[DIR]",
    .summary = "check task files",
    .details =
        "Loads every file of DIR (CTUTOR_TASKS_DIR, ./tasks.d) as a worker would and prints\n"
        "what became of it: mistakes with file and line, undeclared globals, warnings.\n"
        "Needs no server. Exit status 1 if any file failed.\n\n"
        "Examples:\n"
        "  ctutor-run tasks check\n"
        "  ctutor-run tasks check /srv/tasks.d --json\n",
    .options = options,
    .run = run,
};

static int run(struct app *app, const struct cli_args *args)
{
    struct err err;
    struct local_tasks tasks;
    if (!cli_expect_words(&command_tasks_check, args, 0, 1, &err)) return app_fail(app, &err);
    const char *directory = args->count ? args->words[0] : config_text(app->config, SET_TASKS_DIR);
    if (!local_open(app, directory, &tasks, &err)) return app_fail(app, &err);
    if (app->json)
        output_stream_line(tasks.outcome.report.data, tasks.outcome.report.len);
    else
        print_report(&tasks.outcome.report);
    int status = tasks.outcome.errors ? 1 : 0;
    local_close(&tasks);
    return status;
}

static void print_report(const struct buf *report)
{
    json_t *files = json_loadb(report->data, report->len, 0, NULL);
    struct buf out = BUF_EMPTY;
    size_t index;
    json_t *item;
    json_array_foreach(files, index, item) print_file(item, &out);
    if (json_array_size(files) == 0) buf_add_text(&out, "no task files\n");
    output_text(&out);
    buf_close(&out);
    json_decref(files);
}

static void add_clean(struct buf *out, const char *text)
{
    output_add_clean(out, text, strlen(text), true);
}

/* The text of an error begins with file and line itself. */
static void print_file(const json_t *item, struct buf *out)
{
    const char *file = json_string_value(json_object_get(item, "file"));
    const char *name = json_string_value(json_object_get(item, "name"));
    const char *error = json_string_value(json_object_get(item, "error"));
    size_t index;
    json_t *warning;
    add_clean(out, file);
    buf_add_text(out, error ? ": failed" : ": ok");
    if (name && !error) buf_addf(out, " (%s)", name);
    buf_add_text(out, error ? "\n  " : "\n");
    if (error) add_clean(out, error);
    if (error) buf_add_char(out, '\n');
    json_array_foreach(json_object_get(item, "warnings"), index, warning)
    {
        buf_add_text(out, "  warning: ");
        add_clean(out, json_string_value(warning));
        buf_add_char(out, '\n');
    }
}
