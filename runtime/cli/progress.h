/* progress.h: one line that says how far a task is, and its place on the terminal. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct progress_view {
    const char *status;
    double percent;       /* below 0: nothing was reported */
    const char *metadata; /* short text or NULL */
    int64_t elapsed_us;
};
/* Exactly as wide as there is room, at most width columns. Pure. */
void progress_text(struct buf *out, const struct progress_view *view, size_t width);
/* {"done":3,"of":10} -> "done=3 of=10". Pure. */
void progress_metadata(struct buf *out, const json_t *metadata);

/* On stderr, in place, as wide as the terminal now is. */
void progress_show(const struct progress_view *view);
void progress_hide(void);
