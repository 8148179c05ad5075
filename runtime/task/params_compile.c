/* params_compile.c: JSON Schema text -> struct params_schema.
 *
 * One table holds every word with the kind of its value and the field it fills. What a word cannot
 * be is said here, at load, so that params_check.c never meets a malformed schema. A message starts
 * at the word; each level around it adds its name ("parameter count: minimum must be a number"). */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "task/params_schema.h"
#include "task/suggest.h"

const char *const params_type_names[PARAMS_TYPE_COUNT] = { "string", "integer", "number", "boolean",
                                                           "array",  "object",  "null" };

enum word_kind {
    WORD_TYPE,
    WORD_VALUE,
    WORD_LIST,
    WORD_NUMBER,
    WORD_DIVISOR,
    WORD_COUNT,
    WORD_PATTERN,
    WORD_FORMAT,
    WORD_ITEMS,
    WORD_PROPERTIES,
    WORD_REQUIRED,
    WORD_ADDITIONAL,
    WORD_FLAG,
    WORD_TEXT
};

struct word {
    const char *name;
    enum word_kind kind;
    size_t
        field; /* offset in struct params_schema; 0 (types): the kind knows, or nothing is kept */
};

#define FIELD(name) offsetof(struct params_schema, name)
static const struct word words[] = {
    { "type", WORD_TYPE, 0 },
    { "enum", WORD_LIST, FIELD(enum_values) },
    { "const", WORD_VALUE, FIELD(const_value) },
    { "default", WORD_VALUE, FIELD(default_value) },
    { "minimum", WORD_NUMBER, FIELD(minimum) },
    { "maximum", WORD_NUMBER, FIELD(maximum) },
    { "exclusiveMinimum", WORD_NUMBER, FIELD(exclusive_minimum) },
    { "exclusiveMaximum", WORD_NUMBER, FIELD(exclusive_maximum) },
    { "multipleOf", WORD_DIVISOR, FIELD(multiple_of) },
    { "minLength", WORD_COUNT, FIELD(min_length) },
    { "maxLength", WORD_COUNT, FIELD(max_length) },
    { "minItems", WORD_COUNT, FIELD(min_items) },
    { "maxItems", WORD_COUNT, FIELD(max_items) },
    { "pattern", WORD_PATTERN, 0 },
    { "format", WORD_FORMAT, 0 },
    { "items", WORD_ITEMS, 0 },
    { "properties", WORD_PROPERTIES, 0 },
    { "required", WORD_REQUIRED, 0 },
    { "additionalProperties", WORD_ADDITIONAL, 0 },
    { "writeOnly", WORD_FLAG, FIELD(is_secret) },
    { "title", WORD_TEXT, 0 },
    { "description", WORD_TEXT, 0 },
    { "examples", WORD_LIST, 0 },
};

static bool compile_schema(json_t *json, bool is_root, struct params_schema **out, struct err *err);
static bool compile_words(struct params_schema *schema, json_t *json, bool is_root,
                          struct err *err);
static const struct word *find_word(const char *name);
static bool compile_word(struct params_schema *schema, const struct word *word, json_t *value,
                         bool is_root, struct err *err);
static bool compile_type(struct params_schema *schema, const json_t *value, struct err *err);
static bool add_type(struct params_schema *schema, const json_t *value, struct err *err);
static bool compile_list(const struct word *word, json_t *value, json_t **field, struct err *err);
static bool compile_number(const struct word *word, const json_t *value,
                           struct params_number *number, struct err *err);
static bool compile_count(const struct word *word, const json_t *value, size_t *count,
                          struct err *err);
static bool compile_pattern(struct params_schema *schema, const json_t *value, struct err *err);
static bool compile_format(struct params_schema *schema, const json_t *value, struct err *err);
static bool compile_properties(struct params_schema *schema, json_t *value, bool is_root,
                               struct err *err);
static bool compile_required(struct params_schema *schema, json_t *value, struct err *err);
static bool compile_additional(struct params_schema *schema, json_t *value, struct err *err);
static bool refuse_word(const struct word *word, const char *expected, const json_t *value,
                        struct err *err);
