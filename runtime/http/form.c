/* form.c: see form.h. */
#include "http/form.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* With a NUL behind it, which counts. */
static bool add_decoded(struct buf *out, const char *text, size_t len)
{
    size_t from = out->len;
    for (size_t i = 0; i < len; i++) {
        int high, low;
        if (text[i] == '+') {
            buf_add_char(out, ' ');
        } else if (text[i] != '%') {
            buf_add_char(out, text[i]);
        } else if (i + 2 < len && (high = hex(text[i + 1])) >= 0 && (low = hex(text[i + 2])) >= 0) {
            buf_add_char(out, (char)(high * 16 + low));
            i += 2;
        } else {
            return false;
        }
    }
    size_t added = out->len - from;
    bool good = added == 0 ||
                (!memchr(out->data + from, '\0', added) && utf8_is_valid(out->data + from, added));
    buf_add_char(out, '\0');
    return good;
}

bool form_each(const char *body, size_t len,
               bool (*visit)(void *arg, const char *name, const char *value), void *arg)
{
    struct buf pair = BUF_EMPTY;
    bool good = true, goes_on = true;
    for (const char *at = body, *end = body + len; at < end && good && goes_on;) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        if (!stop) stop = end;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        if (!equals) equals = stop;
        buf_clear(&pair);
        good = add_decoded(&pair, at, (size_t)(equals - at));
        size_t value = pair.len;
        if (equals < stop) equals++;
        good = good && add_decoded(&pair, equals, (size_t)(stop - equals));
        if (good && stop > at) goes_on = visit(arg, pair.data, pair.data + value);
        at = stop + 1;
    }
    buf_close(&pair);
    return good;
}
