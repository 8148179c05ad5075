/* err.c: every text is first written to a buffer aside, so that the arguments may point into the
 * err itself. From there only whole UTF-8 characters are taken: names of files, words of the
 * command line and what a %.60s cut may hold anything. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* One character longer than err.text, so that the byte behind the cut can be looked at. */
#define SCRATCH_SIZE (sizeof(((struct err *)0)->text) + 4)
#define REPLACEMENT  "\xEF\xBF\xBD" /* U+FFFD */

static void store_text(struct err *err, const char *scratch);

bool err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    if (!err) return false;
    char scratch[SCRATCH_SIZE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(scratch, sizeof scratch, fmt, args);
    va_end(args);
    err->code = code;
    store_text(err, scratch);
    return false;
}

bool err_wrap(struct err *err, const char *fmt, ...)
{
    if (!err) return false;
    char scratch[SCRATCH_SIZE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(scratch, sizeof scratch, fmt, args);
    va_end(args);
    size_t len = strlen(scratch);
    snprintf(scratch + len, sizeof scratch - len, ": %s", err->text);
    store_text(err, scratch);
    return false;
}

void err_clear(struct err *err)
{
    err->code = ERR_NONE;
    err->text[0] = '\0';
}

int err_exit_status(enum err_code code)
{
    switch (code) {
    case ERR_NONE: return 0;
    case ERR_INPUT:
    case ERR_DENIED:
    case ERR_CONFLICT:
    case ERR_TOO_LARGE: return 2;
    case ERR_STORE:
    case ERR_RETRY:
    case ERR_FULL: return 3;
    case ERR_NOT_FOUND: return 4;
    case ERR_NOT_FINAL: return 5;
    case ERR_STATE: return 6;
    case ERR_DEADLINE: return 124;
    case ERR_INTERRUPTED: return 130;
    case ERR_CANCELLED:
    case ERR_DATA:
    case ERR_NOMEM:
    case ERR_IO:
    case ERR_INTERNAL: return 1;
    }
    return 1;
}

static void store_text(struct err *err, const char *scratch)
{
    size_t len = strlen(scratch), out = 0;
    for (size_t at = 0; at < len;) {
        size_t step = utf8_sequence_len(scratch + at, len - at);
        const char *piece = step ? scratch + at : REPLACEMENT;
        size_t size = step ? step : strlen(REPLACEMENT);
        if (out + size > sizeof err->text - 1) break;
        memcpy(err->text + out, piece, size);
        out += size;
        at += step ? step : 1;
    }
    err->text[out] = '\0';
}
