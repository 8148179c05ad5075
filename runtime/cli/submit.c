/* submit.c: `submit` of one task.
 *
 * The id is made here before anything is sent, so a submit whose outcome stayed unknown can be
 * repeated. Whether a worker takes the queue is asked in the same breath and only warned of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/entry.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/parameters.h"
#include "cli/result.h"
#include "cli/submit_bulk.h"
#include "cli/submit_options.h"
#include "cli/wait.h"
#include "lifecycle/submit_answer.h"

#define BROKER_WAIT_US INT64_C(200000)

/* One submit under way. */
struct sending {
    struct submit_answer answer;
    struct await await;
    struct ident id;
    char queue[QUEUE_NAME_MAX + 1];
};

static int run_submit(struct app *app, const struct cli_args *args);
static bool check(struct app *app, const struct cli_args *args, struct submission_box **out,
                  struct door_errors *errors, struct err *err);
static bool send_box(struct app *app, struct submission_box *takes_box, struct sending *sending,
                     struct buf *warning, struct err *err);
static void on_submitted(void *arg, const struct submit_answer *answer, const struct err *err);
static bool is_queue_served(const struct buf *workers, const char *queue);
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
    struct submission_box *box = NULL;
    struct door_errors *errors = xcalloc(1, sizeof *errors);
    struct sending sending = { 0 };
    struct buf warning = BUF_EMPTY, out = BUF_EMPTY;
    int status = 0;
    if (cli_has(args, "bulk")) {
        status = submit_bulk(app, args);
    } else if (!check(app, args, &box, errors, &err)) {
        status = app_fail_fields(app, &err, errors->at, errors->count);
    } else if (!send_box(app, box, &sending, &warning, &err)) {
        status = app_fail(app, &err);
    } else if (cli_has(args, "wait")) {
        status = wait_for_result(app, args, &sending.answer.id);
    } else if (app->json) {
        submit_answer_json(&out, &sending.answer, warning.len ? buf_text(&warning) : NULL);
        output_line(&out);
    } else {
        char text[IDENT_TEXT_SIZE];
        ident_text(&sending.answer.id, text);
        output_stream_line(text, strlen(text));
    }
    free(errors);
    buf_close(&warning);
    buf_close(&out);
    return status;
}

/* errors stays empty when something else than a field was wrong. gives *out */
static bool check(struct app *app, const struct cli_args *args, struct submission_box **out,
                  struct door_errors *errors, struct err *err)
{
    struct catalogue_entry *entry = NULL;
    json_t *parameters = NULL, *body = NULL;
    int64_t ignored_us;
    if (args->count == 0)
        return err_set(err, ERR_INPUT, "which task? usage: ctutor-run submit %s",
                       command_submit.usage);
    if (!cli_wait(args, &ignored_us, err)) return false;
    if (!app_open_stores(app, err)) return false;
    if (cli_has(args, "wait")) broker_listen(app->broker, BROKER_EVENTS); /* miss nothing */
    bool good = entry_find(app, args->words[0], &entry, err) &&
                parameters_collect(entry->schema, args->count - 1, args->words + 1,
                                   cli_value(args, "params"), &parameters, err) &&
                submit_body(args, entry->name, parameters, &body, err);
    good = good && door_check(entry, body, config_int(app->config, SET_MAX_PARAMS), app_actor(),
                              out, errors, err);
    json_decref(body);
    catalogue_entry_free(entry);
    return good;
}

static bool send_box(struct app *app, struct submission_box *takes_box, struct sending *sending,
                     struct buf *warning, struct err *err)
{
    struct await workers = { 0 };
    struct err failure = { 0 };
    sending->id = takes_box->submission.id;
    snprintf(sending->queue, sizeof sending->queue, "%s", takes_box->submission.queue);
    app_wait_broker(app, BROKER_WAIT_US);
    struct submitter *submitter = submitter_new(&app->loop, app->ledger, app->broker);
    submit_task(submitter, takes_box, on_submitted, sending);
    ledger_workers(app->ledger, await_json, &workers);
    bool good = await_run(&app->loop, &sending->await, &failure);
    good = submit_answer_is_good(&sending->answer, good ? NULL : &failure, &sending->id,
                                 config_int(app->config, SET_MAX_WAITING), err);
    bool is_known = await_run(&app->loop, &workers, NULL);
    app_flush_broker(app);
    submitter_free(submitter);
    bool is_new = good && sending->answer.verdict == INSERT_NEW;
    if (is_new && is_known && !is_queue_served(&workers.json, sending->queue))
        buf_addf(warning, "no live worker takes the queue %s", sending->queue);
    if (warning->len) output_note("warning: %s", buf_text(warning));
    if (is_new && sending->answer.deferred)
        output_note("warning: Redis is away; the task is accepted and is handed out later");
    if (good && !is_new && !app->json) output_note("it was submitted before: this is its id");
    await_close(&workers);
    return good;
}

static void on_submitted(void *arg, const struct submit_answer *answer, const struct err *err)
{
    struct sending *sending = arg;
    if (answer) sending->answer = *answer;
    await_done(&sending->await, 0, false, err);
}

static bool is_queue_served(const struct buf *workers, const char *queue)
{
    json_t *root = params_load(buf_text(workers), workers->len), *worker, *name;
    size_t i, j;
    bool is_served = false;
    json_array_foreach(json_object_get(root, "workers"), i, worker)
    {
        json_array_foreach(json_object_get(worker, "queues"), j, name)
        {
            is_served = is_served || strcmp(json_string_value(name), queue) == 0;
        }
    }
    json_decref(root);
    return is_served;
}

static int wait_for_result(struct app *app, const struct cli_args *args, const struct ident *id)
{
    struct wait_options wait = { .tells_id = true, .at_most_us = -1 };
    struct err err;
    if (!cli_wait(args, &wait.at_most_us, &err) || !wait_until_final(app, id, &wait, &err))
        return app_fail(app, &err);
    return result_print(app, id, true);
}
