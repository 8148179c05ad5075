/* worker_control.c: `worker reload` and `worker stop`, for workers of any machine: a request in the
 * ledger, an answer of each worker. A NOTIFY says when to look; once a second we look anyway. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/table.h"

#define ANSWER_MOST_US INT64_C(60000000)
#define LOOK_EVERY_US  INT64_C(1000000)

static int run_reload(struct app *app, const struct cli_args *args);
static int run_stop(struct app *app, const struct cli_args *args);
static int run(struct app *app, const struct cli_args *args, const char *verb);
static bool check_names(const struct cli_args *args, struct err *err);
static bool ask(struct app *app, const struct cli_args *args, const char *verb,
                const struct ident *request, bool *is_missing, struct err *err);
static bool wait_for_answers(struct app *app, const struct ident *request, json_t **out,
                             struct err *err);
static bool are_complete(const json_t *answers);
static int print_answers(struct app *app, const json_t *answers);
static bool add_answer(struct table *table, const json_t *answer);

static const struct cli_option options[] = { { "all", NULL, "the workers of all machines", false },
                                             { 0 } };
const struct command command_worker_reload = {
    .name = "worker reload",
    .usage = "[NAME... | --all]",
    .summary = "load the task files anew",
    .details =
        "Prints what became of every file; exit status 1 when one has an error (then its old\n"
        "version goes on). Without a name: the workers of this machine.\n",
    .options = options,
    .run = run_reload,
};
const struct command command_worker_stop = {
    .name = "worker stop",
    .usage = "[NAME... | --all]",
    .summary = "let workers finish what runs and end",
    .details =
        "What does not finish within their grace is given back and runs elsewhere. Without a\n"
        "name: the workers of this machine.\n",
    .options = options,
    .run = run_stop,
};

static int run_reload(struct app *app, const struct cli_args *args)
{
    return run(app, args, "reload");
}

static int run_stop(struct app *app, const struct cli_args *args) { return run(app, args, "stop"); }

static int run(struct app *app, const struct cli_args *args, const char *verb)
{
    struct err err;
    struct ident request = ident_random();
    json_t *answers = NULL;
    bool is_missing = false;
    bool good = check_names(args, &err) && app_open_stores(app, &err);
    if (good) ledger_listen(app->ledger);
    good = good && ask(app, args, verb, &request, &is_missing, &err) &&
           wait_for_answers(app, &request, &answers, &err);
    int status = good ? print_answers(app, answers) : app_fail(app, &err);
    json_decref(answers);
    return status || !is_missing ? status : err_exit_status(ERR_NOT_FOUND);
}

static bool check_names(const struct cli_args *args, struct err *err)
{
    for (int i = 0; i < args->count; i++)
        if (!utf8_is_valid(args->words[i], strlen(args->words[i])))
            return err_set(err, ERR_INPUT, "'%.60s' is not valid UTF-8", args->words[i]);
    return true;
}

static bool ask(struct app *app, const struct cli_args *args, const char *verb,
                const struct ident *request, bool *is_missing, struct err *err)
{
    struct await await = { 0 };
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    const char **names = xcalloc((size_t)args->count + 1, sizeof *names);
    for (int i = 0; i < args->count; i++) names[i] = args->words[i];
    ledger_control_request(app->ledger, request, verb, args->count ? names : NULL, host,
                           cli_has(args, "all"), app_actor(), await_json, &await);
    bool good = await_run(&app->loop, &await, err);
    free(names);
    json_t *told = params_load(buf_text(&await.json), await.json.len);
    size_t count = json_array_size(told), index;
    for (int i = 0; good && !cli_has(args, "all") && i < args->count; i++) {
        bool is_told = false;
        json_t *name;
        json_array_foreach(told, index, name) is_told =
            is_told || strcmp(json_string_value(name), args->words[i]) == 0;
        if (is_told) continue;
        output_note("%s is not alive", args->words[i]);
        *is_missing = true;
    }
    json_decref(told);
    await_close(&await);
    if (good && count == 0)
        return err_set(err, ERR_NOT_FOUND, "no worker to %s: see ctutor-run workers", verb);
    return good;
}

struct answers_wait {
    struct timer tick;
    bool is_news, is_closed;
};

static void on_control(void *arg) { ((struct answers_wait *)arg)->is_news = true; }

static void on_tick(struct timer *timer)
{
    container_of(timer, struct answers_wait, tick)->is_news = true;
}

static void on_tick_closed(struct timer *timer)
{
    container_of(timer, struct answers_wait, tick)->is_closed = true;
}

/* gives *out: what there is when all have answered, or it took too long */
static bool wait_for_answers(struct app *app, const struct ident *request, json_t **out,
                             struct err *err)
{
    struct answers_wait wait = { 0 };
    struct await await = { 0 };
    int64_t until_us = clock_boot_us() + ANSWER_MOST_US;
    bool good = true, is_over = false;
    app->news = (struct app_news){ .arg = &wait, .control = on_control };
    timer_init(&app->loop, &wait.tick, on_tick);
    while (good && !is_over) {
        wait.is_news = false;
        ledger_control_read(app->ledger, request, await_json, &await);
        good = await_run(&app->loop, &await, err);
        json_decref(*out);
        *out = params_load(buf_text(&await.json), await.json.len);
        is_over = are_complete(*out) || clock_boot_us() > until_us;
        timer_start(&wait.tick, LOOK_EVERY_US);
        while (good && !is_over && !wait.is_news) loop_turn(&app->loop, true);
    }
    app->news = (struct app_news){ 0 };
    timer_close(&wait.tick, on_tick_closed);
    while (!wait.is_closed) loop_turn(&app->loop, true);
    await_close(&await);
    return good;
}

