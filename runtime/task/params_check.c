/* params_check.c: does a value fit its schema? All faults are found, each with the path of its
 * field.
 *
 * Nothing of a secret reaches a message: neither its value, nor that of an object or list around
 * it, nor the keys inside it that the schema does not know. */
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "task/params_schema.h"
#include "task/suggest.h"

/* Where a value stands, innermost first. */
struct path {
    const struct path *outer; /* NULL: the whole */
    const char *key;          /* NULL: index counts */
    size_t index;
    bool is_secret; /* this value, or one around it */
};

struct check {
    struct params_error *errors;
    size_t max;
    size_t count;
    const struct params_schema *root; /* NULL: no parameters, a value by itself */
};

static void check_value(struct check *c, const struct params_schema *schema, const json_t *value,
                        const struct path *path);
static void check_listed(struct check *c, const struct params_schema *schema, const json_t *value,
                         const struct path *path);
static void add_values(struct buf *out, const json_t *values);
static void check_number(struct check *c, const struct params_schema *schema, const json_t *value,
                         const struct path *path);
static bool is_multiple(double value, double divisor);
static void check_string(struct check *c, const struct params_schema *schema, const json_t *value,
                         const struct path *path);
static void check_pattern(struct check *c, const struct params_schema *schema, const json_t *value,
                          const struct path *path);
static void check_array(struct check *c, const struct params_schema *schema, const json_t *value,
                        const struct path *path);
static void check_object(struct check *c, const struct params_schema *schema, const json_t *value,
                         const struct path *path);
static void check_required(struct check *c, const struct params_schema *schema, const json_t *value,
                           const struct path *path);
static bool is_given(const struct check *c, const struct params_schema *schema, const json_t *value,
                     const char *key);
static void check_key(struct check *c, const struct params_schema *schema, const char *key,
                      const json_t *value, const struct path *path);
static void report_unknown(struct check *c, const struct params_schema *schema,
                           const struct path *path);
static void report(struct check *c, const struct path *path, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
static void report_value(struct check *c, const struct params_schema *schema, const json_t *value,
                         const struct path *path, const char *fmt, ...) PRINTF_LIKE(5, 6);
static void add_error(struct check *c, const struct path *path, const struct buf *message);
static void add_path(struct buf *out, const struct path *path);
static void copy_cut(char *out, size_t size, const struct buf *text);

size_t params_check(const struct params_schema *schema, const json_t *params,
                    struct params_error *errors, size_t max)
{
    struct check c = { .errors = errors, .max = max, .root = schema };
    check_value(&c, schema, params, NULL);
    return c.count;
}

bool params_is_valid(const struct params_schema *schema, const json_t *value,
                     struct params_error *first)
{
    struct check c = { .errors = first, .max = 1 };
    check_value(&c, schema, value, NULL);
    return c.count == 0;
}

bool params_admits_null(const struct params_schema *schema)
{
    if (schema->types & PARAMS_NULL) return true;
    for (size_t i = 0; i < json_array_size(schema->enum_values); i++) {
        if (json_is_null(json_array_get(schema->enum_values, i))) return true;
    }
    return schema->const_value && json_is_null(schema->const_value);
}

unsigned params_types_of(const json_t *value)
{
    if (!value) return 0;
    switch (json_typeof(value)) {
    case JSON_STRING: return PARAMS_STRING;
    case JSON_INTEGER: return PARAMS_INTEGER | PARAMS_NUMBER;
    case JSON_REAL: {
        double number = json_real_value(value);
        bool is_whole = isfinite(number) && fabs(number - trunc(number)) <= 0;
        return PARAMS_NUMBER | (is_whole ? PARAMS_INTEGER : 0U);
    }
    case JSON_TRUE:
    case JSON_FALSE: return PARAMS_BOOLEAN;
    case JSON_ARRAY: return PARAMS_ARRAY;
    case JSON_OBJECT: return PARAMS_OBJECT;
    case JSON_NULL: break;
    }
    return PARAMS_NULL;
}

void params_add_types(struct buf *out, unsigned types)
{
    static const char *const texts[PARAMS_TYPE_COUNT] = {
        "a string", "an integer", "a number", "true or false", "an array", "an object", "null",
    };
    for (unsigned i = 0; i < PARAMS_TYPE_COUNT; i++) {
        if (!(types & 1U << i)) continue;
        bool is_first = !(types & ((1U << i) - 1));
        bool is_last = !(types >> (i + 1));
        buf_add_text(out, is_first ? "" : is_last ? " or " : ", ");
        buf_add_text(out, texts[i]);
    }
}

bool params_is_equal(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b)) return json_equal(a, b);
    if (json_is_number(a) && json_is_number(b)) {
        return fabs(json_number_value(a) - json_number_value(b)) <= 0;
    }
    if (json_is_array(a) && json_is_array(b)) {
        bool equal = json_array_size(a) == json_array_size(b);
        for (size_t i = 0; equal && i < json_array_size(a); i++) {
            equal = params_is_equal(json_array_get(a, i), json_array_get(b, i));
        }
        return equal;
    }
    if (!json_is_object(a) || !json_is_object(b)) return json_equal(a, b);
    bool equal = json_object_size(a) == json_object_size(b);
    json_t *object = (json_t *)a; /* iterating needs it; not changed */
    void *at = json_object_iter(object);
    for (; equal && at; at = json_object_iter_next(object, at)) {
        const json_t *other = json_object_get(b, json_object_iter_key(at));
        equal = other && params_is_equal(json_object_iter_value(at), other);
    }
    return equal;
}

