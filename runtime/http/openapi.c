/* openapi.c: see openapi.h, and GET /api/openapi.json. */
#include "http/openapi.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/api.h"

extern const char json_openapi[]; /* openapi.json */

static json_t *operation(const struct route *route, const json_t *words, const json_t *schemas);
static json_t *parameters(const struct route *route, const json_t *words);
static json_t *schema_of(const char *type);
static json_t *responses(const struct route *route, const json_t *words, const json_t *schemas);
static json_t *content(const json_t *names);
static void add_content(json_t *out, const char *name);
static void add_types(json_t *schemas, const json_t *types);
static json_t *submission_of(const json_t *type, const char *parameters_name);
static void on_types(void *arg, const char *json, size_t len, const struct err *err);

void handle_openapi(struct exchange *exchange)
{
    ledger_catalogue_list(exchange->api->ledger, NULL, on_types, exchange);
}

static void on_types(void *arg, const char *json, size_t len, const struct err *err)
{
    answer_types(arg, json, len, err, openapi_write);
}

json_t *openapi_words(void) { return json_loads(json_openapi, 0, NULL); }

void openapi_write(struct buf *out, const json_t *types)
{
    json_t *root = openapi_words(), *paths = json_object();
    json_t *schemas = json_object_get(json_object_get(root, "components"), "schemas");
    json_t *routes = json_object_get(root, "routes");
    for (const struct route *route = route_table; route->method; route++) {
        char key[200], method[16] = "";
        snprintf(key, sizeof key, "%s %s", route->method, route->path);
        const json_t *own = json_object_get(routes, key);
        if (!json_object_get(own, "answers")) continue; /* a page */
        for (size_t i = 0; route->method[i] && i + 1 < sizeof method; i++)
            method[i] = (char)tolower((unsigned char)route->method[i]);
        if (!json_object_get(paths, route->path))
            json_object_set_new(paths, route->path, json_object());
        json_object_set_new(json_object_get(paths, route->path), method,
                            operation(route, own, schemas));
    }
    json_object_del(root, "routes");
    json_object_set_new(root, "paths", paths);
    json_object_set_new(json_object_get(root, "info"), "version", json_string(CTUTOR_VERSION));
    add_types(schemas, types);
    params_write(out, root);
    json_decref(root);
}

/* ---- routes ---- */

/* "GET /api/tasks/{id}" -> getTasksId: what generated clients call it. */
static json_t *name_of(const struct route *route)
{
    struct buf name = BUF_EMPTY;
    const char *at = route->path;
    bool is_begin = true;
    for (const char *c = route->method; *c; c++)
        buf_add_char(&name, (char)tolower((unsigned char)*c));
    if (strncmp(at, "/api/", 5) == 0) at += 4;
    for (; *at; at++) {
        if (isalnum((unsigned char)*at))
            buf_add_char(&name, is_begin ? (char)toupper((unsigned char)*at) : *at);
        is_begin = !isalnum((unsigned char)*at);
    }
    json_t *text = json_string(buf_text(&name));
    buf_close(&name);
    return text;
}

static json_t *operation(const struct route *route, const json_t *words, const json_t *schemas)
{
    const char *scope = openapi_scope(route);
    const json_t *body = json_object_get(words, "body");
    json_t *out =
        json_pack("{s[O?]sssoso}", "tags", json_object_get(words, "tag"), "summary", route->summary,
                  "operationId", name_of(route), "responses", responses(route, words, schemas));
    json_object_set_new(out, "parameters", parameters(route, words));
    json_object_set_new(out, "security",
                        scope ? json_pack("[{s[s]}{s[s]}]", "token", scope, "session", scope)
                              : json_array());
    if (body)
        json_object_set_new(out, "requestBody",
                            json_pack("{sbso}", "required", 1, "content", content(body)));
    return out;
}

const char *openapi_scope(const struct route *route)
{
    return route->scope >= SCOPE_READ ? scope_word(route->scope) : NULL;
}

static json_t *parameters(const struct route *route, const json_t *words)
{
    json_t *out = json_array(), *shared;
    size_t index;
    const char *at = strchr(route->path, '{');
    if (at) {
        json_t *name = json_stringn(at + 1, strcspn(at + 1, "}"));
        const char *type = strcmp(json_string_value(name), "id") == 0 ? "id" : "string";
        json_array_append_new(out, json_pack("{sosssbso}", "name", name, "in", "path", "required",
                                             1, "schema", schema_of(type)));
    }
    for (const struct route_param *param = route->query; param && param->name; param++)
        json_array_append_new(out, json_pack("{ssssssso}", "name", param->name, "in", "query",
                                             "description", param->help, "schema",
                                             schema_of(param->type)));
    json_array_foreach(json_object_get(words, "parameters"), index, shared) json_array_append_new(
        out, json_pack("{ss+}", "$ref", "#/components/parameters/", json_string_value(shared)));
    return out;
}

