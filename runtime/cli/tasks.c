/* tasks.c: `tasks` and `tasks show`: the catalogue, as the workers' newest load defined it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/entry.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/source.h"
#include "cli/table.h"

static int run_tasks(struct app *app, const struct cli_args *args);
static int run_show(struct app *app, const struct cli_args *args);
static void print_tasks(struct app *app, const json_t *all);
static void add_task(struct table *table, const json_t *task);
static void tell_load_errors(const json_t *all);
static void print_task(struct app *app, const json_t *task);
static void print_parameters(struct app *app, const json_t *schema);
static void describe(struct buf *out, const json_t *words);
static void add_retries(struct buf *out, const json_t *retries);
static void add_isolation(struct buf *out, const json_t *task);
static void add_duration(struct buf *out, const json_t *seconds);
static void add_field(struct buf *out, const char *label, const char *text);

const struct command command_tasks = {
    .name = "tasks",
    .usage = "",
    .summary = "list the tasks that can be submitted",
    .details = "Also shows files that could not be loaded, and why.\n",
    .run = run_tasks,
};
const struct command command_tasks_show = {
    .name = "tasks show",
    .usage = "NAME",
    .summary = "show one task and its parameters",
    .details = "Example:\n"
               "  ctutor-run tasks show my_simple_task\n",
    .run = run_show,
};

static int run_tasks(struct app *app, const struct cli_args *args)
{
    struct err err;
    struct await await = { 0 };
    if (args->count > 0) {
        err_set(&err, ERR_INPUT, "tasks has no verb '%.60s': did you mean tasks show %.60s?",
                args->words[0], args->words[0]);
        return app_fail(app, &err);
    }
    if (!source_open(app, &err)) return app_fail(app, &err);
    source_types(app, NULL, await_json, &await);
    bool good = await_run(&app->loop, &await, &err);
    if (good && app->json) {
        output_line(&await.json);
    } else if (good) {
        json_t *all = params_load(buf_text(&await.json), await.json.len);
        print_tasks(app, all);
        json_decref(all);
    }
    await_close(&await);
    return good ? 0 : app_fail(app, &err);
}

static const struct table_column columns[] = {
    { "NAME", false, false },   { "QUEUE", false, false },  { "TIMEOUT", true, false },
    { "RETRIES", true, false }, { "WORKERS", true, false }, { "SUMMARY", false, true },
};

static void print_tasks(struct app *app, const json_t *all)
{
    struct table *table = table_new(columns, COUNT_OF(columns));
    struct buf out = BUF_EMPTY;
    size_t index, shown = 0;
    json_t *task;
    json_array_foreach((json_t *)(uintptr_t)all, index, task)
    {
        if (!json_is_object(json_object_get(task, "parameters"))) continue;
        add_task(table, task);
        shown++;
    }
    if (shown) table_print(table, output_width(STDOUT_FILENO), app->colour, &out);
    output_text(&out);
    table_free(table);
    buf_close(&out);
    if (!shown) output_plain_note("no tasks: a worker has to load some first");
    tell_load_errors(all);
}

static void add_task(struct table *table, const json_t *task)
{
    struct buf cell = BUF_EMPTY;
    const json_t *timeout = json_object_get(task, "timeout");
    const json_t *retries = json_object_get(json_object_get(task, "retries"), "max");
    const char *queue = member_text(task, "queue");
    size_t workers = json_array_size(json_object_get(task, "workers"));
    table_cell(table, member_text(task, "name"));
    table_cell(table, *queue ? queue : "by priority");
    if (json_is_number(timeout)) add_duration(&cell, timeout);
    table_cell(table, buf_text(&cell));
    buf_clear(&cell);
    buf_addf(&cell, "%lld", (long long)json_integer_value(retries));
    table_cell(table, buf_text(&cell));
    buf_clear(&cell);
    buf_addf(&cell, "%zu", workers);
    table_cell_colour(table, buf_text(&cell), workers ? NULL : "33");
    table_cell(table, member_text(task, "summary"));
    buf_close(&cell);
}

static void tell_load_errors(const json_t *all)
{
    size_t index;
    json_t *task;
    json_array_foreach((json_t *)(uintptr_t)all, index, task)
    {
        const char *error = member_text(task, "error");
        if (*error) output_note("%s is not loaded: %s", member_text(task, "file"), error);
    }
}

static int run_show(struct app *app, const struct cli_args *args)
{
    struct err err;
    struct await await = { 0 };
    if (!cli_expect_words(&command_tasks_show, args, 1, 1, &err) || !source_open(app, &err))
        return app_fail(app, &err);
    if (!task_name_is_valid(args->words[0])) {
        (void)entry_explain_unknown(app, args->words[0], &err);
        return app_fail(app, &err);
    }
    source_types(app, args->words[0], await_json, &await);
    bool good = await_run(&app->loop, &await, &err);
    json_t *all = params_load(buf_text(&await.json), await.json.len);
    if (good && json_array_size(all) == 0) good = entry_explain_unknown(app, args->words[0], &err);
    if (good && app->json) {
        char *text = json_dumps(json_array_get(all, 0), JSON_COMPACT);
        output_stream_line(text, strlen(text));
        free(text);
    } else if (good) {
        print_task(app, json_array_get(all, 0));
        tell_load_errors(all);
    }
    json_decref(all);
    await_close(&await);
    return good ? 0 : app_fail(app, &err);
}

static void print_task(struct app *app, const json_t *task)
{
    struct buf out = BUF_EMPTY, text = BUF_EMPTY;
    const json_t *timeout = json_object_get(task, "timeout"), *workers, *worker;
    const char *queue = member_text(task, "queue");
    size_t index;
    add_field(&out, "name", member_text(task, "name"));
    add_field(&out, "summary", member_text(task, "summary"));
    add_field(&out, "file", member_text(task, "file"));
    add_field(&out, "queue", *queue ? queue : "by priority");
    buf_addf(&text, "%lld", (long long)json_integer_value(json_object_get(task, "priority")));
    add_field(&out, "priority", buf_text(&text));
    buf_clear(&text);
    if (json_is_number(timeout)) add_duration(&text, timeout);
    add_field(&out, "timeout", text.len ? buf_text(&text) : "none");
    buf_clear(&text);
    add_retries(&text, json_object_get(task, "retries"));
    add_field(&out, "retries", buf_text(&text));
    buf_clear(&text);
    add_isolation(&text, task);
    add_field(&out, "process", buf_text(&text));
    buf_clear(&text);
    workers = json_object_get(task, "workers");
    json_array_foreach((json_t *)(uintptr_t)workers, index, worker)
        buf_addf(&text, "%s%s", index ? ", " : "", json_string_value(worker));
    add_field(&out, "workers", text.len ? buf_text(&text) : "none");
    output_text(&out);
    buf_close(&text);
    buf_close(&out);
    print_parameters(app, json_object_get(task, "parameters"));
}

static const struct table_column parameter_columns[] = {
    { "PARAMETER", false, false },
    { "TYPE", false, true },
    { "GIVEN", false, false },
    { "MEANING", false, true },
};

static void print_parameters(struct app *app, const json_t *schema)
{
    struct table *table = table_new(parameter_columns, COUNT_OF(parameter_columns));
    struct buf out = BUF_EMPTY, meaning = BUF_EMPTY;
    const char *name;
    json_t *words, *properties = json_object_get(schema, "properties"), *needed;
    json_object_foreach(properties, name, words)
    {
        bool is_needed = false;
        size_t index;
        json_array_foreach(json_object_get(schema, "required"), index, needed) is_needed =
            is_needed || (json_is_string(needed) && strcmp(json_string_value(needed), name) == 0);
        const json_t *type = json_object_get(words, "type");
        char *types = json_is_array(type) ? json_dumps(type, JSON_COMPACT) : NULL;
        describe(&meaning, words);
        table_cell(table, name);
        table_cell(table, types ? types : json_is_string(type) ? json_string_value(type) : "any");
        table_cell(table, is_needed ? "required" : "optional");
        table_cell(table, buf_text(&meaning));
        buf_clear(&meaning);
        free(types);
    }
    if (json_object_size(properties)) {
        buf_add_char(&out, '\n');
        table_print(table, output_width(STDOUT_FILENO), app->colour, &out);
    }
    output_text(&out);
    table_free(table);
    buf_close(&meaning);
    buf_close(&out);
}

/* The description first, then all other words of the schema as they are. */
static void describe(struct buf *out, const json_t *words)
{
    const char *word, *description = member_text(words, "description");
    json_t *value;
    buf_add_text(out, description);
    json_object_foreach((json_t *)(uintptr_t)words, word, value)
    {
        if (strcmp(word, "type") == 0 || strcmp(word, "description") == 0) continue;
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        const char *shown = strcmp(word, "writeOnly") == 0 ? "secret" : word;
        buf_addf(out, "%s%s %s", out->len ? "; " : "", shown, text);
        free(text);
    }
}

