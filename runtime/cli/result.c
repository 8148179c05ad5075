/* result.c: `result`, and how a failure is told. */
#include "cli/result.h"

#include <stdlib.h>

#include "cli/commands.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/slice.h"
#include "cli/source.h"
#include "cli/wait.h"

static int run_result(struct app *app, const struct cli_args *args);
static int print_answer(struct app *app, const struct ident *id, const struct buf *json,
                        bool show_value);
static void print_value(const struct buf *json);
static void tell_failure(const json_t *task);
static void tell_error(const char *before, const json_t *error, bool with_traceback);

static const struct cli_option options[] = {
    { "wait", "[D]", "wait until it is final (at most D)", false }, { 0 }
};
const struct command command_result = {
    .name = "result",
    .usage = "ID [--wait [D]]",
    .summary = "print what a task returned",
    .details =
        "Prints the value alone, as JSON. A task that failed or was cancelled: its error on\n"
        "stderr, exit status 1. Not final yet: exit status 5.\n\n"
        "Examples:\n"
        "  ctutor-run result 01932c07-4a80-7c3e-9f5d-2b8a6e1f0c34 --wait 30s\n"
        "  ctutor-run result ID --json | jq .duration\n",
    .options = options,
    .run = run_result,
};

static int run_result(struct app *app, const struct cli_args *args)
{
    struct ident id;
    struct err err;
    struct wait_options wait = { .at_most_us = -1 };
    if (!cli_expect_words(&command_result, args, 1, 1, &err) ||
        !read_id(args->words[0], &id, &err) || !cli_wait(args, &wait.at_most_us, &err) ||
        !source_open(app, &err))
        return app_fail(app, &err);
    if (cli_has(args, "wait") && !wait_until_final(app, &id, &wait, &err))
        return app_fail(app, &err);
    return result_print(app, &id, true);
}

int result_print(struct app *app, const struct ident *id, bool show_value)
{
    struct await await = { 0 };
    struct err err;
    source_result(app, id, await_json, &await);
    int status = await_run(&app->loop, &await, &err)
                     ? print_answer(app, id, &await.json, show_value)
                     : app_fail(app, &err);
    await_close(&await);
    return status;
}

static int print_answer(struct app *app, const struct ident *id, const struct buf *json,
                        bool show_value)
{
    struct err err;
    char id_text[IDENT_TEXT_SIZE];
    ident_text(id, id_text);
    bool succeeded = slice_is(buf_text(json), json->len, "status", "SUCCESS");
    bool failed = slice_is(buf_text(json), json->len, "status", "FAILURE") ||
                  slice_is(buf_text(json), json->len, "status", "REVOKED");
    if (!json->len) {
        err_set(&err, ERR_NOT_FOUND, "there is no task %s", id_text);
        return app_fail(app, &err);
    }
    if (!succeeded && !failed) {
        err_set(&err, ERR_NOT_FINAL, "task %s is not final yet", id_text);
        return app_fail(app, &err);
    }
    if (app->json && show_value) {
        output_stream_line(json->data, json->len);
    } else if (succeeded && show_value) {
        print_value(json);
    }
    if (failed && !app->json) {
        json_t *task = params_load(json->data, json->len);
        tell_failure(task);
        json_decref(task);
    }
    return failed ? 1 : 0;
}

static void print_value(const struct buf *json)
{
    size_t len;
    const char *value = slice_member(json->data, json->len, "result", &len);
    output_stream_line(value ? value : "null", value ? len : 4);
}

static void tell_failure(const json_t *task)
{
    struct buf before = BUF_EMPTY;
    const json_t *errors = json_object_get(task, "errors"), *last = json_object_get(task, "error");
    size_t count = json_array_size(errors);
    for (size_t i = 0; i + 1 < count; i++) {
        const json_t *error = json_array_get(errors, i);
        buf_addf(&before, "attempt %lld", (long long)member_int(error, "attempt"));
        tell_error(buf_text(&before), error, false);
        buf_clear(&before);
    }
    buf_addf(&before, "%s %s", json_string_value(json_object_get(task, "task_name")),
             json_string_value(json_object_get(task, "status")));
    long long attempt = member_int(task, "attempt");
    if (attempt > 0) buf_addf(&before, ", attempt %lld", attempt);
    tell_error(buf_text(&before), last, true);
    buf_close(&before);
}

static void tell_error(const char *before, const json_t *error, bool with_traceback)
{
    const char *kind = json_string_value(json_object_get(error, "kind"));
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *traceback = json_string_value(json_object_get(error, "traceback"));
    const json_t *details = json_object_get(error, "details");
    output_note("%s: %s: %s", before, kind ? kind : "unknown", message ? message : "");
    if (with_traceback && traceback) output_plain_note("%s", traceback);
    if (!with_traceback || !details || json_is_null(details)) return;
    char *text = json_dumps(details, JSON_COMPACT | JSON_ENCODE_ANY);
    output_plain_note("details: %s", text);
    free(text);
}