static bool settle(struct params_schema *schema, struct err *err);
static bool check_order(const struct params_schema *schema, struct err *err);
static bool check_listed_values(const struct params_schema *schema, struct err *err);
static bool check_default(const struct params_schema *schema, struct err *err);
static bool holds_secret(const struct params_schema *schema);

bool params_schema_compile(const char *json, size_t len, struct params_schema **out,
                           struct err *err)
{
    *out = NULL;
    json_error_t error;
    json_t *value = json_loadb(json, len, JSON_REJECT_DUPLICATES, &error);
    if (!value) {
        return err_set(err, ERR_INPUT, "schema: line %d, column %d: %s", error.line, error.column,
                       error.text);
    }
    bool ok = params_schema_compile_value(value, out, err);
    json_decref(value);
    return ok;
}

bool params_schema_compile_value(json_t *json, struct params_schema **out, struct err *err)
{
    if (!compile_schema(json, true, out, err)) return false;
    if ((*out)->types == PARAMS_OBJECT) return true;
    params_schema_free(*out);
    *out = NULL;
    return err_set(err, ERR_INPUT, "the schema of parameters has the type object");
}

void params_schema_free(struct params_schema *schema)
{
    if (!schema) return;
    json_decref(schema->enum_values);
    json_decref(schema->const_value);
    json_decref(schema->default_value);
    json_decref(schema->required);
    params_pattern_free(schema->pattern);
    params_schema_free(schema->items);
    params_schema_free(schema->additional);
    for (size_t i = 0; i < schema->property_count; i++) {
        free(schema->properties[i].name);
        params_schema_free(schema->properties[i].schema);
    }
    free(schema->properties);
    free(schema);
}

const struct params_schema *params_property_find(const struct params_schema *schema,
                                                 const char *name)
{
    for (size_t i = 0; i < schema->property_count; i++) {
        if (strcmp(schema->properties[i].name, name) == 0) return schema->properties[i].schema;
    }
    return NULL;
}

static bool compile_schema(json_t *json, bool is_root, struct params_schema **out, struct err *err)
{
    struct params_schema *schema = xcalloc(1, sizeof *schema);
    schema->max_length = schema->max_items = SIZE_MAX;
    bool ok = compile_words(schema, json, is_root, err) && settle(schema, err);
    if (!ok) params_schema_free(schema);
    *out = ok ? schema : NULL;
    return ok;
}

static bool compile_words(struct params_schema *schema, json_t *json, bool is_root, struct err *err)
{
    char shown[PARAMS_SHOWN_SIZE];
    if (!json_is_object(json)) {
        return err_set(err, ERR_INPUT, "must be a schema or the name of a type, is %s",
                       params_shown(json, shown));
    }
    for (void *at = json_object_iter(json); at; at = json_object_iter_next(json, at)) {
        const char *name = json_object_iter_key(at);
        const struct word *word = find_word(name);
        if (!word) return err_set(err, ERR_INPUT, "unknown word '%.100s'", name);
        json_t *value = json_object_iter_value(at);
        if (!compile_word(schema, word, value, is_root, err)) return false;
    }
    return true;
}

static const struct word *find_word(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (strcmp(words[i].name, name) == 0) return &words[i];
    }
    return NULL;
}

static bool compile_word(struct params_schema *schema, const struct word *word, json_t *value,
                         bool is_root, struct err *err)
{
    void *field = (char *)schema + word->field;
    switch (word->kind) {
    case WORD_TYPE: return compile_type(schema, value, err);
    case WORD_VALUE: *(json_t **)field = json_incref(value); return true;
    case WORD_LIST: return compile_list(word, value, word->field ? field : NULL, err);
    case WORD_NUMBER:
    case WORD_DIVISOR: return compile_number(word, value, field, err);
    case WORD_COUNT: return compile_count(word, value, field, err);
    case WORD_PATTERN: return compile_pattern(schema, value, err);
    case WORD_FORMAT: return compile_format(schema, value, err);
    case WORD_ITEMS:
        return compile_schema(value, false, &schema->items, err) || err_wrap(err, "items");
    case WORD_PROPERTIES: return compile_properties(schema, value, is_root, err);
    case WORD_REQUIRED: return compile_required(schema, value, err);
    case WORD_ADDITIONAL: return compile_additional(schema, value, err);
    case WORD_FLAG:
        *(bool *)field = json_is_true(value);
        return json_is_boolean(value) || refuse_word(word, "true or false", value, err);
    case WORD_TEXT: break;
    }
    return json_is_string(value) || refuse_word(word, "a string", value, err);
}

