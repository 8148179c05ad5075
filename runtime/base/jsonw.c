/* jsonw.c: bit `depth` of has_items says whether the open object or array needs a comma before its
 * next item. Misuse of the nesting is our bug and asserts. */
#include "base/jsonw.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"

#define DEPTH_MAX 64

static void before_item(struct jsonw *w);
static void open_level(struct jsonw *w, char c);
static void close_level(struct jsonw *w, char c);
static void add_quoted(struct buf *out, const char *text, size_t len);
static void add_escape(struct buf *out, unsigned char c);

void jsonw_init(struct jsonw *w, struct buf *out) { *w = (struct jsonw){ .out = out }; }

void jsonw_object(struct jsonw *w) { open_level(w, '{'); }

void jsonw_object_end(struct jsonw *w) { close_level(w, '}'); }

void jsonw_array(struct jsonw *w) { open_level(w, '['); }

void jsonw_array_end(struct jsonw *w) { close_level(w, ']'); }

void jsonw_key(struct jsonw *w, const char *key)
{
    assert(!w->after_key);
    before_item(w);
    add_quoted(w->out, key, strlen(key));
    buf_add_char(w->out, ':');
    w->after_key = true;
}

void jsonw_text(struct jsonw *w, const char *text)
{
    if (text)
        jsonw_text_len(w, text, strlen(text));
    else
        jsonw_null(w);
}

void jsonw_text_len(struct jsonw *w, const char *text, size_t len)
{
    before_item(w);
    add_quoted(w->out, text, len);
}

void jsonw_int(struct jsonw *w, int64_t value)
{
    before_item(w);
    buf_addf(w->out, "%lld", (long long)value);
}

void jsonw_number(struct jsonw *w, double value)
{
    if (!isfinite(value)) {
        jsonw_null(w);
        return;
    }
    /* 15 digits always survive the way there and back, except for the tiny denormals. */
    char text[40];
    for (int digits = isnormal(value) ? 15 : 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (!(strtod(text, NULL) < value) && !(strtod(text, NULL) > value)) break;
    }
    before_item(w);
    buf_add_text(w->out, text);
}

void jsonw_bool(struct jsonw *w, bool value)
{
    before_item(w);
    buf_add_text(w->out, value ? "true" : "false");
}

void jsonw_null(struct jsonw *w)
{
    before_item(w);
    buf_add_text(w->out, "null");
}

void jsonw_raw(struct jsonw *w, const char *json, size_t len)
{
    before_item(w);
    buf_add(w->out, json, len);
}

void jsonw_time(struct jsonw *w, int64_t wall_us)
{
    char text[TIME_TEXT_SIZE];
    time_text(wall_us, text);
    jsonw_text(w, text);
}

void jsonw_key_text(struct jsonw *w, const char *key, const char *text)
{
    jsonw_key(w, key);
    jsonw_text(w, text);
}

void jsonw_key_int(struct jsonw *w, const char *key, int64_t value)
{
    jsonw_key(w, key);
    jsonw_int(w, value);
}

void jsonw_key_bool(struct jsonw *w, const char *key, bool value)
{
    jsonw_key(w, key);
    jsonw_bool(w, value);
}

static void before_item(struct jsonw *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    uint64_t bit = UINT64_C(1) << w->depth;
    if (w->depth > 0 && (w->has_items & bit)) buf_add_char(w->out, ',');
    w->has_items |= bit;
}

static void open_level(struct jsonw *w, char c)
{
    before_item(w);
    assert(w->depth < DEPTH_MAX - 1);
    w->depth++;
    w->has_items &= ~(UINT64_C(1) << w->depth);
    buf_add_char(w->out, c);
}

static void close_level(struct jsonw *w, char c)
{
    assert(w->depth > 0 && !w->after_key);
    w->depth--;
    buf_add_char(w->out, c);
}

static void add_quoted(struct buf *out, const char *text, size_t len)
{
    buf_add_char(out, '"');
    size_t plain = 0; /* start of the run that needs no change */
    for (size_t at = 0; at < len;) {
        unsigned char c = (unsigned char)text[at];
        size_t step = utf8_sequence_len(text + at, len - at);
        if (step > 0 && c >= 0x20 && c != '"' && c != '\\') {
            at += step;
            continue;
        }
        buf_add(out, text + plain, at - plain);
        if (step == 0)
            buf_add_text(out, "\xEF\xBF\xBD");
        else
            add_escape(out, c);
        plain = ++at;
    }
    buf_add(out, text + plain, len - plain);
    buf_add_char(out, '"');
}

static void add_escape(struct buf *out, unsigned char c)
{
    switch (c) {
    case '"': buf_add_text(out, "\\\""); break;
    case '\\': buf_add_text(out, "\\\\"); break;
    case '\n': buf_add_text(out, "\\n"); break;
    case '\r': buf_add_text(out, "\\r"); break;
    case '\t': buf_add_text(out, "\\t"); break;
    default: buf_addf(out, "\\u%04x", c);
    }
}
