/* params_parse.c: JSON from users, and the question whether a value can be kept.
 *
 * Postgres cannot hold a NUL character, Lua's numbers are doubles, and both sides bound the
 * nesting; such values are refused with advice instead of being cut or rounded. Messages never
 * quote the text: a secret may stand in it, and no schema is at hand here to tell. */
#include <math.h>
#include <string.h>

#include "base/utf8.h"
#include "task/params_schema.h"
#include "task/task.h"

#define INTEGER_MAX    (INT64_C(1) << 53) /* doubles are exact up to here */
#define ADVICE_INTEGER "an integer beyond 2^53 cannot be kept exactly; send it as a string"
#define ADVICE_NUL     "the character \\u0000 cannot be kept; leave it out or send the data as base64"
#define ADVICE_DEPTH   "nested deeper than 64 levels; send the inner part as a string"
#define ADVICE_FINITE  "a number must be finite"
#define ADVICE_UTF8    "not valid UTF-8; send binary data as base64"

/* Where a value stands, innermost first. */
struct place {
    const struct place *outer;
    const char *key; /* NULL: index counts */
    size_t index;
};

static bool parse(const char *text, size_t len, const char *what, int levels, json_t **out,
                  struct err *err);
static json_t *restore_integers(json_t *value);
static bool is_blank(const char *text, size_t len);
static bool refuse_text(const json_error_t *error, const char *what, struct err *err);
static const char *explain(const json_error_t *error, char *cut, size_t size);
static bool check_value(const json_t *value, int levels, const struct place *place,
                        struct err *err);
static bool check_object(json_t *object, int levels, const struct place *place, struct err *err);
static bool check_array(const json_t *array, int levels, const struct place *place,
                        struct err *err);
static const char *find_scalar_fault(const json_t *value);
static const char *find_text_fault(const char *text, size_t len);
static bool refuse_place(const struct place *place, const char *why, struct err *err);
static void add_place(struct buf *out, const struct place *place);

bool params_parse(const char *text, size_t len, const char *what, json_t **out, struct err *err)
{
    return parse(text, len, what, TASK_DEPTH_MAX, out, err);
}

bool params_parse_body(const char *text, size_t len, const char *what, json_t **out,
                       struct err *err)
{
    return parse(text, len, what, JSON_PARSER_MAX_DEPTH, out, err);
}

static bool parse(const char *text, size_t len, const char *what, int levels, json_t **out,
                  struct err *err)
{
    *out = NULL;
    if (is_blank(text, len)) return err_set(err, ERR_INPUT, "%s: empty, JSON is expected", what);
    const char *zero = memchr(text, '\0', len); /* jansson overlooks one behind a number */
    if (zero) return err_set(err, ERR_INPUT, "%s: byte %td is zero", what, zero - text + 1);
    json_error_t error;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!value) return refuse_text(&error, what, err);
    if (!check_value(value, levels, NULL, err)) {
        json_decref(value);
        return err_wrap(err, "%s", what);
    }
    *out = value;
    return true;
}

json_t *params_load(const char *json, size_t len)
{
    json_t *value = json_loadb(json, len, JSON_DECODE_ANY, NULL);
    if (value) return value;
    value = json_loadb(json, len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    return value ? restore_integers(value) : NULL;
}

/* Takes value, gives it back with reals that are exact integers as such. */
static json_t *restore_integers(json_t *value)
{
    for (size_t i = 0; i < json_array_size(value); i++) {
        json_t *item = json_incref(json_array_get(value, i));
        json_array_set_new(value, i, restore_integers(item));
    }
    for (void *at = json_object_iter(value); at; at = json_object_iter_next(value, at)) {
        json_t *member = json_incref(json_object_iter_value(at));
        json_object_iter_set_new(value, at, restore_integers(member));
    }
    double number = json_real_value(value);
    bool is_exact = json_is_real(value) && fabs(number) <= (double)INTEGER_MAX &&
                    fabs(number - trunc(number)) <= 0;
    if (!is_exact) return value;
    json_decref(value);
    return json_integer((json_int_t)number);
}

static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!strchr(" \t\r\n", text[i]) || text[i] == '\0') return false;
    }
    return true;
}