static bool compile_type(struct params_schema *schema, const json_t *value, struct err *err)
{
    if (!json_is_array(value)) return add_type(schema, value, err);
    if (json_array_size(value) == 0) return err_set(err, ERR_INPUT, "type names no type");
    const char *first = json_string_value(json_array_get(value, 0));
    schema->is_string_first = first && strcmp(first, "string") == 0;
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!add_type(schema, json_array_get(value, i), err)) return false;
    }
    return true;
}

static bool add_type(struct params_schema *schema, const json_t *value, struct err *err)
{
    const char *name = json_string_value(value);
    struct suggestion near = { .word = name ? name : "" };
    for (unsigned i = 0; i < PARAMS_TYPE_COUNT; i++) {
        suggest_consider(&near, params_type_names[i]);
        if (name && strcmp(name, params_type_names[i]) == 0) {
            schema->types |= 1U << i;
            return true;
        }
    }
    char shown[PARAMS_SHOWN_SIZE];
    return err_set(err, ERR_INPUT,
                   "unknown type %s%s%s (known: string, integer, number, boolean, array, object, "
                   "null)",
                   params_shown(value, shown), near.nearest ? ", did you mean " : "",
                   near.nearest ? near.nearest : "");
}

static bool compile_list(const struct word *word, json_t *value, json_t **field, struct err *err)
{
    if (!json_is_array(value)) return refuse_word(word, "a list of values", value, err);
    if (!field) return true;
    *field = json_incref(value);
    return json_array_size(value) > 0 || err_set(err, ERR_INPUT, "%s lists no value", word->name);
}

static bool compile_number(const struct word *word, const json_t *value,
                           struct params_number *number, struct err *err)
{
    bool is_divisor = word->kind == WORD_DIVISOR;
    *number = (struct params_number){ true, json_number_value(value) };
    if (json_is_number(value) && (number->value > 0 || !is_divisor)) return true;
    return refuse_word(word, is_divisor ? "a number above 0" : "a number", value, err);
}

static bool compile_count(const struct word *word, const json_t *value, size_t *count,
                          struct err *err)
{
    double number = json_number_value(value);
    bool is_count = (params_types_of(value) & PARAMS_INTEGER) && number >= 0 && number <= 1e15;
    if (!is_count) return refuse_word(word, "a whole number from 0", value, err);
    *count = (size_t)number;
    return true;
}

static bool compile_pattern(struct params_schema *schema, const json_t *value, struct err *err)
{
    static const struct word word = { "pattern", WORD_PATTERN, 0 };
    if (!json_is_string(value)) return refuse_word(&word, "a regular expression", value, err);
    return params_pattern_compile(json_string_value(value), &schema->pattern, err);
}

static bool compile_format(struct params_schema *schema, const json_t *value, struct err *err)
{
    static const struct word word = { "format", WORD_FORMAT, 0 };
    if (!json_is_string(value)) return refuse_word(&word, "the name of a format", value, err);
    return params_format_find(json_string_value(value), &schema->format, err);
}

