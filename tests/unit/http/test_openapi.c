/* Every route is documented, and the document holds together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "http/api.h"
#include "http/openapi.h"

static const char types[] =
    "[{\"name\":\"greet\",\"summary\":\"Greets\",\"parameters\":{\"type\":\"object\","
    "\"required\":[\"name\"],\"properties\":{\"name\":{\"type\":\"string\"}}}},"
    "{\"name\":\"a.free-one\",\"summary\":null,\"parameters\":{\"type\":\"object\"}},"
    "{\"name\":\"broken\",\"parameters\":null,\"error\":\"broken.lua:1\"}]";

static const json_t *part(const json_t *root, const char *section, const char *name)
{
    return json_object_get(json_object_get(json_object_get(root, "components"), section), name);
}

static bool has_tag(const json_t *words, const char *tag)
{
    json_t *known;
    size_t index;
    json_array_foreach(json_object_get(words, "tags"), index, known)
    {
        if (strcmp(json_string_value(json_object_get(known, "name")), tag) == 0) return true;
    }
    return false;
}

static void expect(bool is_good, const struct route *route, const char *what)
{
    if (!is_good)
        fail_msg("%s %s: %s in runtime/http/openapi.json", route->method, route->path, what);
}

static void check_names(const struct route *route, const json_t *words, const json_t *own)
{
    json_t *item, *errors = openapi_errors(route, own);
    const char *status, *body = json_string_value(json_object_get(own, "body"));
    size_t index;
    expect((body != NULL) == (route->body != BODY_NONE), route, "a body is what the route takes");
    expect(!body || strchr(body, '/') || part(words, "schemas", body), route,
           "no schema of its body");
    json_object_foreach(json_object_get(own, "answers"), status, item)
    {
        const json_t *first = json_is_array(item) ? json_array_get(item, 0) : item;
        const char *name = json_string_value(first);
        if (json_is_null(first)) continue;
        expect(strchr(name, '/') || part(words, "schemas", name), route, "no schema of an answer");
        expect(strchr(name, '/') || json_object_get(part(words, "schemas", name), "description"),
               route, "an answer's schema has no description");
    }
    json_array_foreach(errors, index, item)
        expect(part(words, "responses", json_string_value(item)) != NULL, route, "no such error");
    json_array_foreach(json_object_get(own, "errors"), index, item)
        expect(part(words, "responses", json_string_value(item)) != NULL, route, "no such error");
    json_array_foreach(json_object_get(own, "parameters"), index, item)
        expect(part(words, "parameters", json_string_value(item)) != NULL, route, "no such header");
    json_decref(errors);
}

static void every_route_is_documented(void **state)
{
    (void)state;
    json_t *words = openapi_words(), *routes = json_object_get(words, "routes");
    assert_non_null(words);
    for (const struct route *route = route_table; route->method; route++) {
        char key[200];
        snprintf(key, sizeof key, "%s %s", route->method, route->path);
        const json_t *own = json_object_get(routes, key);
        const char *tag = json_string_value(json_object_get(own, "tag"));
        expect(own != NULL, route, "is not under \"routes\"");
        expect(tag && has_tag(words, tag), route, "no such tag");
        assert_true(route->summary && *route->summary);
        if (tag && strcmp(tag, "Pages") != 0) {
            expect(json_object_size(json_object_get(own, "answers")) > 0, route, "no answers");
            check_names(route, words, own);
        }
        json_object_del(routes, key);
    }
    const char *left;
    json_t *value;
    json_object_foreach(routes, left, value) fail_msg("%s is no route", left);
    json_decref(words);
}

static void check_links(const json_t *root, const json_t *value)
{
    const char *key, *link = json_string_value(json_object_get(value, "$ref"));
    json_t *item;
    size_t index;
    if (link) {
        char section[40], name[200];
        assert_int_equal(sscanf(link, "#/components/%39[^/]/%199s", section, name), 2);
        if (!part(root, section, name)) fail_msg("%s leads nowhere", link);
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, item) check_links(root, item);
    json_array_foreach((json_t *)(uintptr_t)value, index, item) check_links(root, item);
}

static json_t *document(const char *catalogue)
{
    struct buf out = BUF_EMPTY;
    json_t *list = json_loads(catalogue, 0, NULL);
    openapi_write(&out, list);
    json_t *root = json_loads(buf_text(&out), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    json_decref(list);
    buf_close(&out);
    return root;
}

static void each_task_has_a_schema(void **state)
{
    (void)state;
    json_t *root = document(types);
    const json_t *any = part(root, "schemas", "Submission");
    const json_t *greet = part(root, "schemas", "submit.greet");
    const json_t *mapping = json_object_get(json_object_get(any, "discriminator"), "mapping");
    assert_int_equal(json_array_size(json_object_get(any, "oneOf")), 2);
    assert_string_equal(json_string_value(json_object_get(mapping, "a.free-one")),
                        "#/components/schemas/submit.a.free-one");
    assert_int_equal(json_array_size(json_object_get(greet, "required")), 2);
    assert_string_equal(json_string_value(json_object_get(greet, "description")), "Greets");
    assert_non_null(json_object_get(part(root, "schemas", "parameters.greet"), "properties"));
    assert_null(part(root, "schemas", "submit.broken"));
    assert_null(json_object_get(root, "routes"));
    check_links(root, root);
    json_decref(root);
}

static void without_tasks_a_submission_is_free(void **state)
{
    (void)state;
    json_t *root = document("[]");
    assert_non_null(json_object_get(part(root, "schemas", "Submission"), "properties"));
    check_links(root, root);
    json_decref(root);
}

static void the_reference_names_every_route_and_schema(void **state)
{
    (void)state;
    struct buf out = BUF_EMPTY;
    json_t *words = openapi_words(), *schema;
    const char *name;
    char line[240];
    openapi_reference(&out);
    for (const struct route *route = route_table; route->method; route++) {
        snprintf(line, sizeof line, "| `%s %s`: ", route->method, route->path);
        if (!strstr(buf_text(&out), line)) fail_msg("%s is missing", line);
    }
    json_object_foreach(json_object_get(json_object_get(words, "components"), "schemas"), name,
                        schema)
    {
        snprintf(line, sizeof line, "\n#### %s\n", name);
        if (!strstr(buf_text(&out), line)) fail_msg("%s is missing", line);
    }
    json_decref(words);
    buf_close(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_documented),
        cmocka_unit_test(each_task_has_a_schema),
        cmocka_unit_test(without_tasks_a_submission_is_free),
        cmocka_unit_test(the_reference_names_every_route_and_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