static bool are_complete(const json_t *answers)
{
    size_t index;
    json_t *answer;
    json_array_foreach((json_t *)(uintptr_t)answers, index, answer)
    {
        if (json_is_null(json_object_get(answer, "answer"))) return false;
    }
    return true;
}

static const struct table_column columns[] = {
    { "WORKER", false, true },
    { "FILE", false, true },
    { "OUTCOME", false, false },
    { "ERROR", false, false },
};

static int print_answers(struct app *app, const json_t *answers)
{
    struct table *table = table_new(columns, COUNT_OF(columns));
    struct buf out = BUF_EMPTY;
    bool good = true;
    size_t index;
    json_t *answer;
    json_array_foreach((json_t *)(uintptr_t)answers, index, answer) good =
        add_answer(table, answer) && good;
    if (app->json) {
        char *text = json_dumps(answers, JSON_COMPACT);
        output_stream_line(text, strlen(text));
        free(text);
    } else {
        table_print(table, output_width(STDOUT_FILENO), app->colour, &out);
        output_text(&out);
    }
    table_free(table);
    buf_close(&out);
    return good ? 0 : 1;
}

static bool add_row(struct table *table, const char *worker, const char *file, const char *outcome,
                    const char *error)
{
    bool is_bad = error && *error;
    table_cell(table, worker);
    table_cell(table, file);
    table_cell_colour(table, outcome, is_bad ? "31" : NULL);
    table_cell(table, error);
    return !is_bad;
}

/* {"stopping":true} or {"error", "files": [{file, outcome, error}]} or null */
static bool add_answer(struct table *table, const json_t *answer)
{
    const char *worker = json_string_value(json_object_get(answer, "worker"));
    const json_t *said = json_object_get(answer, "answer"), *file;
    const char *error = json_string_value(json_object_get(said, "error"));
    size_t index;
    if (!json_is_object(said)) return add_row(table, worker, NULL, "silent", "it did not answer");
    if (json_is_true(json_object_get(said, "stopping")))
        return add_row(table, worker, NULL, "stopping", NULL);
    bool good = true;
    json_array_foreach(json_object_get(said, "files"), index, file)
    {
        good = add_row(table, worker, json_string_value(json_object_get(file, "file")),
                       json_string_value(json_object_get(file, "outcome")),
                       json_string_value(json_object_get(file, "error"))) &&
               good;
    }
    if (error) return add_row(table, worker, NULL, "failed", error);
    return good;
}