static bool refuse_text(const json_error_t *error, const char *what, struct err *err)
{
    char cut[JSON_ERROR_TEXT_LENGTH];
    return err_set(err, ERR_INPUT, "%s: line %d, column %d: %s", what, error->line, error->column,
                   explain(error, cut, sizeof cut));
}

static const char *explain(const json_error_t *error, char *cut, size_t size)
{
    switch (json_error_code(error)) {
    case json_error_null_character:
    case json_error_null_byte_in_key: return ADVICE_NUL;
    case json_error_stack_overflow: return ADVICE_DEPTH;
    case json_error_invalid_utf8: return ADVICE_UTF8;
    case json_error_duplicate_key: return "a key stands twice in one object";
    case json_error_numeric_overflow:
        return strncmp(error->text, "real", 4) == 0 ? ADVICE_FINITE : ADVICE_INTEGER;
    default: break;
    }
    snprintf(cut, size, "%s", error->text);
    char *quoted = strstr(cut, " near '"); /* jansson's words, followed by the user's */
    if (quoted) *quoted = '\0';
    return cut;
}

bool params_is_storable(const json_t *value, struct err *err)
{
    return check_value(value, TASK_DEPTH_MAX, NULL, err);
}

static bool check_value(const json_t *value, int levels, const struct place *place, struct err *err)
{
    bool is_object = json_is_object(value);
    if (!is_object && !json_is_array(value)) {
        const char *fault = find_scalar_fault(value);
        return !fault || refuse_place(place, fault, err);
    }
    if (levels == 0) return refuse_place(NULL, ADVICE_DEPTH, err);
    return is_object ? check_object((json_t *)value, levels, place, err) /* read only */
                     : check_array(value, levels, place, err);
}

static bool check_object(json_t *object, int levels, const struct place *place, struct err *err)
{
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        const char *key = json_object_iter_key(at);
        const char *fault = find_text_fault(key, json_object_iter_key_len(at));
        if (fault) {
            refuse_place(place, fault, err);
            return err_wrap(err, "a key");
        }
        struct place inner = { .outer = place, .key = key };
        if (!check_value(json_object_iter_value(at), levels - 1, &inner, err)) return false;
    }
    return true;
}

static bool check_array(const json_t *array, int levels, const struct place *place, struct err *err)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        struct place inner = { .outer = place, .index = i };
        if (!check_value(json_array_get(array, i), levels - 1, &inner, err)) return false;
    }
    return true;
}

static const char *find_scalar_fault(const json_t *value)
{
    if (json_is_string(value)) {
        return find_text_fault(json_string_value(value), json_string_length(value));
    }
    if (json_is_integer(value)) {
        json_int_t integer = json_integer_value(value);
        return integer > INTEGER_MAX || integer < -INTEGER_MAX ? ADVICE_INTEGER : NULL;
    }
    return json_is_real(value) && !isfinite(json_real_value(value)) ? ADVICE_FINITE : NULL;
}

static const char *find_text_fault(const char *text, size_t len)
{
    if (memchr(text, '\0', len)) return ADVICE_NUL;
    return utf8_is_valid(text, len) ? NULL : ADVICE_UTF8;
}

static bool refuse_place(const struct place *place, const char *why, struct err *err)
{
    if (!place) return err_set(err, ERR_INPUT, "%s", why);
    struct buf path = BUF_EMPTY;
    add_place(&path, place);
    err_set(err, ERR_INPUT, "%.*s: %s", (int)utf8_cut(path.data, path.len, 200), path.data, why);
    buf_close(&path);
    return false;
}

static void add_place(struct buf *out, const struct place *place)
{
    if (place->outer) add_place(out, place->outer);
    if (!place->key) {
        buf_addf(out, "[%zu]", place->index);
    } else {
        buf_addf(out, "%s%s", place->outer ? "." : "", place->key);
    }
}