/* of a route_param, or "id" */
static json_t *schema_of(const char *type)
{
    if (strcmp(type, "id") == 0) return json_pack("{ss}", "$ref", "#/components/schemas/TaskId");
    if (strcmp(type, "duration") == 0)
        return json_pack("{ss}", "$ref", "#/components/schemas/Duration");
    if (strcmp(type, "strings") == 0)
        return json_pack("{sss{ss}}", "type", "array", "items", "type", "string");
    return json_pack("{ss}", "type", strcmp(type, "time") == 0 ? "string" : type);
}

static json_t *responses(const struct route *route, const json_t *words, const json_t *schemas)
{
    json_t *out = json_object(), *names, *errors = openapi_errors(route, words), *error;
    const char *status;
    size_t index;
    json_array_foreach(errors, index, error)
    {
        const char *code = json_string_value(error);
        json_object_set_new(out, code, json_pack("{ss+}", "$ref", "#/components/responses/", code));
    }
    json_object_foreach(json_object_get(words, "answers"), status, names)
    {
        const json_t *first = json_is_array(names) ? json_array_get(names, 0) : names;
        const char *name = json_string_value(first);
        const char *said =
            json_string_value(json_object_get(json_object_get(schemas, name), "description"));
        json_t *response = json_pack("{ss}", "description", said ? said : route->summary);
        if (!json_is_null(names)) json_object_set_new(response, "content", content(names));
        json_object_set_new(out, status, response);
    }
    json_decref(errors);
    return out;
}

/* names: a NAME or several. */
static json_t *content(const json_t *names)
{
    json_t *out = json_object(), *name;
    size_t index;
    if (json_is_string(names)) add_content(out, json_string_value(names));
    json_array_foreach((json_t *)(uintptr_t)names, index, name)
        add_content(out, json_string_value(name));
    return out;
}

static void add_content(json_t *out, const char *name)
{
    if (strchr(name, '/'))
        json_object_set_new(out, name, json_pack("{s{ss}}", "schema", "type", "string"));
    else
        json_object_set_new(out, "application/json",
                            json_pack("{s{ss+}}", "schema", "$ref", "#/components/schemas/", name));
}

json_t *openapi_errors(const struct route *route, const json_t *words)
{
    static const char *const statuses[] = { "400", "401", "403", "404", "409", "410",
                                            "413", "415", "422", "429", "503" };
    json_t *out = json_array();
    bool has_body = route->body != BODY_NONE;
    for (size_t i = 0; i < COUNT_OF(statuses); i++) {
        const char *status = statuses[i];
        int number = atoi(status);
        json_t *said;
        size_t index;
        bool is_one = number == 422 || number == 503 ||
                      ((number == 413 || number == 415) && has_body) ||
                      ((number == 401 || number == 403) && openapi_scope(route)) ||
                      (number == 404 && strstr(route->path, "{id}"));
        json_array_foreach(json_object_get(words, "errors"), index, said) is_one =
            is_one || strcmp(json_string_value(said), status) == 0;
        bool is_answer = json_object_get(json_object_get(words, "answers"), status) != NULL;
        if (is_one && !is_answer) json_array_append_new(out, json_string(status));
    }
    return out;
}

/* ---- the catalogue: a schema for each task ---- */

static void add_types(json_t *schemas, const json_t *types)
{
    json_t *any = json_array(), *mapping = json_object(), *type;
    size_t index;
    json_array_foreach(types, index, type)
    {
        const char *name = json_string_value(json_object_get(type, "name"));
        json_t *own = json_object_get(type, "parameters");
        char parameters_name[200], submit_name[200], link[240];
        if (!name || !json_is_object(own)) continue; /* its file has never loaded */
        snprintf(parameters_name, sizeof parameters_name, "parameters.%.130s", name);
        snprintf(submit_name, sizeof submit_name, "submit.%.130s", name);
        snprintf(link, sizeof link, "#/components/schemas/%s", submit_name);
        json_object_set(schemas, parameters_name, own);
        json_object_set_new(schemas, submit_name, submission_of(type, parameters_name));
        json_array_append_new(any, json_pack("{ss}", "$ref", link));
        json_object_set_new(mapping, name, json_string(link));
    }
    if (json_array_size(any))
        json_object_set_new(schemas, "Submission",
                            json_pack("{sssOs{sssO}}", "description", "A task to run.", "oneOf",
                                      any, "discriminator", "propertyName", "task_name", "mapping",
                                      mapping));
    json_decref(any);
    json_decref(mapping);
}

/* Its parameters must be given when one of them must. */
static json_t *submission_of(const json_t *type, const char *parameters_name)
{
    json_t *out =
        json_pack("{sss[{ss}]s[s]s{s{sO}s{ss+}}sb}", "type", "object", "allOf", "$ref",
                  "#/components/schemas/SubmissionOptions", "required", "task_name", "properties",
                  "task_name", "const", json_object_get(type, "name"), "parameters", "$ref",
                  "#/components/schemas/", parameters_name, "unevaluatedProperties", 0);
    const json_t *required = json_object_get(json_object_get(type, "parameters"), "required");
    const json_t *summary = json_object_get(type, "summary");
    if (json_array_size(required))
        json_array_append_new(json_object_get(out, "required"), json_string("parameters"));
    if (json_is_string(summary)) json_object_set(out, "description", (json_t *)(uintptr_t)summary);
    return out;
}
