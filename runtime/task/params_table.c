/* params_table.c: the `params` table of a task file -> JSON Schema 2020-12.
 *
 * Ours is a little shorter than JSON Schema: the name of a type stands for a schema, `optional` for
 * an absent entry in `required`, `secret` for `writeOnly`. And Lua has one kind of table: an empty
 * one arrives as {} where a list is meant. This file irons all that out; params_compile.c then
 * judges the result, so both see the same words. The text is the same for the same table, whatever
 * its order. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "task/params_schema.h"
#include "task/suggest.h"

static const char *const author_words[] = {
    "type",       "enum",       "const",
    "default",    "minimum",    "maximum",
    "multipleOf", "minLength",  "maxLength",
    "pattern",    "format",     "exclusiveMinimum",
    "items",      "minItems",   "exclusiveMaximum",
    "maxItems",   "properties", "additionalProperties",
    "required",   "title",      "description",
    "examples",   "secret",     "optional",
};

static bool is_empty_list(const json_t *value);
static json_t *build_root(json_t *table, bool additional_params, struct err *err);
static bool add_parameter(json_t *root, const char *name, json_t *value, struct err *err);
static json_t *build_schema(json_t *value, bool is_parameter, struct err *err);
static json_t *build_from_words(json_t *table, bool is_parameter, struct err *err);
static bool add_word(json_t *schema, const char *word, json_t *value, bool is_parameter,
                     struct err *err);
static bool check_flag(const char *word, const json_t *value, bool is_allowed, struct err *err);
static bool add_properties(json_t *schema, json_t *table, struct err *err);
static bool add_schema(json_t *schema, const char *word, json_t *value, struct err *err);
static bool is_list_word(const char *word);
static bool is_author_word(const char *word, struct err *err);
static bool names_type(const json_t *schema, const char *type);
static bool is_empty_table(const json_t *value);
static void restore_empty_lists(json_t *schema);
static bool check_result(json_t *root, struct err *err);

bool params_schema_from_table(const char *json, size_t len, bool additional_params, struct buf *out,
                              struct err *err)
{
    json_t *table = NULL;
    if (!params_parse(json, len, "params", &table, err)) return false;
    json_t *root = NULL;
    if (json_is_object(table) || is_empty_list(table)) {
        root = build_root(table, additional_params, err);
    } else {
        err_set(err, ERR_INPUT, "params must be a table of parameter = schema");
    }
    bool ok = root && check_result(root, err);
    if (ok) params_write(out, root);
    json_decref(root);
    json_decref(table);
    return ok;
}

static bool is_empty_list(const json_t *value)
{
    return json_is_array(value) && json_array_size(value) == 0;
}

static bool check_result(json_t *root, struct err *err)
{
    struct params_schema *schema = NULL;
    bool ok = params_schema_compile_value(root, &schema, err);
    params_schema_free(schema);
    return ok;
}

static json_t *build_root(json_t *table, bool additional_params, struct err *err)
{
    json_t *root = json_pack("{s:s, s:{}, s:[], s:b}", "type", "object", "properties", "required",
                             "additionalProperties", additional_params);
    const char **names = params_sorted_keys(table);
    bool ok = true;
    for (size_t i = 0; ok && names[i]; i++) {
        ok = add_parameter(root, names[i], json_object_get(table, names[i]), err) ||
             err_wrap(err, "parameter %.100s", names[i]);
    }
    free(names);
    if (!ok) json_decref(root);
    return ok ? root : NULL;
}

static bool add_parameter(json_t *root, const char *name, json_t *value, struct err *err)
{
    if (!name[0]) return err_set(err, ERR_INPUT, "a parameter needs a name");
    json_t *schema = build_schema(value, true, err);
    if (!schema) return false;
    bool is_optional = json_is_true(json_object_get(value, "optional"));
    if (!is_optional && !json_object_get(schema, "default")) {
        json_array_append_new(json_object_get(root, "required"), json_string(name));
    }
    json_object_set_new(json_object_get(root, "properties"), name, schema);
    return true;
}

/* gives, NULL: err tells why */
static json_t *build_schema(json_t *value, bool is_parameter, struct err *err)
{
    if (json_is_object(value)) return build_from_words(value, is_parameter, err);
    if (is_empty_list(value)) return json_object();
    if (json_is_string(value) || json_is_array(value)) return json_pack("{s:O}", "type", value);
    char shown[PARAMS_SHOWN_SIZE];
    err_set(err, ERR_INPUT, "must be a schema or the name of a type, is %s",
            params_shown(value, shown));
    return NULL;
}

