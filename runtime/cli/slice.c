/* slice.c: see slice.h. Walks values by brackets and quotes; what lies between is not looked at. */
#include "cli/slice.h"

#include <string.h>

static const char *skip_blanks(const char *at, const char *end);
static const char *skip_string(const char *at, const char *end);
static const char *skip_value(const char *at, const char *end);

const char *slice_member(const char *json, size_t len, const char *key, size_t *slice_len)
{
    const char *end = json + len, *at = skip_blanks(json, end);
    size_t key_len = strlen(key);
    if (at == end || *at != '{') return NULL;
    for (at = skip_blanks(at + 1, end); at < end && *at == '"'; at = skip_blanks(at, end)) {
        const char *name = at + 1;
        at = skip_string(at, end);
        bool is_it = (size_t)(at - name) == key_len + 1 && memcmp(name, key, key_len) == 0;
        at = skip_blanks(at, end);
        if (at == end || *at != ':') return NULL;
        const char *value = skip_blanks(at + 1, end);
        at = skip_value(value, end);
        *slice_len = (size_t)(at - value);
        if (is_it) return value;
        at = skip_blanks(at, end);
        if (at < end && *at == ',') at++;
    }
    return NULL;
}

bool slice_is(const char *json, size_t len, const char *key, const char *text)
{
    size_t slice_len, text_len = strlen(text);
    const char *slice = slice_member(json, len, key, &slice_len);
    return slice && slice_len == text_len + 2 && memcmp(slice + 1, text, text_len) == 0;
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && strchr(" \t\r\n", *at)) at++;
    return at;
}

static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\') at++;
    return at < end ? at + 1 : end;
}

static const char *skip_value(const char *at, const char *end)
{
    const char *start = at;
    int depth = 0;
    while (at < end) {
        if (depth == 0 && at > start && strchr(",]} \t\r\n", *at)) break;
        if (*at == '"') {
            at = skip_string(at, end);
        } else {
            if (*at == '{' || *at == '[') depth++;
            if (*at == '}' || *at == ']') depth--;
            at++;
        }
        if (depth == 0 && strchr("\"]}", at[-1])) break;
    }
    return at;
}
