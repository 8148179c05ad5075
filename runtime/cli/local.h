/* local.h: the task files of a folder, loaded into this process: no stores, no worker. */
#pragma once
#include "cli/app.h"
#include "script/checker.h"
#include "script/generation.h"

struct local_tasks {
    struct script_host host;
    struct check_outcome outcome;
};

/* Once per process; other threads may be about. run_directory (borrowed) may be NULL: then nothing
 * can be run, only looked at. */
MUSTUSE bool local_open(struct app *app, const char *directory, const char *run_directory,
                        struct local_tasks *out, struct err *err);
void local_close(struct local_tasks *tasks);
