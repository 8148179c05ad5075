/* program.h: one subprocess with everything it starts, from its pipes to the death of the last
 * descendant.
 *
 * Knows nothing of Lua. Loop thread only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "io/proc.h"
#include "loop/loop.h"

struct program_spec {                   /* borrowed for program_start only */
    const struct proc_options *options; /* fds are set by program_start */
    const char *marker;                 /* of the run: "CTUTOR_RUN=..." */
    const char *input;                  /* stdin; NULL: /dev/null */
    size_t input_len;
    int64_t timeout_us; /* -1: none */
    size_t max_output;  /* kept of stdout and of stderr each; the rest is read and thrown away */
};

/* What became of it. */
struct program_report {
    struct proc_exit how;
    struct buf outputs[2]; /* stdout, stderr */
    bool timed_out, truncated;
    double seconds;
};

struct program; /* opaque */
/* Runs once, from the loop, after the process and all it started are dead and their pipes are at
 * their end (of an abandoned one: whatever became of the pipes). The child is freed after it. */
typedef void program_done_fn(void *arg, struct program_report *report);

/* False + err: not started, done will not run. */
MUSTUSE bool program_start(struct loop *loop, const struct program_spec *spec,
                           program_done_fn *done, void *arg, struct program **out, struct err *err);
/* Kills it with everything it started, at once; its output is thrown away. */
void program_abandon(struct program *program);
