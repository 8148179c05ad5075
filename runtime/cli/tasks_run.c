/* tasks_run.c: `tasks run`: from the words of the command line to what local_run needs. The
 * parameters pass the same door as those of `submit`. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/local.h"
#include "cli/options.h"
#include "cli/parameters.h"
#include "lifecycle/door.h"
#include "task/suggest.h"

static int run(struct app *app, const struct cli_args *args);
static int run_task(struct app *app, const struct cli_args *args, struct local_tasks *tasks);
static bool find_entry(const struct local_tasks *tasks, const char *name,
                       struct catalogue_entry **out, struct err *err);
static bool explain_absent(const json_t *catalogue, const char *name, struct err *err);
static bool accept_parameters(struct app *app, const struct cli_args *args,
                              const struct catalogue_entry *entry, struct submission_box **out,
                              struct door_errors *errors, struct err *err);

static const struct cli_option options[] = {
    { "params", "JSON|@FILE|-", "all parameters as one JSON object", false },
    { "tasks-dir", "DIR", "folder of the task files", false },
    { 0 }
};

const struct command command_tasks_run = {
    .name = "tasks run",
    .usage = "NAME [key=text | key:=json | key=@FILE | key:=@FILE ...]",
    .summary = "run a task here, without servers",
    .details =
        "Makes one attempt in this process: no queue, no retries, no hooks. Progress and log\n"
        "go to stderr, the result to stdout as JSON. Parameters are written as for submit.\n"
        "Exit status 1 if the task fails.\n\n"
        "Examples:\n"
        "  ctutor-run tasks run my_simple_task message=hi count=2\n"
        "  ctutor-run tasks run grade --params @case.json\n",
    .options = options,
    .run = run,
};

static int run(struct app *app, const struct cli_args *args)
{
    struct err err;
    struct local_tasks tasks;
    if (args->count == 0) {
        err_set(&err, ERR_INPUT, "which task? usage: ctutor-run tasks run %s",
                command_tasks_run.usage);
        return app_fail(app, &err);
    }
    if (!local_open(app, config_text(app->config, SET_TASKS_DIR), &tasks, &err))
        return app_fail(app, &err);
    int status = run_task(app, args, &tasks);
    local_close(&tasks);
    return status;
}

static int run_task(struct app *app, const struct cli_args *args, struct local_tasks *tasks)
{
    struct err err;
    struct door_errors *errors = xcalloc(1, sizeof *errors);
    struct catalogue_entry *entry = NULL;
    struct submission_box *box = NULL;
    int status;
    if (!find_entry(tasks, args->words[0], &entry, &err) ||
        !accept_parameters(app, args, entry, &box, errors, &err))
        status = app_fail_fields(app, &err, errors->at, errors->count);
    else
        status = local_run(app, tasks, &box->submission);
    submission_box_free(box);
    catalogue_entry_free(entry);
    free(errors);
    return status;
}

static bool find_entry(const struct local_tasks *tasks, const char *name,
                       struct catalogue_entry **out, struct err *err)
{
    const struct buf *text = &tasks->outcome.catalogue;
    json_t *catalogue = json_loadb(text->data, text->len, 0, NULL), *entry;
    size_t index;
    char *found = NULL;
    json_array_foreach(json_object_get(catalogue, "entries"), index, entry)
    {
        const char *known = json_string_value(json_object_get(entry, "name"));
        if (!found && strcmp(known, name) == 0) found = json_dumps(entry, JSON_COMPACT);
    }
    bool good = found ? catalogue_entry_parse(found, strlen(found), out, err)
                      : explain_absent(catalogue, name, err);
    free(found);
    json_decref(catalogue);
    return good;
}

/* A file of that name that did not load is the reason; else the name was wrong. */
static bool explain_absent(const json_t *catalogue, const char *name, struct err *err)
{
    struct suggestion near = { .word = name };
    size_t index;
    json_t *item;
    json_array_foreach(json_object_get(catalogue, "entries"), index, item)
        suggest_consider(&near, json_string_value(json_object_get(item, "name")));
    size_t len = strlen(name);
    json_array_foreach(json_object_get(catalogue, "errors"), index, item)
    {
        const char *file = json_string_value(json_object_get(item, "file"));
        if (strncmp(file, name, len) == 0 && strcmp(file + len, ".lua") == 0)
            return err_set(err, ERR_IO, "%s", json_string_value(json_object_get(item, "error")));
    }
    if (near.nearest)
        return err_set(err, ERR_NOT_FOUND, "there is no task '%.130s': did you mean %s?", name,
                       near.nearest);
    return err_set(err, ERR_NOT_FOUND, "there is no task '%.130s': see ctutor-run tasks check",
                   name);
}

static bool accept_parameters(struct app *app, const struct cli_args *args,
                              const struct catalogue_entry *entry, struct submission_box **out,
                              struct door_errors *errors, struct err *err)
{
    json_t *parameters;
    if (!parameters_collect(entry->schema, args->count - 1, args->words + 1,
                            cli_value(args, "params"), &parameters, err))
        return false;
    json_t *body = json_pack("{s:o}", "parameters", parameters);
    bool good = door_check(entry, body, config_int(app->config, SET_MAX_PARAMS), app_actor(), out,
                           errors, err);
    json_decref(body);
    return good || err_set(err, ERR_INPUT, "%s is refused", entry->name);
}
