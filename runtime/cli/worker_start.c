/* worker_start.c: `worker start`. The flags that are settings were applied before it runs. */
#include <string.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "worker/supervisor.h"

#define NAME_MAX_LEN 128

static int run(struct app *app, const struct cli_args *args);
static bool check_name(const char *name, struct err *err);

static const struct cli_option options[] = {
    { "queues", "A,B", "queues to take tasks from, in this order", false },
    { "tasks-dir", "DIR", "folder of the task files", false },
    { "processes", "N", "runner processes; default: one per core", false },
    { "concurrency", "N", "tasks that one process runs at the same time", false },
    { "isolated", "N", "tasks in processes of their own at the same time; default: cores", false },
    { "grace", "D", "time that running tasks get to finish after SIGTERM", false },
    { "burst", NULL, "run what is due, then leave", false },
    { "name", "NAME", "name of this worker; default: host and process id", false },
    { 0 }
};

const struct command command_worker_start = {
    .name = "worker start",
    .usage = "",
    .summary = "run tasks in the foreground",
    .details = "This process is the supervisor: SIGTERM or Ctrl-C lets running tasks finish, a\n"
               "second one gives them back at once, SIGHUP loads the task files anew.\n\n"
               "Examples:\n"
               "  ctutor-run worker start --queues high_priority,default --processes 4\n"
               "  ctutor-run worker start --burst\n",
    .options = options,
    .run = run,
};

static int run(struct app *app, const struct cli_args *args)
{
    struct err err;
    if (!cli_expect_words(&command_worker_start, args, 0, 0, &err) ||
        !check_name(cli_value(args, "name"), &err) || !app_refuse_api(app, &err))
        return app_fail(app, &err);
    const struct supervisor_options supervisor = { .config = app->config,
                                                   .name = cli_value(args, "name"),
                                                   .burst = cli_has(args, "burst") };
    return supervisor_main(&supervisor);
}

/* It is typed again for `worker stop NAME`, and printed in tables and log lines. */
static bool check_name(const char *name, struct err *err)
{
    if (!name) return true;
    size_t len = strlen(name), plain = 0;
    while (plain < len && name[plain] > ' ' && name[plain] < 0x7F) plain++;
    bool is_good = len > 0 && len <= NAME_MAX_LEN && plain == len && name[0] != '-';
    return is_good ||
           err_set(err, ERR_INPUT,
                   "--name must be 1 to %d ASCII characters without blanks, the first one "
                   "not a -",
                   NAME_MAX_LEN);
}
