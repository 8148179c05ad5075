/* internal.c: the processes that a supervisor starts from its own program. Nobody types these. */
#include <limits.h>

#include "bindings/bindings.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "worker/checking.h"
#include "worker/runner.h"

static int run_runner(struct app *app, const struct cli_args *args);
static int run_checker(struct app *app, const struct cli_args *args);

const struct command command_internal_runner = {
    .name = "__runner",
    .usage = "",
    .summary = "one runner of a worker",
    .run = run_runner,
    .hidden = true,
    .offline = true,
};

const struct command command_internal_isolated = {
    .name = "__isolated",
    .usage = "",
    .summary = "a process of a worker for one task",
    .run = run_runner,
    .hidden = true,
    .offline = true,
};

const struct command command_internal_checker = {
    .name = "__checker",
    .usage = "DIR TIMEOUT_US [STUCK...]",
    .summary = "look through the task files aside",
    .run = run_checker,
    .hidden = true,
    .offline = true,
};

static int run_runner(struct app *app, const struct cli_args *args)
{
    (void)app, (void)args;
    return runner_main(binding_table, binding_count);
}

static int run_checker(struct app *app, const struct cli_args *args)
{
    struct err err;
    if (!cli_expect_words(&command_internal_checker, args, 2, INT_MAX, &err))
        return app_fail(app, &err);
    return checker_main((size_t)args->count, (const char *const *)args->words, binding_table,
                        binding_count);
}
