/* fuzz_schema.c: the params table of a task as JSON -> schema, and behind a NUL byte a value to be
 * judged by it. A schema that was made compiles, and its text is the same for the same meaning. */
#include "fuzz/fuzz.h"
#include "task/params_schema.h"

#define ERRORS_MOST 4

static void check_made(const struct buf *made, const char *value, size_t len);
static void judge(const struct params_schema *schema, const char *text, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *end = memchr(data, '\0', size);
    size_t len = end ? (size_t)(end - text) : size, rest = end ? size - len - 1 : 0;
    struct buf made = BUF_EMPTY;
    struct params_schema *schema = NULL;
    struct err err;
    if (params_schema_from_table(text, len, size % 2 == 0, &made, &err))
        check_made(&made, text + len + 1, rest);
    else
        require_refusal_at(&err, "param"); /* "params: line 1, ..." or "parameter x: ..." */
    if (params_schema_compile(text, len, &schema, &err))
        judge(schema, text + len + 1, rest);
    else
        require_refusal(&err);
    params_schema_free(schema);
    buf_close(&made);
    return 0;
}

static void check_made(const struct buf *made, const char *value, size_t len)
{
    struct params_schema *schema = NULL;
    struct buf again = BUF_EMPTY;
    struct err err;
    json_t *json = NULL;
    require(params_schema_compile(made->data, made->len, &schema, &err));
    require(params_parse(made->data, made->len, "", &json, &err));
    params_write(&again, json);
    require(again.len == made->len && memcmp(again.data, made->data, made->len) == 0);
    judge(schema, value, len);
    json_decref(json);
    buf_close(&again);
    params_schema_free(schema);
}

static void judge(const struct params_schema *schema, const char *text, size_t len)
{
    struct params_error errors[ERRORS_MOST];
    struct buf names = BUF_EMPTY;
    struct err err;
    json_t *value = NULL;
    params_secret_names(schema, &names);
    require(params_parse(names.data, names.len, "", &value, &err) && json_is_array(value));
    json_decref(value);
    buf_close(&names);
    if (len == 0 || !params_parse(text, len, "", &value, &err)) return;
    size_t count = params_check(schema, value, errors, ERRORS_MOST);
    for (size_t i = 0; i < count; i++) {
        require_text(errors[i].message);
        require(utf8_is_valid(errors[i].field, strlen(errors[i].field)));
    }
    json_t *masked = params_masked(schema, value), *filled = params_with_defaults(schema, value);
    require(masked && filled);
    json_decref(masked);
    json_decref(filled);
    json_decref(value);
}
