/* watch.c: `watch` and `logs`: what happens to a task, as it happens. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/result.h"
#include "cli/source.h"
#include "cli/wait.h"

#define LOGS_AT_ONCE 1000

static int run_watch(struct app *app, const struct cli_args *args);
static int run_logs(struct app *app, const struct cli_args *args);
static void on_watch_news(void *arg, const char *line, const json_t *event);
static void on_log_news(void *arg, const char *line, const json_t *event);
static int print_logs(struct app *app, const struct ident *id);
static void print_log(struct app *app, const json_t *log);
static void add_moment(struct buf *out, const json_t *event);

const struct command command_watch = {
    .name = "watch",
    .usage = "ID",
    .summary = "follow a task until it is final",
    .details = "Status, progress and log lines as they come; on a terminal with a progress bar.\n"
               "Exit status 1 when the task fails or is cancelled. Ctrl-C ends the watching, not\n"
               "the task.\n\n"
               "Examples:\n"
               "  ctutor-run watch 01932c07-4a80-7c3e-9f5d-2b8a6e1f0c34\n"
               "  ctutor-run watch ID --json      one event a line\n",
    .run = run_watch,
};
static const struct cli_option log_options[] = {
    { "follow", NULL, "go on until the task is final", false }, { 0 }
};
const struct command command_logs = {
    .name = "logs",
    .usage = "ID [--follow]",
    .summary = "print what a task logged",
    .details = "Examples:\n"
               "  ctutor-run logs 01932c07-4a80-7c3e-9f5d-2b8a6e1f0c34 --follow\n"
               "  ctutor-run logs ID --json       {\"logs\": [...], \"has_more\": false};\n"
               "                                  with --follow one event a line\n",
    .options = log_options,
    .run = run_logs,
};

static int run_watch(struct app *app, const struct cli_args *args)
{
    struct ident id;
    struct err err;
    const struct wait_options wait = {
        .at_most_us = -1, .wants_logs = true, .news = on_watch_news, .arg = app
    };
    if (!cli_expect_words(&command_watch, args, 1, 1, &err) ||
        !read_id(args->words[0], &id, &err) || !source_open(app, &err))
        return app_fail(app, &err);
    bool good = wait_until_final(app, &id, &wait, &err);
    if (output_is_lost()) return 0; /* whether that is a fault, main says */
    return good ? result_print(app, &id, false) : app_fail(app, &err);
}

/* On a terminal the bar shows the progress. */
static void on_watch_news(void *arg, const char *line, const json_t *event)
{
    struct app *app = arg;
    const char *kind = json_string_value(json_object_get(event, "event"));
    const json_t *attempt = json_object_get(event, "attempt");
    struct buf out = BUF_EMPTY;
    if (app->json) {
        output_stream_line(line, strlen(line));
    } else if (strcmp(kind, "log") == 0) {
        print_log(app, event);
    } else if (strcmp(kind, "status") == 0) {
        const char *status = json_string_value(json_object_get(event, "status"));
        const char *colour = app->colour ? output_status_colour(status) : NULL;
        add_moment(&out, event);
        if (colour)
            buf_addf(&out, " \033[%sm%s\033[0m", colour, status);
        else
            buf_addf(&out, " %s", status);
        if (json_integer_value(attempt) > 0)
            buf_addf(&out, " attempt %lld", (long long)json_integer_value(attempt));
    } else if (!app->terminal_err || !app->terminal_out) {
        struct buf metadata = BUF_EMPTY;
        progress_metadata(&metadata, json_object_get(event, "metadata"));
        add_moment(&out, event);
        buf_addf(&out, " %.3g%% ", json_number_value(json_object_get(event, "percentage")));
        output_add_clean(&out, buf_text(&metadata), metadata.len, false);
        buf_close(&metadata);
    }
    if (out.len) output_stream_line(out.data, out.len);
    buf_close(&out);
}

static int run_logs(struct app *app, const struct cli_args *args)
{
    struct ident id;
    struct err err;
    const struct wait_options wait = {
        .at_most_us = -1, .wants_logs = true, .news = on_log_news, .arg = app
    };
    if (!cli_expect_words(&command_logs, args, 1, 1, &err) || !read_id(args->words[0], &id, &err) ||
        !source_open(app, &err))
        return app_fail(app, &err);
    if (!cli_has(args, "follow")) return print_logs(app, &id);
    bool good = wait_until_final(app, &id, &wait, &err) || output_is_lost();
    return good ? 0 : app_fail(app, &err);
}

static void on_log_news(void *arg, const char *line, const json_t *event)
{
    struct app *app = arg;
    if (strcmp(json_string_value(json_object_get(event, "event")), "log") != 0) return;
    if (app->json)
        output_stream_line(line, strlen(line));
    else
        print_log(app, event);
}

/* All pages; with --json they become one document. */
static int print_logs(struct app *app, const struct ident *id)
{
    struct await await = { 0 };
    struct err err;
    char id_text[IDENT_TEXT_SIZE];
    ident_text(id, id_text);
    json_t *all = json_array(), *page = NULL;
    int64_t seq = 0;
    bool good, has_more = true;
    for (good = true; good && has_more; json_decref(page)) {
        source_logs(app, id, seq, LOGS_AT_ONCE, await_json, &await);
        good = await_run(&app->loop, &await, &err);
        page = good ? params_load(buf_text(&await.json), await.json.len) : NULL;
        if (good && !page) good = err_set(&err, ERR_NOT_FOUND, "there is no task %s", id_text);
        json_t *logs = json_object_get(page, "logs"), *log;
        size_t index;
        json_array_foreach(logs, index, log)
        {
            seq = member_int(log, "seq");
            if (!app->json) print_log(app, log);
        }
        if (app->json && logs) json_array_extend(all, logs);
        has_more = json_is_true(json_object_get(page, "has_more"));
    }
    if (good && app->json) {
        json_t *document = json_pack("{sOsb}", "logs", all, "has_more", 0);
        char *text = json_dumps(document, JSON_COMPACT);
        output_stream_line(text, strlen(text));
        free(text);
        json_decref(document);
    }
    json_decref(all);
    await_close(&await);
    return good ? 0 : app_fail(app, &err);
}

static void print_log(struct app *app, const json_t *log)
{
    struct buf out = BUF_EMPTY;
    const char *level = json_string_value(json_object_get(log, "level"));
    const json_t *text = json_object_get(log, "text");
    add_moment(&out, log);
    bool is_bad = level && (strcmp(level, "warn") == 0 || strcmp(level, "error") == 0);
    buf_addf(&out, " %s%-5s%s ", app->colour && is_bad ? "\033[33m" : "", level ? level : "",
             app->colour && is_bad ? "\033[0m" : "");
    output_add_clean(&out, json_string_value(text), json_string_length(text), true);
    output_stream_line(out.data, out.len);
    buf_close(&out);
}

static void add_moment(struct buf *out, const json_t *event)
{
    int64_t at_us;
    if (time_parse(member_text(event, "at"), &at_us, NULL)) output_add_local_time(out, at_us);
}
