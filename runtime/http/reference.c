/* reference.c: openapi_reference: what `ctutor-run help rest` prints and docs/rest.md ends with. */
#include <stdio.h>
#include <string.h>

#include "http/api.h"
#include "http/openapi.h"

static void add_group(struct buf *out, const json_t *words, const char *tag);
static void add_route(struct buf *out, const struct route *route, const json_t *words);
static void add_schema(struct buf *out, const char *name, const json_t *schema);
static void add_fields(struct buf *out, const json_t *schema);
static void add_type(struct buf *out, const json_t *schema);

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void add_list(struct buf *out, const json_t *items, const char *between,
                     void (*add)(struct buf *out, const json_t *item))
{
    json_t *item;
    size_t index;
    json_array_foreach((json_t *)(uintptr_t)items, index, item)
    {
        if (index) buf_add_text(out, between);
        add(out, item);
    }
}

static void add_word(struct buf *out, const json_t *word)
{
    buf_addf(out, "%s", json_string_value(word));
}

static void add_value(struct buf *out, const json_t *word)
{
    buf_addf(out, "`%s`", json_string_value(word));
}

void openapi_reference(struct buf *out)
{
    json_t *words = openapi_words(), *tag, *schema;
    size_t index;
    const char *name;
    json_array_foreach(json_object_get(words, "tags"), index, tag)
    {
        buf_addf(out, "### %s\n\n%s\n\n", text_of(tag, "name"), text_of(tag, "description"));
        add_group(out, json_object_get(words, "routes"), text_of(tag, "name"));
    }
    buf_add_text(out, "### Schemas\n");
    json_object_foreach(json_object_get(json_object_get(words, "components"), "schemas"), name,
                        schema) add_schema(out, name, schema);
    json_decref(words);
}

static void add_group(struct buf *out, const json_t *words, const char *tag)
{
    buf_add_text(out,
                 "| route | scope | takes | answers | errors |\n| --- | --- | --- | --- | --- |\n");
    for (const struct route *route = route_table; route->method; route++) {
        char key[200];
        snprintf(key, sizeof key, "%s %s", route->method, route->path);
        const json_t *own = json_object_get(words, key);
        if (strcmp(text_of(own, "tag"), tag) == 0) add_route(out, route, own);
    }
    buf_add_char(out, '\n');
}

static void add_route(struct buf *out, const struct route *route, const json_t *words)
{
    const char *scope = openapi_scope(route), *status;
    json_t *item, *errors = openapi_errors(route, words);
    size_t index;
    buf_addf(out, "| `%s %s`: %s | %s | ", route->method, route->path, route->summary,
             scope ? scope : "");
    if (*text_of(words, "body")) buf_addf(out, "`%s`", text_of(words, "body"));
    for (const struct route_param *param = route->query; param && param->name; param++)
        buf_addf(out, "%s`%s`: %s", param == route->query ? "" : "<br>", param->name, param->help);
    buf_add_text(out, " |");
    json_object_foreach(json_object_get((json_t *)(uintptr_t)words, "answers"), status, item)
    {
        buf_addf(out, " %s ", status);
        if (json_is_array(item))
            add_list(out, item, " or ", add_value);
        else if (json_is_string(item))
            add_value(out, item);
    }
    buf_add_text(out, " |");
    json_array_foreach(errors, index, item) buf_addf(out, " %s", json_string_value(item));
    buf_add_text(out, " |\n");
    json_decref(errors);
}

static void add_schema(struct buf *out, const char *name, const json_t *schema)
{
    const char *description = text_of(schema, "description");
    buf_addf(out, "\n#### %s\n", name);
    if (*description) buf_addf(out, "\n%s\n", description);
    if (json_object_get(schema, "properties") || json_object_get(schema, "allOf")) {
        add_fields(out, schema);
    } else {
        buf_add_char(out, '\n');
        add_type(out, schema);
        buf_add_char(out, '\n');
    }
}

static void add_fields(struct buf *out, const json_t *schema)
{
    json_t *part, *field;
    size_t index;
    const char *name;
    bool has_table = false;
    json_array_foreach(json_object_get(schema, "allOf"), index, part)
    {
        const char *base = text_of(part, "$ref");
        if (*base) buf_addf(out, "\nThe fields of `%s`, and:\n", strrchr(base, '/') + 1);
        if (!*base) schema = part;
    }
    json_object_foreach(json_object_get(schema, "properties"), name, field)
    {
        if (!has_table) buf_add_text(out, "\n| field | type | |\n| --- | --- | --- |\n");
        has_table = true;
        buf_addf(out, "| `%s` | ", name);
        add_type(out, field);
        buf_addf(out, " | %s |\n", text_of(field, "description"));
    }
}

static void add_type(struct buf *out, const json_t *schema)
{
    const json_t *type = json_object_get(schema, "type"), *any = json_object_get(schema, "anyOf");
    if (!any) any = json_object_get(schema, "oneOf");
    const char *link = text_of(schema, "$ref");
    if (*link) {
        buf_addf(out, "`%s`", strrchr(link, '/') + 1);
    } else if (any) {
        add_list(out, any, " or ", add_type);
    } else if (json_object_get(schema, "enum")) {
        add_list(out, json_object_get(schema, "enum"), ", ", add_value);
    } else if (json_object_get(schema, "items")) {
        buf_add_text(out, "list of ");
        add_type(out, json_object_get(schema, "items"));
    } else if (json_is_array(type)) {
        add_list(out, type, " or ", add_word);
    } else {
        buf_add_text(out, json_is_string(type) ? json_string_value(type) : "any");
    }
}