static void check_value(struct check *c, const struct params_schema *schema, const json_t *value,
                        const struct path *path)
{
    if (c->count == c->max) return;
    unsigned types = params_types_of(value);
    if (schema->types != 0 && !(schema->types & types)) {
        struct buf expected = BUF_EMPTY;
        params_add_types(&expected, schema->types);
        report_value(c, schema, value, path, "must be %s", expected.data);
        buf_close(&expected);
        return;
    }
    check_listed(c, schema, value, path);
    if (types & PARAMS_NUMBER) check_number(c, schema, value, path);
    if (types & PARAMS_STRING) check_string(c, schema, value, path);
    if (types & PARAMS_ARRAY) check_array(c, schema, value, path);
    if (types & PARAMS_OBJECT) check_object(c, schema, value, path);
}

static void check_listed(struct check *c, const struct params_schema *schema, const json_t *value,
                         const struct path *path)
{
    char shown[PARAMS_SHOWN_SIZE];
    if (schema->const_value && !params_is_equal(schema->const_value, value)) {
        report_value(c, schema, value, path, "must be %s",
                     params_shown(schema->const_value, shown));
    }
    if (!schema->enum_values) return;
    for (size_t i = 0; i < json_array_size(schema->enum_values); i++) {
        if (params_is_equal(json_array_get(schema->enum_values, i), value)) return;
    }
    struct buf list = BUF_EMPTY;
    add_values(&list, schema->enum_values);
    report_value(c, schema, value, path, "must be one of %s", list.data);
    buf_close(&list);
}

static void add_values(struct buf *out, const json_t *values)
{
    char shown[PARAMS_SHOWN_SIZE];
    for (size_t i = 0; i < json_array_size(values); i++) {
        if (out->len > 150) {
            buf_add_text(out, ", \u2026");
            return;
        }
        const char *text = params_shown(json_array_get(values, i), shown);
        buf_addf(out, "%s%s", i > 0 ? ", " : "", text);
    }
}

