/* local.h: task files used in this process: no stores, no worker. */
#pragma once
#include "cli/app.h"
#include "script/checker.h"
#include "script/generation.h"

struct local_tasks {
    struct script_host host;
    struct check_outcome outcome;
};

/* Loads the files of a folder. Once per process. */
MUSTUSE bool local_open(struct app *app, const char *directory, struct local_tasks *out,
                        struct err *err);
void local_close(struct local_tasks *tasks);

/* One attempt of a task among them, with its progress and log on stderr and what came of it on
 * stdout. Returns the exit status: 0, 1 failed, 130 interrupted. (local_run.c) */
int local_run(struct app *app, struct local_tasks *tasks, const struct submission *submission);
