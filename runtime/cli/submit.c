/* submit.c: `submit` of one task. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/entry.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/parameters.h"
#include "cli/result.h"
#include "cli/source.h"
#include "cli/submit_bulk.h"
#include "cli/submit_options.h"
#include "cli/wait.h"

static int run_submit(struct app *app, const struct cli_args *args);
static bool submit(struct app *app, const struct cli_args *args, struct buf *answer,
                   struct door_errors *errors, struct err *err);
static void tell_warnings(const struct app *app, const json_t *answer);
static int wait_for_result(struct app *app, const struct cli_args *args, const struct ident *id);

const struct command command_submit = {
    .name = "submit",
    .usage = "NAME [key=text | key:=json | key=@FILE | key:=@FILE ...] [OPTIONS]",
    .summary = "submit a task and print its id",
    .details =
        "key=text is converted to the type the task's parameter has; key:=json is taken as it is;\n"
        "@FILE reads a file, @- stdin, and \\@ is a literal @. `ctutor-run tasks show NAME` shows\n"
        "the parameters.\n\n"
        "Examples:\n"
        "  ctutor-run submit my_simple_task message=hello count=3\n"
        "  ctutor-run submit my_simple_task message=hello --delay 10m --priority 8 --tag night\n"
        "  ctutor-run submit report rows:='[1, 2]' text=@notes.txt --wait 30s\n"
        "  ctutor-run submit --bulk tasks.ndjson   {\"task_name\": ..., \"parameters\": {...}} a "
        "line\n",
    .options = submit_options,
    .run = run_submit,
};

static int run_submit(struct app *app, const struct cli_args *args)
{
    struct err err;
    struct ident id;
    struct buf answer = BUF_EMPTY;
    struct door_errors *errors = xcalloc(1, sizeof *errors);
    int status = 0;
    if (cli_has(args, "bulk")) {
        status = submit_bulk(app, args);
    } else if (!submit(app, args, &answer, errors, &err)) {
        status = app_fail_fields(app, &err, errors->at, errors->count);
    } else {
        json_t *told = params_load(buf_text(&answer), answer.len);
        const char *text = member_text(told, "task_id");
        tell_warnings(app, told);
        if (cli_has(args, "wait") && ident_parse(text, &id))
            status = wait_for_result(app, args, &id);
        else if (app->json)
            output_line(&answer);
        else
            output_stream_line(text, strlen(text));
        json_decref(told);
    }
    free(errors);
    buf_close(&answer);
    return status;
}

/* errors stays empty when something else than a field was wrong. */
static bool submit(struct app *app, const struct cli_args *args, struct buf *answer,
                   struct door_errors *errors, struct err *err)
{
    struct catalogue_entry *entry = NULL;
    json_t *parameters = NULL, *body = NULL;
    int64_t ignored_us;
    if (args->count == 0)
        return err_set(err, ERR_INPUT, "which task? usage: ctutor-run submit %s",
                       command_submit.usage);
    if (!cli_wait(args, &ignored_us, err)) return false;
    if (!source_open(app, err)) return false;
    if (app->broker && cli_has(args, "wait"))
        broker_listen(app->broker, BROKER_EVENTS); /* miss nothing */
    bool good = entry_find(app, args->words[0], &entry, err) &&
                parameters_collect(entry->schema, args->count - 1, args->words + 1,
                                   cli_value(args, "params"), &parameters, err) &&
                submit_body(args, entry->name, parameters, &body, err);
    good = good && source_submit(app, entry, body, answer, errors, err);
    json_decref(body);
    catalogue_entry_free(entry);
    return good;
}

static void tell_warnings(const struct app *app, const json_t *answer)
{
    json_t *warning;
    size_t index;
    json_array_foreach(json_object_get(answer, "warnings"), index, warning)
        output_note("warning: %s", json_string_value(warning));
    if (strcmp(member_text(answer, "dispatch"), "deferred") == 0)
        output_note("warning: Redis is away; the task is accepted and is handed out later");
    if (strcmp(member_text(answer, "status"), "duplicate") == 0 && !app->json)
        output_note("it was submitted before: this is its id");
}

static int wait_for_result(struct app *app, const struct cli_args *args, const struct ident *id)
{
    struct wait_options wait = { .tells_id = true, .at_most_us = -1 };
    struct err err;
    if (!cli_wait(args, &wait.at_most_us, &err) || !wait_until_final(app, id, &wait, &err))
        return app_fail(app, &err);
    return result_print(app, id, true);
}