static void check_number(struct check *c, const struct params_schema *schema, const json_t *value,
                         const struct path *path)
{
    double number = json_number_value(value);
    const struct params_number *low = &schema->minimum, *high = &schema->maximum;
    const struct params_number *above = &schema->exclusive_minimum;
    const struct params_number *below = &schema->exclusive_maximum;
    if (low->is_given && number < low->value) {
        report_value(c, schema, value, path, "must be at least %.15g", low->value);
    }
    if (high->is_given && number > high->value) {
        report_value(c, schema, value, path, "must be at most %.15g", high->value);
    }
    if (above->is_given && number <= above->value) {
        report_value(c, schema, value, path, "must be greater than %.15g", above->value);
    }
    if (below->is_given && number >= below->value) {
        report_value(c, schema, value, path, "must be less than %.15g", below->value);
    }
    if (schema->multiple_of.is_given && !is_multiple(number, schema->multiple_of.value)) {
        report_value(c, schema, value, path, "must be a multiple of %.15g",
                     schema->multiple_of.value);
    }
}

/* Decimals are not exact in binary: 0.3 / 0.1 is a hair below 3. A few such hairs are let pass. */
static bool is_multiple(double value, double divisor)
{
    if (fabs(divisor - trunc(divisor)) <= 0) return fabs(fmod(value, divisor)) <= 0;
    double quotient = value / divisor;
    if (!isfinite(quotient)) return true;
    return fabs(quotient - nearbyint(quotient)) <= 4 * DBL_EPSILON * fabs(quotient);
}

static void check_string(struct check *c, const struct params_schema *schema, const json_t *value,
                         const struct path *path)
{
    const char *text = json_string_value(value);
    size_t len = json_string_length(value), characters = params_count_characters(text, len);
    if (characters < schema->min_length) {
        report_value(c, schema, value, path, "must have at least %zu character%s",
                     schema->min_length, schema->min_length == 1 ? "" : "s");
    }
    if (characters > schema->max_length) {
        report_value(c, schema, value, path, "must have at most %zu character%s",
                     schema->max_length, schema->max_length == 1 ? "" : "s");
    }
    if (schema->pattern) check_pattern(c, schema, value, path);
    bool has_nul = strlen(text) != len;
    if (schema->format && (has_nul || !schema->format->is_valid(text))) {
        report_value(c, schema, value, path, "must be %s", schema->format->meaning);
    }
}

static void check_pattern(struct check *c, const struct params_schema *schema, const json_t *value,
                          const struct path *path)
{
    size_t len = json_string_length(value), longest = params_pattern_longest(schema->pattern);
    const char *pattern = params_pattern_text(schema->pattern);
    if (len > longest) {
        report_value(c, schema, value, path, "must have at most %zu bytes for the pattern %.150s",
                     longest, pattern);
    } else if (!params_pattern_matches(schema->pattern, json_string_value(value), len)) {
        report_value(c, schema, value, path, "must match the pattern %.150s", pattern);
    }
}

static void check_array(struct check *c, const struct params_schema *schema, const json_t *value,
                        const struct path *path)
{
    size_t count = json_array_size(value);
    if (count < schema->min_items) {
        report_value(c, schema, value, path, "must have at least %zu item%s", schema->min_items,
                     schema->min_items == 1 ? "" : "s");
    }
    if (count > schema->max_items) {
        report_value(c, schema, value, path, "must have at most %zu item%s", schema->max_items,
                     schema->max_items == 1 ? "" : "s");
    }
    if (!schema->items) return;
    bool is_secret = (path && path->is_secret) || schema->items->is_secret;
    for (size_t i = 0; i < count && c->count < c->max; i++) {
        struct path inner = { .outer = path, .index = i, .is_secret = is_secret };
        check_value(c, schema->items, json_array_get(value, i), &inner);
    }
}

static void check_object(struct check *c, const struct params_schema *schema, const json_t *value,
                         const struct path *path)
{
    check_required(c, schema, value, path);
    json_t *object = (json_t *)value; /* iterating needs it; not changed */
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        check_key(c, schema, json_object_iter_key(at), json_object_iter_value(at), path);
    }
}

