/* fuzz.h: what the fuzz targets share.
 *
 * A target is one file with LLVMFuzzerTestOneInput. It must give the same answer for the same bytes
 * whatever ran before, and it fails by `require`, which holds in every build. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define require(what)                                                                              \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static inline void require_text(const char *text)
{
    require(text[0] != '\0');
    require(utf8_is_valid(text, strlen(text)));
}

/* Input was refused: with a reason that can be shown to people. */
static inline void require_refusal(const struct err *err)
{
    require(err->code != ERR_NONE && err->code != ERR_INTERNAL);
    require_text(err->text);
}

/* ... that begins with where it is. */
static inline void require_refusal_at(const struct err *err, const char *place)
{
    require_refusal(err);
    require(strncmp(err->text, place, strlen(place)) == 0);
}

/* The input as a C string; its first NUL ends it. gives */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    return xstrndup((const char *)data, size);
}
