/* params_values.c: copies of parameters as their schema wants them seen: masked for people, filled
 * with defaults for the task. */
#include <stdint.h>

#include "base/jsonw.h"
#include "task/params_schema.h"

#define MASK "********"

static void mask_inside(const struct params_schema *schema, json_t *value);
static json_t *masked_copy(const struct params_schema *schema, json_t *value);
static void fill_object(const struct params_schema *schema, json_t *object);
static void fill_inside(const struct params_schema *schema, json_t *value);
static void drop_not_given(const struct params_schema *schema, json_t *params);
static void collect_patterns(const struct params_schema *schema, json_t *patterns);

json_t *params_masked(const struct params_schema *schema, const json_t *params)
{
    json_t *copy = json_deep_copy(params);
    mask_inside(schema, copy);
    return copy;
}

/* Replaces the secrets among the children of value, which is ours to change. */
static void mask_inside(const struct params_schema *schema, json_t *value)
{
    for (size_t i = 0; schema->items && i < json_array_size(value); i++) {
        json_t *item = json_array_get(value, i);
        json_array_set_new(value, i, masked_copy(schema->items, item));
    }
    for (void *at = json_object_iter(value); at; at = json_object_iter_next(value, at)) {
        const struct params_schema *inner = params_property_find(schema, json_object_iter_key(at));
        if (!inner) inner = schema->additional;
        if (!inner) continue;
        json_t *masked = masked_copy(inner, json_object_iter_value(at));
        json_object_iter_set_new(value, at, masked);
    }
}

/* A value that cannot be the object or list that holds the secrets is hidden as a whole. */
static json_t *masked_copy(const struct params_schema *schema, json_t *value)
{
    unsigned types = schema->types ? schema->types : PARAMS_OBJECT | PARAMS_ARRAY;
    bool is_shaped = types & params_types_of(value);
    if (schema->is_secret || (schema->holds_secret && !is_shaped)) return json_string(MASK);
    mask_inside(schema, value);
    return json_incref(value);
}

json_t *params_with_defaults(const struct params_schema *schema, const json_t *params)
{
    json_t *copy = json_deep_copy(params);
    drop_not_given(schema, copy);
    fill_inside(schema, copy);
    return copy;
}

static void drop_not_given(const struct params_schema *schema, json_t *params)
{
    for (size_t i = 0; i < schema->property_count; i++) {
        const struct params_property *property = &schema->properties[i];
        bool is_null = json_is_null(json_object_get(params, property->name));
        if (is_null && !params_admits_null(property->schema)) {
            json_object_del(params, property->name);
        }
    }
}

static void fill_inside(const struct params_schema *schema, json_t *value)
{
    for (size_t i = 0; schema->items && i < json_array_size(value); i++) {
        fill_inside(schema->items, json_array_get(value, i));
    }
    if (json_is_object(value)) fill_object(schema, value);
}

static void fill_object(const struct params_schema *schema, json_t *object)
{
    for (size_t i = 0; i < schema->property_count; i++) {
        const struct params_property *property = &schema->properties[i];
        json_t *value = json_object_get(object, property->name);
        if (!value && property->schema->default_value) {
            value = json_deep_copy(property->schema->default_value);
            json_object_set_new(object, property->name, value);
        }
        if (value) fill_inside(property->schema, value);
    }
}

void params_secret_names(const struct params_schema *schema, struct buf *out)
{
    struct jsonw w;
    jsonw_init(&w, out);
    jsonw_array(&w);
    for (size_t i = 0; i < schema->property_count; i++) {
        const struct params_property *property = &schema->properties[i];
        if (property->schema->holds_secret) jsonw_text(&w, property->name);
    }
    jsonw_array_end(&w);
}

void params_patterns(const struct params_schema *schema, struct buf *out)
{
    json_t *patterns = json_object();
    collect_patterns(schema, patterns);
    params_write(out, patterns);
    json_decref(patterns);
}

static void collect_patterns(const struct params_schema *schema, json_t *patterns)
{
    const struct params_pattern *pattern = schema->pattern;
    if (pattern) {
        size_t longest = params_pattern_longest(pattern);
        json_int_t bytes = longest < INT32_MAX ? (json_int_t)longest : INT32_MAX;
        json_t *known =
            json_pack("{s:s, s:I}", "posix", params_pattern_posix(pattern), "longest", bytes);
        json_object_set_new(patterns, params_pattern_text(pattern), known);
    }
    if (schema->items) collect_patterns(schema->items, patterns);
    if (schema->additional) collect_patterns(schema->additional, patterns);
    for (size_t i = 0; i < schema->property_count; i++) {
        collect_patterns(schema->properties[i].schema, patterns);
    }
}
