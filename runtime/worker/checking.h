/* checking.h: the checker process, from both ends. What travels from the checker process to the
 * supervisor, in a memfd: u32 length and bytes of error text (empty: none), snapshot, catalogue
 * JSON, report JSON. */
#pragma once
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "io/proc.h"
#include "script/generation.h"

struct checked {
    struct buf snapshot, catalogue, report;
    char *error;
};

/* Starts the checker; `previous` may be empty. `answer` is for checked_read once it has ended, the
 * caller closes it. */
MUSTUSE bool checking_start(const char *directory, int64_t default_timeout_us,
                            const struct buf *previous, proc_exit_fn *on_exit, void *arg,
                            struct proc **proc, int *answer, struct err *err);
/* The checker process: previous snapshot (may be empty) on descriptor 0, answer to descriptor 1.
 * argv: as checking_start made it, and the files that it got stuck in so far. Returns its exit
 * status. */
int checker_main(size_t argc, const char *const *argv, const struct binding *bindings,
                 size_t binding_count);
/* Reads the answer. false: the checker died before it was done. */
MUSTUSE bool checked_read(int fd, struct checked *out, struct err *err);
void checked_close(struct checked *checked);