static bool compile_properties(struct params_schema *schema, json_t *value, bool is_root,
                               struct err *err)
{
    static const struct word word = { "properties", WORD_PROPERTIES, 0 };
    if (!json_is_object(value)) return refuse_word(&word, "a table of schemas", value, err);
    schema->properties = xcalloc(json_object_size(value) + 1, sizeof *schema->properties);
    for (void *at = json_object_iter(value); at; at = json_object_iter_next(value, at)) {
        struct params_property *property = &schema->properties[schema->property_count++];
        property->name = xstrdup(json_object_iter_key(at));
        if (!compile_schema(json_object_iter_value(at), false, &property->schema, err)) {
            return err_wrap(err, "%s %.100s", is_root ? "parameter" : "property", property->name);
        }
    }
    return true;
}

static bool compile_required(struct params_schema *schema, json_t *value, struct err *err)
{
    static const struct word word = { "required", WORD_REQUIRED, 0 };
    bool is_right = json_is_array(value);
    for (size_t i = 0; i < json_array_size(value); i++) {
        is_right = is_right && json_is_string(json_array_get(value, i));
    }
    schema->required = json_incref(value);
    return is_right ||
           refuse_word(&word,
                       "a list of names of properties (a parameter is required unless it has a "
                       "default or optional = true)",
                       value, err);
}

static bool compile_additional(struct params_schema *schema, json_t *value, struct err *err)
{
    schema->is_closed = json_is_false(value);
    if (json_is_boolean(value)) return true;
    return compile_schema(value, false, &schema->additional, err) ||
           err_wrap(err, "additionalProperties");
}

static bool refuse_word(const struct word *word, const char *expected, const json_t *value,
                        struct err *err)
{
    char shown[PARAMS_SHOWN_SIZE];
    return err_set(err, ERR_INPUT, "%s must be %s, is %s", word->name, expected,
                   params_shown(value, shown));
}

/* All words are read: do they fit together? */
static bool settle(struct params_schema *schema, struct err *err)
{
    schema->holds_secret = holds_secret(schema);
    return check_order(schema, err) && check_listed_values(schema, err) &&
           check_default(schema, err);
}

static bool holds_secret(const struct params_schema *schema)
{
    if (schema->is_secret) return true;
    if (schema->items && schema->items->holds_secret) return true;
    if (schema->additional && schema->additional->holds_secret) return true;
    for (size_t i = 0; i < schema->property_count; i++) {
        if (schema->properties[i].schema->holds_secret) return true;
    }
    return false;
}

static bool check_order(const struct params_schema *schema, struct err *err)
{
    const struct params_number *low = &schema->minimum, *high = &schema->maximum;
    if (low->is_given && high->is_given && low->value > high->value) {
        return err_set(err, ERR_INPUT, "minimum is above maximum");
    }
    if (schema->min_length > schema->max_length) {
        return err_set(err, ERR_INPUT, "minLength is above maxLength");
    }
    return schema->min_items <= schema->max_items ||
           err_set(err, ERR_INPUT, "minItems is above maxItems");
}

static bool check_listed_values(const struct params_schema *schema, struct err *err)
{
    if (schema->types == 0) return true;
    char shown[PARAMS_SHOWN_SIZE];
    for (size_t i = 0; i < json_array_size(schema->enum_values); i++) {
        const json_t *value = json_array_get(schema->enum_values, i);
        if (schema->types & params_types_of(value)) continue;
        return err_set(err, ERR_INPUT, "enum lists %s, which is not of its type",
                       params_shown(value, shown));
    }
    if (!schema->const_value || schema->types & params_types_of(schema->const_value)) return true;
    return err_set(err, ERR_INPUT, "const is %s, which is not of its type",
                   params_shown(schema->const_value, shown));
}

static bool check_default(const struct params_schema *schema, struct err *err)
{
    if (!schema->default_value) return true;
    bool is_empty =
        json_is_string(schema->default_value) && json_string_length(schema->default_value) == 0;
    if (schema->is_secret && !is_empty) {
        return err_set(err, ERR_INPUT,
                       "a secret has no default, everybody could read it; use optional = true");
    }
    struct params_error error;
    if (params_is_valid(schema, schema->default_value, &error)) return true;
    return err_set(err, ERR_INPUT, "default%s%s %s", error.field[0] ? " at " : "", error.field,
                   error.message);
}