static void add_retries(struct buf *out, const json_t *retries)
{
    long long most = json_integer_value(json_object_get(retries, "max"));
    buf_addf(out, "%lld", most);
    if (!most) return;
    buf_addf(out, ", %s back-off from ", member_text(retries, "backoff"));
    add_duration(out, json_object_get(retries, "base"));
    buf_add_text(out, " to ");
    add_duration(out, json_object_get(retries, "cap"));
    if (json_is_true(json_object_get(retries, "jitter"))) buf_add_text(out, ", jitter");
}

static void add_isolation(struct buf *out, const json_t *task)
{
    long long memory = json_integer_value(json_object_get(task, "memory"));
    if (!json_is_true(json_object_get(task, "isolate"))) return;
    buf_add_text(out, "one for each run");
    if (memory) buf_addf(out, ", %lld MiB of memory", memory >> 20);
}

/* As a task file would write it. */
static void add_duration(struct buf *out, const json_t *seconds)
{
    char *text = duration_text(llround(json_number_value(seconds) * 1e6));
    buf_add_text(out, text);
    free(text);
}

static void add_field(struct buf *out, const char *label, const char *text)
{
    if (!*text) return;
    buf_addf(out, "%-10s ", label);
    output_add_clean(out, text, strlen(text), true);
    buf_add_char(out, '\n');
}
