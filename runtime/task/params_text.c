/* params_text.c: values as text, for messages and for storing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "task/params_schema.h"

#define SHOWN_CHARACTERS 60
#define ELLIPSIS         "\u2026"
#define EXACT_MAX        9007199254740992.0 /* 2^53 */

struct shown {
    char *out;
    size_t len;
    bool is_cut;
};

static int on_shown_chunk(const char *chunk, size_t len, void *data);
static size_t bytes_of_characters(const char *text, size_t len, size_t characters);
static int compare_keys(const void *a, const void *b);
static void write_object(struct buf *out, const json_t *object);
static void write_array(struct buf *out, const json_t *array);
static void write_real(struct jsonw *w, double value);
static void write_scalar(struct buf *out, const json_t *value);

const char *params_shown(const json_t *value, char out[PARAMS_SHOWN_SIZE])
{
    struct shown shown = { .out = out };
    size_t flags = JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15);
    json_dump_callback(value, on_shown_chunk, &shown,
                       flags); /* fails when on_shown_chunk has enough */
    size_t len = bytes_of_characters(out, shown.len, SHOWN_CHARACTERS);
    bool is_cut = shown.is_cut || len < shown.len;
    strcpy(out + len, is_cut ? ELLIPSIS : "");
    return out;
}

static int on_shown_chunk(const char *chunk, size_t len, void *data)
{
    struct shown *shown = data;
    size_t room = PARAMS_SHOWN_SIZE - sizeof ELLIPSIS - shown->len;
    size_t fits = utf8_cut(chunk, len, room);
    memcpy(shown->out + shown->len, chunk, fits);
    shown->len += fits;
    shown->is_cut = fits < len;
    return shown->is_cut ? -1 : 0;
}

static size_t bytes_of_characters(const char *text, size_t len, size_t characters)
{
    size_t at = 0;
    for (; at < len; at++) {
        bool is_start = ((unsigned char)text[at] & 0xC0) != 0x80;
        if (is_start && characters-- == 0) break;
    }
    return at;
}

size_t params_count_characters(const char *text, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++) count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

const char **params_sorted_keys(json_t *object)
{
    size_t count = 0;
    const char **keys = xcalloc(json_object_size(object) + 1, sizeof *keys);
    void *at = json_object_iter(object);
    for (; at; at = json_object_iter_next(object, at)) keys[count++] = json_object_iter_key(at);
    qsort(keys, count, sizeof *keys, compare_keys);
    return keys;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void params_write(struct buf *out, const json_t *value)
{
    if (json_is_object(value)) {
        write_object(out, value);
    } else if (json_is_array(value)) {
        write_array(out, value);
    } else {
        write_scalar(out, value);
    }
}

static void write_object(struct buf *out, const json_t *object)
{
    const char **keys = params_sorted_keys((json_t *)object); /* iterating needs it; not changed */
    buf_add_char(out, '{');
    for (size_t i = 0; keys[i]; i++) {
        struct jsonw key;
        if (i > 0) buf_add_char(out, ',');
        jsonw_init(&key, out);
        jsonw_key(&key, keys[i]);
        params_write(out, json_object_get(object, keys[i]));
    }
    buf_add_char(out, '}');
    free(keys);
}

static void write_array(struct buf *out, const json_t *array)
{
    buf_add_char(out, '[');
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i > 0) buf_add_char(out, ',');
        params_write(out, json_array_get(array, i));
    }
    buf_add_char(out, ']');
}

/* A whole number has the text of the integer it equals: 1e15 and -0.0, too. Beyond 2^53 it must not
 * look like one, which no door would take. */
static void write_real(struct jsonw *w, double value)
{
    size_t start = w->out->len;
    if (fabs(value) <= EXACT_MAX && fabs(value - trunc(value)) <= 0) {
        jsonw_int(w, (int64_t)value);
        return;
    }
    jsonw_number(w, value);
    bool is_whole = strspn(w->out->data + start, "-0123456789") == w->out->len - start;
    if (is_whole) buf_add_text(w->out, ".0");
}

static void write_scalar(struct buf *out, const json_t *value)
{
    struct jsonw w;
    jsonw_init(&w, out);
    if (json_is_string(value)) {
        jsonw_text_len(&w, json_string_value(value), json_string_length(value));
    } else if (json_is_integer(value)) {
        jsonw_int(&w, json_integer_value(value));
    } else if (json_is_real(value)) {
        write_real(&w, json_real_value(value));
    } else if (json_is_boolean(value)) {
        jsonw_bool(&w, json_is_true(value));
    } else {
        jsonw_null(&w);
    }
}
