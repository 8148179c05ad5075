/* array.h: a JSON array cut into its elements, none of which is looked at. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct piece {
    const char *text; /* in what was cut */
    size_t len;
};

/* Whatever is an array is cut where its elements end; of what is none, some elements are not JSON.
 * ERR_TOO_LARGE: there are more than `most`. gives *out */
MUSTUSE bool array_cut(const char *text, size_t len, size_t most, struct piece **out, size_t *count,
                       struct err *err);
