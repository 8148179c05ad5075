/* checking.h: what travels from the checker process to the supervisor, in a memfd: u32 length and
 * bytes of error text (empty: none), snapshot, catalogue JSON, report JSON. */
#pragma once
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "script/generation.h"

struct checked {
    struct buf snapshot, catalogue, report;
    char *error;
};

/* The checker process: previous snapshot (may be empty) on descriptor 0, answer to descriptor 1.
 * Returns its exit status. */
int checker_main(const char *directory, int64_t default_timeout_us, const struct binding *bindings,
                 size_t binding_count);
/* Reads the answer. false: the checker died before it was done. */
MUSTUSE bool checked_read(int fd, struct checked *out, struct err *err);
void checked_close(struct checked *checked);
