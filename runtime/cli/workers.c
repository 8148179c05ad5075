/* workers.c: `workers` and `worker status`. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/source.h"
#include "cli/table.h"

static int run_workers(struct app *app, const struct cli_args *args);
static int run_status(struct app *app, const struct cli_args *args);
static bool is_chosen(const struct cli_args *args, const json_t *worker, const char *host);
static bool tell_missing(const struct cli_args *args, const json_t *workers);
static void print_workers(struct app *app, json_t *takes_workers);
static void add_worker(struct table *table, const json_t *worker);

static const struct cli_option status_options[] = {
    { "all", NULL, "the workers of all machines", false }, { 0 }
};
const struct command command_workers = {
    .name = "workers",
    .usage = "",
    .summary = "list the living workers of all machines",
    .run = run_workers,
};
const struct command command_worker_status = {
    .name = "worker status",
    .usage = "[NAME... | --all]",
    .summary = "are the workers of this machine alive?",
    .details = "Exit status 1 when none of them lives, or one of the named ones does not.\n",
    .options = status_options,
    .run = run_status,
};

static bool ask(struct app *app, json_t **out, struct err *err)
{
    struct await await = { 0 };
    if (!source_open(app, err)) return false;
    source_workers(app, await_json, &await);
    bool good = await_run(&app->loop, &await, err);
    json_t *root = params_load(buf_text(&await.json), await.json.len);
    *out = json_incref(json_object_get(root, "workers"));
    json_decref(root);
    await_close(&await);
    return good;
}

static int run_workers(struct app *app, const struct cli_args *args)
{
    struct err err;
    json_t *workers;
    if (!cli_expect_words(&command_workers, args, 0, 0, &err) || !ask(app, &workers, &err))
        return app_fail(app, &err);
    print_workers(app, workers);
    return 0;
}

static int run_status(struct app *app, const struct cli_args *args)
{
    struct err err;
    json_t *workers = NULL, *chosen = json_array(), *worker;
    size_t index;
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    if (!ask(app, &workers, &err)) {
        json_decref(chosen);
        return app_fail(app, &err);
    }
    json_array_foreach(workers, index, worker)
    {
        if (is_chosen(args, worker, host)) json_array_append(chosen, worker);
    }
    json_decref(workers);
    bool is_none = json_array_size(chosen) == 0;
    bool is_told = tell_missing(args, chosen);
    if (is_none && is_told && !app->json)
        json_decref(chosen);
    else
        print_workers(app, chosen);
    return is_none || is_told ? 1 : 0;
}

static bool is_chosen(const struct cli_args *args, const json_t *worker, const char *host)
{
    const char *name = member_text(worker, "name");
    if (cli_has(args, "all")) return true;
    for (int i = 0; i < args->count; i++)
        if (strcmp(args->words[i], name) == 0) return true;
    const char *of = json_string_value(json_object_get(worker, "host"));
    return args->count == 0 && of && strcmp(of, host) == 0;
}

/* true: a name was given that none of them has */
static bool tell_missing(const struct cli_args *args, const json_t *workers)
{
    bool is_missing = false;
    for (int i = 0; i < args->count; i++) {
        bool is_there = false;
        size_t index;
        json_t *worker;
        json_array_foreach((json_t *)(uintptr_t)workers, index, worker)
        {
            const char *name = member_text(worker, "name");
            is_there = is_there || strcmp(name, args->words[i]) == 0;
        }
        if (is_there) continue;
        output_note("%s is not alive", args->words[i]);
        is_missing = true;
    }
    return is_missing;
}

static const struct table_column columns[] = {
    { "WORKER", false, true }, { "HOST", false, true },    { "PID", true, false },
    { "UP", true, false },     { "RUNNING", true, false }, { "RATE/S", true, false },
    { "MEMORY", true, false }, { "LAG", true, false },     { "VERSION", false, true },
    { "QUEUES", false, true },
};

static void print_workers(struct app *app, json_t *takes_workers)
{
    struct buf out = BUF_EMPTY;
    if (app->json) {
        json_t *root = json_pack("{sO}", "workers", takes_workers);
        char *text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(15));
        output_stream_line(text, strlen(text));
        free(text);
        json_decref(root);
    } else if (json_array_size(takes_workers) == 0) {
        output_plain_note("no worker is alive");
    } else {
        struct table *table = table_new(columns, COUNT_OF(columns));
        size_t index;
        json_t *worker;
        json_array_foreach(takes_workers, index, worker) add_worker(table, worker);
        table_print(table, output_width(STDOUT_FILENO), app->colour, &out);
        output_text(&out);
        table_free(table);
    }
    json_decref(takes_workers);
    buf_close(&out);
}

static void add_number(struct table *table, const char *format_as, double value)
{
    struct buf cell = BUF_EMPTY;
    if (strcmp(format_as, "bytes") == 0)
        buf_addf(&cell, "%.0fM", value / (1024 * 1024));
    else if (strcmp(format_as, "seconds") == 0)
        buf_addf(&cell, "%.0fms", value * 1000);
    else
        buf_addf(&cell, "%.*f", value < 10 && value > 0 ? 1 : 0, value);
    table_cell(table, buf_text(&cell));
    buf_close(&cell);
}

static void add_worker(struct table *table, const json_t *worker)
{
    struct buf cell = BUF_EMPTY;
    int64_t since_us;
    size_t index;
    json_t *queue;
    const char *started = json_string_value(json_object_get(worker, "started_at"));
    table_cell(table, json_string_value(json_object_get(worker, "name")));
    table_cell(table, json_string_value(json_object_get(worker, "host")));
    buf_addf(&cell, "%lld", (long long)member_int(worker, "pid"));
    table_cell(table, buf_text(&cell));
    buf_clear(&cell);
    if (started && time_parse(started, &since_us, NULL) && clock_wall_us() > since_us)
        output_add_span(&cell, clock_wall_us() - since_us);
    table_cell(table, buf_text(&cell));
    buf_clear(&cell);
    buf_addf(&cell, "%lld", (long long)member_int(worker, "running"));
    table_cell(table, buf_text(&cell));
    buf_clear(&cell);
    add_number(table, "rate", json_number_value(json_object_get(worker, "rate")));
    add_number(table, "bytes", json_number_value(json_object_get(worker, "memory")));
    add_number(table, "seconds", json_number_value(json_object_get(worker, "loop_lag")));
    table_cell(table, json_string_value(json_object_get(worker, "version")));
    json_array_foreach(json_object_get(worker, "queues"), index, queue)
        buf_addf(&cell, "%s%s", index ? "," : "", json_string_value(queue));
    table_cell(table, buf_text(&cell));
    buf_close(&cell);
}
