/* worker_control.c: `worker reload` and `worker stop`, for workers of any machine. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/source.h"
#include "cli/table.h"

static int run_reload(struct app *app, const struct cli_args *args);
static int run_stop(struct app *app, const struct cli_args *args);
static int run(struct app *app, const struct cli_args *args, const char *verb, bool is_here);
static bool check_names(const struct cli_args *args, struct err *err);
static bool tell_missing(const struct cli_args *args, const json_t *answers);
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
    return run(app, args, "reload", false);
}

static int run_stop(struct app *app, const struct cli_args *args)
{
    return run(app, args, "stop", true);
}

static int run(struct app *app, const struct cli_args *args, const char *verb, bool is_here)
{
    struct err err;
    json_t *answers = NULL;
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    const char **names = xcalloc((size_t)args->count + 1, sizeof *names);
    for (int i = 0; i < args->count; i++) names[i] = args->words[i];
    bool good = check_names(args, &err) &&
                (is_here ? app_open_stores(app, &err) : source_open(app, &err)) &&
                source_control(app, verb, args->count ? names : NULL, host, cli_has(args, "all"),
                               &answers, &err);
    free(names);
    bool is_missing = good && tell_missing(args, answers);
    if (good && json_array_size(answers) == 0)
        good = err_set(&err, ERR_NOT_FOUND, "no worker to %s: see ctutor-run workers", verb);
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

/* true: a name was given that nobody has who was told. */
static bool tell_missing(const struct cli_args *args, const json_t *answers)
{
    bool is_missing = false;
    for (int i = 0; !cli_has(args, "all") && i < args->count; i++) {
        bool is_told = false;
        size_t index;
        json_t *answer;
        json_array_foreach((json_t *)(uintptr_t)answers, index, answer) is_told =
            is_told || strcmp(member_text(answer, "worker"), args->words[i]) == 0;
        if (is_told) continue;
        output_note("%s is not alive", args->words[i]);
        is_missing = true;
    }
    return is_missing;
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
