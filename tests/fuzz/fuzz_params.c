/* fuzz_params.c: parameters as JSON text, against a schema that uses every word. What is accepted
 * is what jansson accepts and can be kept, comes back the same from its own text, stays valid with
 * its defaults filled in, and shows nothing of a secret. */
#include "fuzz/fuzz.h"
#include "task/params_schema.h"

#define ERRORS_MOST 8
#define SECRET      "S3CR3T"

static struct params_schema *schema; /* made once, never changed */

static struct params_schema *make_schema(void);
static void check_text(const char *text, size_t size, const json_t *value);
static void check_against(json_t *value);
static void check_defaults(const json_t *value);
static void check_secret(json_t *value);

static const char table[] =
    "{\"word\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":8,\"pattern\":\"^[a-z\\u00e4]+$"
    "\","
    "\"optional\":true},"
    "\"when\":{\"type\":\"string\",\"format\":\"date-time\",\"optional\":true},"
    "\"day\":{\"type\":\"string\",\"format\":\"date\",\"optional\":true},"
    "\"mail\":{\"type\":\"string\",\"format\":\"email\",\"optional\":true},"
    "\"link\":{\"type\":\"string\",\"format\":\"uri\",\"optional\":true},"
    "\"uuid\":{\"type\":\"string\",\"format\":\"uuid\",\"optional\":true},"
    "\"v4\":{\"type\":\"string\",\"format\":\"ipv4\",\"optional\":true},"
    "\"v6\":{\"type\":\"string\",\"format\":\"ipv6\",\"optional\":true},"
    "\"count\":{\"type\":\"integer\",\"default\":1,\"minimum\":1,\"maximum\":1000},"
    "\"ratio\":{\"type\":\"number\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":1,"
    "\"multipleOf\":0.01,\"default\":0.5},"
    "\"flag\":{\"type\":\"boolean\",\"default\":false},"
    "\"mode\":{\"enum\":[\"a\",1,null,{\"x\":[1]}],\"optional\":true},"
    "\"fixed\":{\"const\":[1,2.5],\"optional\":true},"
    "\"list\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"n\":"
    "{\"type\":\"integer\",\"default\":7},\"key\":{\"type\":\"string\",\"secret\":true}},"
    "\"additionalProperties\":false},\"minItems\":1,\"maxItems\":3,\"optional\":true},"
    "\"map\":{\"type\":\"object\",\"additionalProperties\":{\"type\":[\"number\",\"string\"]},"
    "\"required\":[\"must\"],\"optional\":true},"
    "\"password\":{\"secret\":true,\"optional\":true}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct err err;
    json_t *value = NULL;
    if (!schema) schema = make_schema();
    if (!params_parse(text, size, "--params", &value, &err)) require_refusal_at(&err, "--params: ");
    check_text(text, size, value);
    if (json_is_object(value)) check_against(value);
    json_decref(value);
    return 0;
}

static struct params_schema *make_schema(void)
{
    struct buf json = BUF_EMPTY;
    struct params_schema *made = NULL;
    struct err err;
    require(params_schema_from_table(table, sizeof table - 1, false, &json, &err));
    require(params_schema_compile(json.data, json.len, &made, &err));
    buf_close(&json);
    return made;
}

/* value: what params_parse made of it, or NULL. */
static void check_text(const char *text, size_t size, const json_t *value)
{
    json_error_t error;
    struct err err;
    json_t *other = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    bool has_zero = memchr(text, '\0', size) != NULL; /* no JSON, but jansson may overlook it */
    require(!value == !(other && !has_zero && params_is_storable(other, &err)));
    if (value) {
        struct buf once = BUF_EMPTY, twice = BUF_EMPTY;
        json_t *again = NULL;
        require(json_equal(value, other));
        params_write(&once, value);
        require(params_parse(once.data, once.len, "again", &again, &err));
        require(params_is_equal(value, again));
        params_write(&twice, again);
        require(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
        json_decref(again);
        buf_close(&once);
        buf_close(&twice);
    }
    json_decref(other);
}

static void check_against(json_t *value)
{
    struct params_error errors[ERRORS_MOST];
    size_t count = params_check(schema, value, errors, ERRORS_MOST);
    require(count <= ERRORS_MOST);
    for (size_t i = 0; i < count; i++) {
        require_text(errors[i].message);
        require(utf8_is_valid(errors[i].field, strlen(errors[i].field)));
    }
    if (count == 0) check_defaults(value);
    check_secret(value);
}

static void check_defaults(const json_t *value)
{
    struct params_error error;
    json_t *filled = params_with_defaults(schema, value);
    json_t *again = params_with_defaults(schema, filled);
    require(params_check(schema, filled, &error, 1) == 0);
    require(json_equal(filled, again));
    require(json_is_integer(json_object_get(filled, "count")) ||
            json_is_real(json_object_get(filled, "count")));
    json_decref(filled);
    json_decref(again);
}

/* Plants secrets where the schema says they are, then looks for them. */
static void check_secret(json_t *value)
{
    char *before = json_dumps(value, 0);
    json_t *item = json_array_get(json_object_get(value, "list"), 0);
    json_object_set_new(value, "password", json_pack("{s:[s]}", SECRET "key", SECRET));
    if (json_is_object(item)) json_object_set_new(item, "key", json_pack("[s]", SECRET));
    struct params_error errors[ERRORS_MOST];
    size_t count = params_check(schema, value, errors, ERRORS_MOST);
    json_t *masked = params_masked(schema, value);
    char *shown = json_dumps(masked, 0);
    bool is_clean = !strstr(shown, SECRET);
    for (size_t i = 0; i < count; i++)
        is_clean =
            is_clean && !strstr(errors[i].message, SECRET) && !strstr(errors[i].field, SECRET);
    require(is_clean || strstr(before, SECRET));
    json_decref(masked);
    free(shown);
    free(before);
}
