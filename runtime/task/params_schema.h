/* params_schema.h: the compiled schema, private to params_*.c. A schema is a tree: a sub-schema of
 * items, a property or additionalProperties is again a struct params_schema.
 *
 * params_compile.c builds and frees it, nobody changes it afterwards, so threads may share it. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "task/params.h"

enum params_type {
    PARAMS_STRING = 1 << 0,
    PARAMS_INTEGER = 1 << 1,
    PARAMS_NUMBER = 1 << 2,
    PARAMS_BOOLEAN = 1 << 3,
    PARAMS_ARRAY = 1 << 4,
    PARAMS_OBJECT = 1 << 5,
    PARAMS_NULL = 1 << 6,
};
#define PARAMS_TYPE_COUNT 7
extern const char *const params_type_names[PARAMS_TYPE_COUNT]; /* in the order of the bits */

struct params_number {
    bool is_given;
    double value;
};

struct params_property {
    char *name;
    struct params_schema *schema;
};

struct params_schema {
    unsigned types;       /* bits of enum params_type; 0: any */
    bool is_string_first; /* "string" leads the list of types */
    bool is_secret;
    bool holds_secret; /* itself or anything below */

    /* NULL when not given */
    json_t *enum_values;
    json_t *const_value;
    json_t *default_value;

    struct params_number minimum, maximum, exclusive_minimum, exclusive_maximum, multiple_of;
    size_t min_length, max_length, min_items, max_items; /* 0 and SIZE_MAX when not given */
    struct params_pattern *pattern;                      /* or NULL */
    const struct params_format *format;                  /* or NULL; borrowed from the table */

    struct params_schema *items;      /* or NULL: anything */
    struct params_schema *additional; /* or NULL: see is_closed */
    bool is_closed;                   /* additionalProperties: false */
    json_t *required;                 /* array of names, or NULL */
    struct params_property *properties;
    size_t property_count;
};

/* params_compile.c */
MUSTUSE bool params_schema_compile_value(json_t *json, struct params_schema **out, struct err *err);
const struct params_schema *params_property_find(const struct params_schema *schema,
                                                 const char *name); /* NULL: none */

/* params_check.c */
MUSTUSE bool params_is_valid(const struct params_schema *schema, const json_t *value,
                             struct params_error *first);
bool params_admits_null(const struct params_schema *schema); /* says so by type, enum or const */
void params_add_types(struct buf *out, unsigned types);      /* "a string or an integer" */
unsigned params_types_of(const json_t *value);               /* 1 is integer and number */
bool params_is_equal(const json_t *a, const json_t *b);      /* 1 equals 1.0 */

/* params_text.c */
#define PARAMS_SHOWN_SIZE 256
/* A value for a message: compact JSON, cut to 60 characters. Returns out. */
const char *params_shown(const json_t *value, char out[PARAMS_SHOWN_SIZE]);
size_t params_count_characters(const char *text, size_t len);
const char **
params_sorted_keys(json_t *object); /* gives a NULL-terminated array of borrowed keys */

/* params_pattern.c */
struct params_pattern;
MUSTUSE bool params_pattern_compile(const char *text, struct params_pattern **out, struct err *err);
void params_pattern_free(struct params_pattern *pattern);
/* Bytes of text that it can be matched against. */
size_t params_pattern_longest(const struct params_pattern *pattern);
bool params_pattern_matches(const struct params_pattern *pattern, const char *text, size_t len);
const char *params_pattern_text(const struct params_pattern *pattern);
const char *params_pattern_posix(const struct params_pattern *pattern);

/* params_format.c */
struct params_format {
    const char *name;
    const char *meaning; /* for messages: "a date such as 2026-11-24" */
    bool (*is_valid)(const char *text);
};
MUSTUSE bool params_format_find(const char *name, const struct params_format **out,
                                struct err *err);
