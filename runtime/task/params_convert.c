/* params_convert.c: `key=text` of the command line -> a JSON value of the type the schema asks for.
 *
 * Text reads as a number, true, false or null exactly as JSON writes them; nothing is guessed
 * ("yes", "007" and "+5" are no such values). Among several types the narrowest that fits wins, a
 * string last, unless the schema names it first. */
#include <string.h>

#include "task/params_schema.h"

static json_t *find_listed(const struct params_schema *schema, const char *text);
static json_t *match_listed(json_t *listed, const char *text, const json_t *scalar);
static json_t *read_scalar(const char *text);
static bool is_wanted(const struct params_schema *schema, const json_t *scalar);
static bool refuse(const struct params_schema *schema, const char *key, const char *text,
                   struct err *err);

bool params_convert_text(const struct params_schema *schema, const char *key, const char *text,
                         json_t **value, struct err *err)
{
    json_t *string = json_string(text);
    *value = string;
    if (!string) return err_set(err, ERR_INPUT, "%s is not valid UTF-8", key);
    const struct params_schema *wanted = params_property_find(schema, key);
    if (!wanted) return true;
    bool takes_any = wanted->types == 0, takes_string = takes_any || wanted->types & PARAMS_STRING;
    json_t *listed = find_listed(wanted, text);
    json_t *scalar = listed ? listed : read_scalar(text);
    bool is_scalar =
        listed || (!takes_any && !wanted->is_string_first && is_wanted(wanted, scalar));
    if (is_scalar) {
        *value = scalar;
        json_decref(string);
        return true;
    }
    json_decref(scalar);
    if (takes_string) return true;
    json_decref(string);
    *value = NULL;
    return refuse(wanted, key, text, err);
}

/* The value of enum or const that the text writes. gives or NULL */
static json_t *find_listed(const struct params_schema *schema, const char *text)
{
    json_t *scalar = read_scalar(text);
    json_t *found = NULL;
    for (size_t i = 0; !found && i < json_array_size(schema->enum_values); i++) {
        found = match_listed(json_array_get(schema->enum_values, i), text, scalar);
    }
    if (!found && schema->const_value) found = match_listed(schema->const_value, text, scalar);
    json_decref(scalar);
    return json_incref(found);
}

static json_t *match_listed(json_t *listed, const char *text, const json_t *scalar)
{
    if (json_is_string(listed)) return strcmp(json_string_value(listed), text) ? NULL : listed;
    return scalar && params_is_equal(listed, scalar) ? listed : NULL;
}

/* A number, true, false or null, without blanks around it. gives or NULL */
static json_t *read_scalar(const char *text)
{
    size_t len = strlen(text);
    json_t *value = NULL;
    if (len == 0 || strpbrk(text, " \t\r\n\"[{")) return NULL;
    return params_parse(text, len, "", &value, NULL) ? value : NULL;
}

static bool is_wanted(const struct params_schema *schema, const json_t *scalar)
{
    if (json_is_real(scalar)) return schema->types & PARAMS_NUMBER;
    return scalar && schema->types & params_types_of(scalar);
}

static bool refuse(const struct params_schema *schema, const char *key, const char *text,
                   struct err *err)
{
    const unsigned containers = PARAMS_ARRAY | PARAMS_OBJECT;
    struct buf expected = BUF_EMPTY;
    params_add_types(&expected, schema->types);
    char shown[PARAMS_SHOWN_SIZE];
    json_t *string = json_string(text);
    err_set(err, ERR_INPUT, "%s must be %s", key, expected.data);
    if (schema->types & containers) {
        err_set(err, ERR_INPUT, "%s must be %s; write it as JSON: %s:='%s'", key, expected.data,
                key, schema->types & PARAMS_ARRAY ? "[...]" : "{...}");
    } else if (!schema->holds_secret) {
        err_set(err, ERR_INPUT, "%s must be %s, is %s", key, expected.data,
                params_shown(string, shown));
    }
    json_decref(string);
    buf_close(&expected);
    return false;
}
