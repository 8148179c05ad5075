/* queues.c: `queues`, `queues pause`, `queues resume`. */
#include <stdlib.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/source.h"
#include "cli/table.h"

static int run_queues(struct app *app, const struct cli_args *args);
static int run_pause(struct app *app, const struct cli_args *args);
static int run_resume(struct app *app, const struct cli_args *args);
static int set_paused(struct app *app, const struct cli_args *args, const struct command *command,
                      bool is_paused);
static void print_queues(struct app *app, const json_t *queues);

const struct command command_queues = {
    .name = "queues",
    .usage = "",
    .summary = "list the queues and what waits in them",
    .run = run_queues,
};
const struct command command_queues_pause = {
    .name = "queues pause",
    .usage = "QUEUE",
    .summary = "start nothing more from a queue",
    .details = "For every worker, and durable: it stays paused until it is resumed. Running tasks\n"
               "go on, new ones are accepted.\n\n"
               "Example:\n"
               "  ctutor-run queues pause low_priority\n",
    .run = run_pause,
};
const struct command command_queues_resume = {
    .name = "queues resume",
    .usage = "QUEUE",
    .summary = "start tasks from a paused queue again",
    .run = run_resume,
};

static int run_queues(struct app *app, const struct cli_args *args)
{
    struct err err;
    struct await await = { 0 };
    if (!cli_expect_words(&command_queues, args, 0, 0, &err) || !source_open(app, &err))
        return app_fail(app, &err);
    source_queues(app, await_json, &await);
    bool good = await_run(&app->loop, &await, &err);
    if (good && app->json) {
        output_line(&await.json);
    } else if (good) {
        json_t *root = params_load(buf_text(&await.json), await.json.len);
        print_queues(app, json_object_get(root, "queues"));
        json_decref(root);
    }
    await_close(&await);
    return good ? 0 : app_fail(app, &err);
}

static const struct table_column columns[] = {
    { "QUEUE", false, true },   { "WAITING", true, false }, { "DELAYED", true, false },
    { "RUNNING", true, false }, { "OLDEST", true, false },  { "WORKERS", true, false },
    { "STATE", false, false },
};

static void print_queues(struct app *app, const json_t *queues)
{
    static const char *const numbers[] = { "waiting", "delayed", "running" };
    struct table *table = table_new(columns, COUNT_OF(columns));
    struct buf out = BUF_EMPTY, cell = BUF_EMPTY;
    size_t index;
    json_t *queue;
    json_array_foreach((json_t *)(uintptr_t)queues, index, queue)
    {
        bool is_paused = json_is_true(json_object_get(queue, "paused"));
        double oldest = json_number_value(json_object_get(queue, "oldest_age"));
        long long workers = member_int(queue, "workers");
        table_cell(table, json_string_value(json_object_get(queue, "name")));
        for (size_t i = 0; i < COUNT_OF(numbers); i++) {
            buf_addf(&cell, "%lld", (long long)member_int(queue, numbers[i]));
            table_cell(table, buf_text(&cell));
            buf_clear(&cell);
        }
        if (oldest > 0) output_add_span(&cell, (int64_t)(oldest * 1e6));
        table_cell(table, buf_text(&cell));
        buf_clear(&cell);
        buf_addf(&cell, "%lld", workers);
        table_cell_colour(table, buf_text(&cell), workers ? NULL : "33");
        table_cell_colour(table, is_paused ? "paused" : "open", is_paused ? "33" : NULL);
        buf_clear(&cell);
    }
    table_print(table, output_width(STDOUT_FILENO), app->colour, &out);
    output_text(&out);
    table_free(table);
    buf_close(&cell);
    buf_close(&out);
}

static int run_pause(struct app *app, const struct cli_args *args)
{
    return set_paused(app, args, &command_queues_pause, true);
}

static int run_resume(struct app *app, const struct cli_args *args)
{
    return set_paused(app, args, &command_queues_resume, false);
}

static int set_paused(struct app *app, const struct cli_args *args, const struct command *command,
                      bool is_paused)
{
    struct err err;
    if (!cli_expect_words(command, args, 1, 1, &err)) return app_fail(app, &err);
    const char *queue = args->words[0];
    if (!queue_name_is_valid(queue)) {
        err_set(&err, ERR_INPUT, "'%.100s' is no queue: 1 to 64 characters out of a-z 0-9 _ . -",
                queue);
        return app_fail(app, &err);
    }
    if (!source_open(app, &err) || !source_pause(app, queue, is_paused, &err))
        return app_fail(app, &err);
    struct buf out = BUF_EMPTY;
    struct jsonw w;
    jsonw_init(&w, &out);
    if (app->json) {
        jsonw_object(&w);
        jsonw_key_text(&w, "name", queue);
        jsonw_key_bool(&w, "paused", is_paused);
        jsonw_object_end(&w);
    } else {
        buf_addf(&out, "%s is %s", queue, is_paused ? "paused" : "open");
    }
    output_line(&out);
    buf_close(&out);
    return 0;
}