static void check_required(struct check *c, const struct params_schema *schema, const json_t *value,
                           const struct path *path)
{
    for (size_t i = 0; i < json_array_size(schema->required); i++) {
        const char *key = json_string_value(json_array_get(schema->required, i));
        if (is_given(c, schema, json_object_get(value, key), key)) continue;
        struct path inner = { .outer = path, .key = key };
        report(c, &inner, "is required");
    }
}

/* A parameter that is null is not given; deeper inside, null is a value as any other. */
static bool is_given(const struct check *c, const struct params_schema *schema, const json_t *value,
                     const char *key)
{
    if (!value || !json_is_null(value) || schema != c->root) return value != NULL;
    const struct params_schema *parameter = params_property_find(schema, key);
    return !parameter || params_admits_null(parameter);
}

static void check_key(struct check *c, const struct params_schema *schema, const char *key,
                      const json_t *value, const struct path *path)
{
    const struct params_schema *known = params_property_find(schema, key);
    bool is_secret = path && path->is_secret;
    struct path inner = { .outer = path, .key = key, .is_secret = is_secret };
    if (known) {
        inner.is_secret = is_secret || known->is_secret;
        if (is_given(c, schema, value, key)) check_value(c, known, value, &inner);
        return;
    }
    if (is_secret) inner.key = "*"; /* the key is part of the secret */
    if (schema->is_closed) {
        report_unknown(c, schema, &inner);
    } else if (schema->additional) {
        inner.is_secret = is_secret || schema->additional->is_secret;
        check_value(c, schema->additional, value, &inner);
    }
}

static void report_unknown(struct check *c, const struct params_schema *schema,
                           const struct path *path)
{
    struct suggestion near = { .word = path->key };
    for (size_t i = 0; i < schema->property_count; i++) {
        suggest_consider(&near, schema->properties[i].name);
    }
    const char *what = schema == c->root ? "parameter of this task" : "property of this object";
    if (near.nearest) {
        report(c, path, "is not a %s; did you mean %s?", what, near.nearest);
    } else {
        report(c, path, "is not a %s", what);
    }
}

static void report(struct check *c, const struct path *path, const char *fmt, ...)
{
    char text[sizeof c->errors->message];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct buf message = BUF_EMPTY;
    buf_add_text(&message, text);
    add_error(c, path, &message);
    buf_close(&message);
}

static void report_value(struct check *c, const struct params_schema *schema, const json_t *value,
                         const struct path *path, const char *fmt, ...)
{
    char text[sizeof c->errors->message];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct buf message = BUF_EMPTY;
    buf_add_text(&message, text);
    char shown[PARAMS_SHOWN_SIZE];
    bool is_secret = schema->holds_secret || (path && path->is_secret);
    if (value && !is_secret) buf_addf(&message, ", is %s", params_shown(value, shown));
    add_error(c, path, &message);
    buf_close(&message);
}

static void add_error(struct check *c, const struct path *path, const struct buf *message)
{
    if (c->count == c->max) return;
    struct params_error *error = &c->errors[c->count++];
    struct buf field = BUF_EMPTY;
    if (path) add_path(&field, path);
    copy_cut(error->field, sizeof error->field, &field);
    copy_cut(error->message, sizeof error->message, message);
    buf_close(&field);
}

static void add_path(struct buf *out, const struct path *path)
{
    if (path->outer) add_path(out, path->outer);
    if (!path->key) {
        buf_addf(out, "[%zu]", path->index);
    } else {
        buf_addf(out, "%s%s", path->outer ? "." : "", path->key);
    }
}

/* What vsnprintf or a %.150s cut may end in half a character. */
static void copy_cut(char *out, size_t size, const struct buf *text)
{
    struct buf clean = BUF_EMPTY;
    utf8_add_clean(&clean, buf_text(text), text->len, size - 1);
    memcpy(out, buf_text(&clean), clean.len);
    out[clean.len] = '\0';
    buf_close(&clean);
}