static json_t *build_from_words(json_t *table, bool is_parameter, struct err *err)
{
    json_t *schema = json_object();
    const char **names = params_sorted_keys(table);
    bool ok = true;
    for (size_t i = 0; ok && names[i]; i++) {
        ok = add_word(schema, names[i], json_object_get(table, names[i]), is_parameter, err);
    }
    free(names);
    if (ok) {
        restore_empty_lists(schema);
        return schema;
    }
    json_decref(schema);
    return NULL;
}

static bool add_word(json_t *schema, const char *word, json_t *value, bool is_parameter,
                     struct err *err)
{
    if (strcmp(word, "optional") == 0) return check_flag(word, value, is_parameter, err);
    if (strcmp(word, "secret") == 0) {
        if (json_is_true(value)) json_object_set_new(schema, "writeOnly", json_true());
        return check_flag(word, value, true, err);
    }
    if (!is_author_word(word, err)) return false;
    if (strcmp(word, "properties") == 0) return add_properties(schema, value, err);
    bool is_schema = strcmp(word, "items") == 0 ||
                     (strcmp(word, "additionalProperties") == 0 && !json_is_boolean(value));
    if (is_schema) return add_schema(schema, word, value, err) || err_wrap(err, "%s", word);
    json_t *copy =
        is_empty_table(value) && is_list_word(word) ? json_array() : json_deep_copy(value);
    json_object_set_new(schema, word, copy);
    return true;
}

static bool check_flag(const char *word, const json_t *value, bool is_allowed, struct err *err)
{
    if (!is_allowed) {
        return err_set(err, ERR_INPUT, "%s is for parameters; here, list those in `required`",
                       word);
    }
    char shown[PARAMS_SHOWN_SIZE];
    return json_is_boolean(value) || err_set(err, ERR_INPUT, "%s must be true or false, is %s",
                                             word, params_shown(value, shown));
}

static bool add_properties(json_t *schema, json_t *table, struct err *err)
{
    if (!json_is_object(table) && !is_empty_list(table)) {
        return err_set(err, ERR_INPUT, "properties must be a table of property = schema");
    }
    json_t *properties = json_object();
    json_object_set_new(schema, "properties", properties);
    const char **names = params_sorted_keys(table);
    bool ok = true;
    for (size_t i = 0; ok && names[i]; i++) {
        ok = add_schema(properties, names[i], json_object_get(table, names[i]), err) ||
             err_wrap(err, "property %.100s", names[i]);
    }
    free(names);
    return ok;
}

static bool add_schema(json_t *schema, const char *word, json_t *value, struct err *err)
{
    json_t *inner = build_schema(value, false, err);
    return inner && json_object_set_new(schema, word, inner) == 0;
}

static bool is_list_word(const char *word)
{
    return strcmp(word, "enum") == 0 || strcmp(word, "required") == 0 ||
           strcmp(word, "examples") == 0 || strcmp(word, "type") == 0;
}

static bool is_author_word(const char *word, struct err *err)
{
    struct suggestion near = { .word = word };
    for (size_t i = 0; i < COUNT_OF(author_words); i++) {
        if (strcmp(word, author_words[i]) == 0) return true;
        suggest_consider(&near, author_words[i]);
    }
    if (!near.nearest) return err_set(err, ERR_INPUT, "unknown word '%.100s'", word);
    return err_set(err, ERR_INPUT, "unknown word '%.100s', did you mean %s?", word, near.nearest);
}

/* Where a list is asked for and no object, the empty table of a default, const or enum is a list.
 */
static void restore_empty_lists(json_t *schema)
{
    if (!names_type(schema, "array") || names_type(schema, "object")) return;
    static const char *const single[] = { "default", "const" }, *const many[] = { "enum",
                                                                                  "examples" };
    for (size_t i = 0; i < COUNT_OF(single); i++) {
        if (is_empty_table(json_object_get(schema, single[i]))) {
            json_object_set_new(schema, single[i], json_array());
        }
    }
    for (size_t i = 0; i < COUNT_OF(many); i++) {
        json_t *values = json_object_get(schema, many[i]);
        for (size_t j = 0; j < json_array_size(values); j++) {
            if (is_empty_table(json_array_get(values, j))) {
                json_array_set_new(values, j, json_array());
            }
        }
    }
}

static bool names_type(const json_t *schema, const char *type)
{
    const json_t *types = json_object_get(schema, "type");
    if (json_is_string(types)) return strcmp(json_string_value(types), type) == 0;
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *name = json_string_value(json_array_get(types, i));
        if (name && strcmp(name, type) == 0) return true;
    }
    return false;
}

static bool is_empty_table(const json_t *value)
{
    return json_is_object(value) && json_object_size(value) == 0;
}
