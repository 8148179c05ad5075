/* checker.h: reads tasks.d aside, loads every file under a deadline, says what became of each. Runs
 * in a process of its own (worker) or in `tasks check`.
 *
 * Only *.lua directly in the directory (no dot files), lib/ for require. Refused: a directory or
 * file that group or world may write (ERR_INPUT for the directory, a file error for a file),
 * symlinks out, fifos, devices, files over 1 MiB, bytecode. 2 s of loading a file. Two files of one
 * name: neither is taken, what served before goes on. A file that fails keeps its last good version
 * from `previous`. */
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "script/generation.h"
#include "script/snapshot.h"

struct check_outcome {
    struct snapshot snapshot; /* merged: what should serve from now on */
    /* JSON for ledger_catalogue_publish:
     * {"entries":[...],"errors":[{file,error}],"removed":[names]} */
    struct buf catalogue;
    /* JSON array for people: [{file, name, outcome: "loaded"|"unchanged"|"kept"|"failed"|"removed",
     * error, warnings:[...]}] in file order */
    struct buf report;
    size_t errors;
};
void check_outcome_close(struct check_outcome *outcome);
/* What a file sits in that calls one C function without end (string.find can) is for a process to
 * end: it is told which file it loads, and knows those that it was ended for. */
struct check_watch {
    const char *const *stuck;          /* NULL-terminated: not loaded, their error says so */
    void (*loading)(const char *file); /* before each file; NULL: none any more */
};
/* previous, watch may be NULL (first load; nobody watches). default_timeout_us: CTUTOR_TIMEOUT (-1:
 * none), for tasks without one. Only an unreadable directory is an error. */
MUSTUSE bool check_directory(const char *directory, const struct snapshot *previous,
                             const struct script_host *host, int64_t default_timeout_us,
                             const struct check_watch *watch, struct check_outcome *out,
                             struct err *err);
