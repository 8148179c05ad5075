/* array.c: see array.h. */
#include "http/array.h"

#include <stdlib.h>

#include "base/mem.h"

static const char *skip_space(const char *at, const char *end);
static const char *skip_value(const char *at, const char *end);

bool array_cut(const char *text, size_t len, size_t most, struct piece **out, size_t *count,
               struct err *err)
{
    const char *end = text + len, *at = skip_space(text, end);
    struct piece *pieces = NULL;
    size_t found = 0, room = 0;
    if (at == end || *at != '[') return err_set(err, ERR_INPUT, "must be a JSON array");
    at = skip_space(at + 1, end);
    bool is_empty = at < end && *at == ']', is_closed = is_empty;
    if (is_empty) at = skip_space(at + 1, end);
    while (!is_closed) {
        const char *behind = skip_value(at, end);
        if (!behind || behind == at) {
            free(pieces);
            return err_set(err, ERR_INPUT, "is no JSON array: its element %zu does not end", found);
        }
        if (found == most) {
            free(pieces);
            return err_set(err, ERR_TOO_LARGE, "more than %zu elements in one request", most);
        }
        if (found == room) {
            room = room ? 2 * room : 64;
            pieces = xrealloc(pieces, room * sizeof *pieces);
        }
        pieces[found++] = (struct piece){ at, (size_t)(behind - at) };
        is_closed = *behind == ']';
        at = skip_space(behind + 1, end);
    }
    if (at != end) {
        free(pieces);
        return err_set(err, ERR_INPUT, "something follows the JSON array");
    }
    *out = pieces;
    *count = found;
    return true;
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

/* The next `,` or `]` of this depth, strings passed over. NULL: there is none. */
static const char *skip_value(const char *at, const char *end)
{
    size_t depth = 0;
    bool is_text = false;
    for (; at < end; at++) {
        if (is_text) {
            if (*at == '\\' && at + 1 < end)
                at++; /* what is escaped ends nothing */
            else
                is_text = *at != '"';
            continue;
        }
        if (*at == '"') is_text = true;
        if (depth == 0 && (*at == ',' || *at == ']')) return at;
        depth += *at == '{' || *at == '[';
        if (*at == '}' || *at == ']') {
            if (depth == 0) return NULL;
            depth--;
        }
    }
    return NULL;
}
