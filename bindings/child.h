/* child.h: one subprocess with everything it starts, from its pipes to the death of the last
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

struct child_spec {                     /* borrowed for child_start only */
    const struct proc_options *options; /* fds are set by child_start */
    const char *marker;                 /* of the run: "CTUTOR_RUN=..." */
    const char *input;                  /* stdin; NULL: /dev/null */
    size_t input_len;
    int64_t timeout_us; /* -1: none */
    size_t max_output;  /* kept of stdout and of stderr each; the rest is read and thrown away */
};

/* What became of it. */
struct child_report {
    struct proc_exit how;
    struct buf outputs[2]; /* stdout, stderr */
    bool timed_out, truncated;
    double seconds;
};

struct child; /* opaque */
/* Runs once, from the loop, after the process and all it started are dead and their pipes are at
 * their end. The child is freed after it. */
typedef void child_done_fn(void *arg, struct child_report *report);

/* False + err: not started, done will not run. */
MUSTUSE bool child_start(struct loop *loop, const struct child_spec *spec, child_done_fn *done,
                         void *arg, struct child **out, struct err *err);
/* Kills it with everything it started, at once; done will not run. */
void child_abandon(struct child *child);
