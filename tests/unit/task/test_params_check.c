/* Values against schemas: every word, every path, and what must not be shown. */
#include "unit/task/params_support.h"

#define ERRORS 16

/* "field: message" of every error, one a line, ' for ". gives */
static char *faults_of(const char *table, const char *params)
{
    struct params_schema *schema = schema_of(table);
    json_t *value = value_of(params);
    struct params_error errors[ERRORS];
    size_t count = params_check(schema, value, errors, ERRORS);
    struct buf out = BUF_EMPTY;
    for (size_t i = 0; i < count; i++) {
        buf_addf(&out, "%s%s: %s", i ? "\n" : "", errors[i].field, errors[i].message);
    }
    json_decref(value);
    params_schema_free(schema);
    char *text = buf_take(&out);
    for (char *c = text; *c; c++) *c = *c == '"' ? '\'' : *c;
    return text;
}

struct row {
    const char *table, *params, *expected;
};

static void run_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *got = faults_of(rows[i].table, rows[i].params);
        assert_string_equal(got, rows[i].expected);
        free(got);
    }
}

static void parameters_are_required_known_and_never_null(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "{}", "{}", "" },
        { "{}", "[1]", ": must be an object, is [1]" },
        { "{'message':'string'}", "{'message':'x'}", "" },
        { "{'message':'string'}", "{}", "message: is required" },
        { "{'message':'string'}", "{'message':null}", "message: is required" },
        { "{'m':['string','null']}", "{'m':null}", "" },
        { "{'m':{'enum':[null,1]}}", "{'m':null}", "" },
        { "{'m':{'type':'string','optional':true}}", "{'m':null}", "" },
        { "{'m':{'type':'string','optional':true}}", "{}", "" },
        { "{'m':{'type':'integer','default':1}}", "{'m':null}", "" },
        { "{'message':'string'}", "{'mesage':'x'}",
          "message: is required\n"
          "mesage: is not a parameter of this task; did you mean message?" },
        { "{}", "{'x':1}", "x: is not a parameter of this task" },
    };
    run_rows(rows, COUNT_OF(rows));
}

static void types_are_told_in_words(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "{'x':'integer'}", "{'x':1.0}", "" },
        { "{'x':'integer'}", "{'x':1.5}", "x: must be an integer, is 1.5" },
        { "{'x':'integer'}", "{'x':'1'}", "x: must be an integer, is '1'" },
        { "{'x':'number'}", "{'x':1}", "" },
        { "{'x':'boolean'}", "{'x':0}", "x: must be true or false, is 0" },
        { "{'x':'array'}", "{'x':{}}", "x: must be an array, is {}" },
        { "{'x':'object'}", "{'x':[]}", "x: must be an object, is []" },
        { "{'x':['string','integer','null']}", "{'x':true}",
          "x: must be a string, an integer or null, is true" },
        { "{'x':{}}", "{'x':[1,'a']}", "" },
    };
    run_rows(rows, COUNT_OF(rows));
}

static void numbers_keep_their_bounds(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "{'x':{'minimum':1,'maximum':3}}", "{'x':1}", "" },
        { "{'x':{'minimum':1,'maximum':3}}", "{'x':3}", "" },
        { "{'x':{'minimum':1,'maximum':3}}", "{'x':0}", "x: must be at least 1, is 0" },
        { "{'x':{'minimum':1,'maximum':3}}", "{'x':3.5}", "x: must be at most 3, is 3.5" },
        { "{'x':{'minimum':1}}", "{'x':'a string has no minimum'}", "" },
        { "{'x':{'exclusiveMinimum':0.1}}", "{'x':0.1}", "x: must be greater than 0.1, is 0.1" },
        { "{'x':{'exclusiveMaximum':2}}", "{'x':2}", "x: must be less than 2, is 2" },
        { "{'x':{'exclusiveMaximum':2}}", "{'x':1.99}", "" },
        { "{'x':{'multipleOf':0.1}}", "{'x':0.3}", "" },
        { "{'x':{'multipleOf':0.1}}", "{'x':1e15}", "" },
        { "{'x':{'multipleOf':0.1}}", "{'x':0.35}", "x: must be a multiple of 0.1, is 0.35" },
        { "{'x':{'multipleOf':3}}", "{'x':-9}", "" },
        { "{'x':{'multipleOf':3}}", "{'x':9007199254740991}",
          "x: must be a multiple of 3, is 9007199254740991" },
    };
    run_rows(rows, COUNT_OF(rows));
}

static void lengths_count_characters_and_items(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "{'x':{'maxLength':3}}", "{'x':'\xc3\xa4\xc3\xb6\xf0\x9f\x8e\x89'}", "" },
        { "{'x':{'minLength':4}}", "{'x':'\xc3\xa4\xc3\xb6\xf0\x9f\x8e\x89'}",
          "x: must have at least 4 characters, is '\xc3\xa4\xc3\xb6\xf0\x9f\x8e\x89'" },
        { "{'x':{'minLength':1}}", "{'x':''}", "x: must have at least 1 character, is ''" },
        { "{'x':{'maxLength':1}}", "{'x':'ab'}", "x: must have at most 1 character, is 'ab'" },
        { "{'x':{'minItems':1}}", "{'x':[]}", "x: must have at least 1 item, is []" },
        { "{'x':{'maxItems':2}}", "{'x':[1,2,3]}", "x: must have at most 2 items, is [1,2,3]" },
    };
    run_rows(rows, COUNT_OF(rows));
}

static void enum_and_const_compare_values(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "{'x':{'enum':['a',1,[2.0],{'k':1}]}}", "{'x':1.0}", "" },
        { "{'x':{'enum':['a',1,[2.0],{'k':1}]}}", "{'x':[2]}", "" },
        { "{'x':{'enum':['a',1,[2.0],{'k':1}]}}", "{'x':{'k':1.0}}", "" },
        { "{'x':{'enum':['a',{'k':1}]}}", "{'x':{'k':1,'l':2}}",
          "x: must be one of 'a', {'k':1}, is {'k':1,'l':2}" },
        { "{'x':{'enum':['a',{'k':1}]}}", "{'x':{'l':1}}",
          "x: must be one of 'a', {'k':1}, is {'l':1}" },
        { "{'x':{'enum':['red','green']}}", "{'x':'rot'}",
          "x: must be one of 'red', 'green', is 'rot'" },
        { "{'x':{'const':[1,2]}}", "{'x':[1]}", "x: must be [1,2], is [1]" },
        { "{'x':{'const':true}}", "{'x':true}", "" },
    };
    run_rows(rows, COUNT_OF(rows));
}

static void nested_faults_carry_their_path(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "{'items':{'items':{'properties':{'name':'string'}}}}",
          "{'items':[{},{'name':'a'},{'name':5}]}", "items[2].name: must be a string, is 5" },
        { "{'o':{'properties':{'depth':'integer'},'required':['depth'],"
          "'additionalProperties':false}}",
          "{'o':{'dept':1}}",
          "o.depth: is required\n"
          "o.dept: is not a property of this object; did you mean depth?" },
        { "{'o':{'properties':{'x':'integer'},'additionalProperties':false}}", "{'o':{'q':1}}",
          "o.q: is not a property of this object" },
        { "{'o':{'additionalProperties':{'type':'integer'}}}", "{'o':{'a':1,'b':'x'}}",
          "o.b: must be an integer, is 'x'" },
        { "{'o':{'properties':{'n':'string'}}}", "{'o':{'n':null}}",
          "o.n: must be a string, is null" },
        { "{'a':'integer','b':{'minimum':2,'multipleOf':2}}", "{'a':'x','b':1}",
          "a: must be an integer, is 'x'\n"
          "b: must be at least 2, is 1\n"
          "b: must be a multiple of 2, is 1" },
    };
    run_rows(rows, COUNT_OF(rows));
}

static void long_values_are_shortened_to_60_characters(void **state)
{
    (void)state;
    struct buf params = BUF_EMPTY;
    buf_add_text(&params, "{'x':'");
    for (int i = 0; i < 5000; i++) buf_add_text(&params, "\xc3\xa4");
    buf_add_text(&params, "'}");
    char *got = faults_of("{'x':'integer'}", params.data);
    const char *start = strstr(got, "is '");
    assert_non_null(start);
    assert_int_equal(strlen(start), strlen("is '") + 59 * 2 + 3);
    assert_string_equal(start + strlen(start) - 5, "\xc3\xa4\xe2\x80\xa6");
    free(got);
    buf_close(&params);
}

static void long_paths_and_lists_fit_their_fields(void **state)
{
    (void)state;
    struct buf key = BUF_EMPTY, table = BUF_EMPTY;
    for (int i = 0; i < 300; i++) buf_add_text(&key, "\xe2\x82\xac");
    buf_addf(&table, "{'x':{'additionalProperties':{'enum':['%s','%s','%s','%s']}}}", key.data,
             key.data, key.data, key.data);
    char *params = xasprintf("{'x':{'%s':1}}", key.data);
    char *got = faults_of(table.data, params);
    char *colon = strchr(got, ':');
    assert_int_equal(colon - got, 2 + 65 * 3);
    assert_non_null(strstr(colon, ", \xe2\x80\xa6, is 1"));
    free(got);
    free(params);
    buf_close(&key);
    buf_close(&table);
}

static void a_text_too_long_for_its_pattern_is_told_so(void **state)
{
    (void)state;
    char text[10002];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    char *params = xasprintf("{'x':'%s'}", text);
    char *got = faults_of("{'x':{'pattern':'a.{100}$'}}", params);
    const char message[] = "x: must have at most 10000 bytes for the pattern a.{100}$, is ";
    assert_memory_equal(got, message, sizeof message - 1);
    free(got);
    free(params);
}

static void no_message_shows_anything_of_a_secret(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "{'x':{'type':'string','secret':true,'minLength':8}}", "{'x':'hunter2'}",
          "x: must have at least 8 characters" },
        { "{'x':{'type':'integer','secret':true}}", "{'x':'hunter2'}", "x: must be an integer" },
        { "{'x':{'secret':true,'pattern':'^[0-9]+$'}}", "{'x':'hunter2'}",
          "x: must match the pattern ^[0-9]+$" },
        { "{'x':{'secret':true,'items':{'type':'integer'}}}", "{'x':['hunter2']}",
          "x[0]: must be an integer" },
        { "{'x':{'secret':true,'type':'object','additionalProperties':false}}",
          "{'x':{'hunter2':1}}", "x.*: is not a property of this object" },
        { "{'x':{'secret':true,'additionalProperties':{'type':'string'}}}", "{'x':{'hunter2':1}}",
          "x.*: must be a string" },
        { "{'x':{'type':'object','properties':{'pin':{'secret':true}}}}", "{'x':['hunter2']}",
          "x: must be an object" },
        { "{'x':{'enum':[{'pin':1}],'properties':{'pin':{'secret':true}}}}",
          "{'x':{'pin':'hunter2'}}", "x: must be one of {'pin':1}" },
        { "{'x':{'items':{'properties':{'pin':{'secret':true}}},'maxItems':0}}",
          "{'x':[{'pin':'hunter2'}]}", "x: must have at most 0 items" },
        { "{'pin':{'type':'string','secret':true}}", "['hunter2']", ": must be an object" },
    };
    run_rows(rows, COUNT_OF(rows));
}

static void no_more_errors_are_given_than_asked_for(void **state)
{
    (void)state;
    struct params_schema *schema = schema_of("{'l':{'items':'integer'}}");
    json_t *params = value_of("{'l':['a','b','c','d'],'x':1}");
    struct params_error errors[2];
    assert_int_equal(params_check(schema, params, errors, 2), 2);
    assert_string_equal(errors[1].field, "l[1]");
    json_decref(params);
    params_schema_free(schema);
}

static void formats_tell_right_from_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *format, *good[6], *bad[12];
    } rows[] = {
        { "date-time",
          { "2026-11-24T08:00:00Z", "2024-02-29t23:59:60.123+01:00", "1985-04-12T23:20:50.52z" },
          { "2026-11-24", "2026-11-24 08:00:00Z", "2026-11-24T08:00:00", "2026-13-01T00:00:00Z",
            "2026-11-24T24:00:00Z", "2026-11-24T08:00Z", "2026-11-24T08:00:00.Z",
            "2026-11-24T08:00:00Zx", "2026-11-24T08:00:00+1:00" } },
        { "date",
          { "2026-11-24", "2000-02-29", "0001-01-01" },
          { "2026-02-29", "1900-02-29", "2026-11-31", "26-11-24", "2026-11-24T", "", "2026-00-10",
            "2026-1-1" } },
        { "email",
          { "a@b", "first.last+tag@example.org", "x@\xc3\xb6.de" },
          { "", "a", "@b", "a@", "a b@c", "a@b@c", ".a@b", "a.@b", "a@-b", "a@b_c", "a@.b",
            "a..b@c" } },
        { "uri",
          { "https://example.org/a?b#c", "urn:isbn:1", "mailto:a@b", "x:y" },
          { "", "example.org", "http:", "1http://x", "http://a b", "http://<x>", ":x", "a_b:c" } },
        { "uuid",
          { "0192d3c8-7e2a-7c4e-9d55-0a1b2c3d4e5f", "0192D3C8-7E2A-7C4E-9D55-0A1B2C3D4E5F" },
          { "", "0192d3c87e2a7c4e9d550a1b2c3d4e5f", "0192d3c8-7e2a-7c4e-9d55-0a1b2c3d4e5",
            "{0192d3c8-7e2a-7c4e-9d55-0a1b2c3d4e5f}" } },
        { "ipv4", { "127.0.0.1" }, { "", "1.2.3", "1.2.3.256", "::1", "1.2.3.4 " } },
        { "ipv6", { "::1", "fe80::1", "::ffff:1.2.3.4" }, { "", "1.2.3.4", ":::", "fe80::1%lo" } },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *table = xasprintf("{'x':{'format':'%s'}}", rows[i].format);
        struct params_schema *schema = schema_of(table);
        free(table);
        struct params_error error;
        for (size_t j = 0; j < COUNT_OF(rows[i].bad); j++) {
            json_t *bad = rows[i].bad[j] ? json_pack("{s:s}", "x", rows[i].bad[j]) : NULL;
            if (bad && params_check(schema, bad, &error, 1) != 1) {
                fail_msg("%s takes '%s'", rows[i].format, rows[i].bad[j]);
            }
            json_decref(bad);
        }
        for (size_t j = 0; j < COUNT_OF(rows[i].good); j++) {
            json_t *good = rows[i].good[j] ? json_pack("{s:s}", "x", rows[i].good[j]) : NULL;
            if (good && params_check(schema, good, &error, 1) != 0) {
                fail_msg("%s refuses '%s'", rows[i].format, rows[i].good[j]);
            }
            json_decref(good);
        }
        params_schema_free(schema);
    }
}

static void masks_hide_secrets_at_every_depth(void **state)
{
    (void)state;
    struct params_schema *schema =
        schema_of("{'key':{'secret':true,'optional':true},'plain':'string',"
                  "'o':{'type':'object','properties':{'pin':{'secret':true},'n':'integer'}},"
                  "'l':{'type':'array','items':{'properties':{'pin':{'secret':true}}}},"
                  "'m':{'additionalProperties':{'secret':true}}}");
    json_t *params = value_of("{'key':{'a':'hunter2'},'plain':'seen','o':{'pin':5,'n':1},"
                              "'l':[{'pin':'hunter2','q':1},'hunter2'],'m':{'any':'hunter2'}}");
    json_t *masked = params_masked(schema, params);
    struct buf text = BUF_EMPTY;
    params_write(&text, masked);
    expect_text(buf_take(&text),
                "{'key':'********','l':[{'pin':'********','q':1},'********'],"
                "'m':{'any':'********'},'o':{'n':1,'pin':'********'},'plain':'seen'}");
    json_decref(masked);
    masked = value_of("{'o':['hunter2'],'l':{'pin':'hunter2'},'m':null}");
    json_t *misshapen = params_masked(schema, masked);
    params_write(&text, misshapen);
    expect_text(buf_take(&text), "{'l':'********','m':'********','o':'********'}");
    json_decref(misshapen);
    json_decref(masked);
    assert_string_equal(json_string_value(json_object_get(json_object_get(params, "key"), "a")),
                        "hunter2"); /* the original is left alone */
    json_decref(params);
    params_secret_names(schema, &text);
    expect_text(buf_take(&text), "['key','l','m','o']");
    params_schema_free(schema);
}

static void defaults_fill_what_was_not_given(void **state)
{
    (void)state;
    struct params_schema *schema = schema_of(
        "{'count':{'default':1},'list':{'type':'array','default':{}},'o':{'optional':true,"
        "'properties':{'n':{'default':2}}},'l':{'optional':true,'items':{'properties':"
        "{'n':{'default':3}}}},'z':{'type':['integer','null'],'default':4},'s':"
        "{'optional':true}}");
    json_t *params = value_of("{'count':null,'z':null,'s':null,'o':{},'l':[{},{'n':9}]}");
    json_t *full = params_with_defaults(schema, params);
    struct buf text = BUF_EMPTY;
    params_write(&text, full);
    expect_text(buf_take(&text),
                "{'count':1,'l':[{'n':3},{'n':9}],'list':[],'o':{'n':2},'z':null}");
    json_decref(full);
    json_decref(params);
    params_schema_free(schema);
}

/* A seeded stream of values of all kinds, valid ones for the schemas below among them. */
static json_t *random_value(unsigned *seed, int depth)
{
    static const char *const texts[] = { "",  "a", "count", "2026-11-24", "\xc3\xa4", "true",
                                         "5", "o", "l",     "ab12",       "pin" };
    const char *text = texts[(unsigned)rand_r(seed) % COUNT_OF(texts)];
    int size = rand_r(seed) % 4;
    json_t *value;
    switch (rand_r(seed) % (depth > 0 ? 9 : 6)) {
    case 0: return json_null();
    case 1: return json_boolean(size & 1);
    case 2: return json_integer(rand_r(seed) % 20 - 5);
    case 3: return json_real((rand_r(seed) % 200 - 50) / 8.0);
    case 4: return json_integer(INT64_C(1) << (rand_r(seed) % 63));
    case 5: return json_string(text);
    case 6:
        value = json_array();
        while (size--) json_array_append_new(value, random_value(seed, depth - 1));
        return value;
    default:
        value = json_object();
        while (size--) {
            text = texts[(unsigned)rand_r(seed) % COUNT_OF(texts)];
            json_object_set_new(value, text, random_value(seed, depth - 1));
        }
        return value;
    }
}

static void random_values_never_break_the_check(void **state)
{
    (void)state;
    static const char *const tables[] = {
        "{'count':{'type':'integer','default':1,'minimum':0},'a':{'optional':true,'type':'string',"
        "'pattern':'^[a-z]*$','maxLength':3}}",
        "{'o':{'optional':true,'type':'object','properties':{'pin':{'secret':true,'type':'string'"
        "},'a':{'enum':[1,'a',[],{}]}},'additionalProperties':{'multipleOf':0.125}}}",
        "{'l':{'optional':true,'type':'array','items':{'items':{'format':'date'},'minItems':1}},"
        "'a':{'optional':true,'const':{'a':[1,2]}},'5':['null','boolean']}",
    };
    unsigned seed = 20261124;
    size_t valid = 0, refused = 0;
    for (int i = 0; i < 30000; i++) {
        struct params_schema *schema = i % 1000 == 0 ? schema_of(tables[i / 1000 % 3]) : *state;
        *state = schema;
        json_t *value = random_value(&seed, 4);
        struct params_error errors[ERRORS];
        size_t count = params_check(schema, value, errors, ERRORS);
        json_t *masked = params_masked(schema, value);
        assert_non_null(masked);
        valid += count == 0;
        refused += count > 0;
        if (count == 0) {
            json_t *full = params_with_defaults(schema, value);
            assert_int_equal(params_check(schema, full, errors, ERRORS), 0);
            json_decref(full);
        }
        for (size_t j = 0; j < count; j++) assert_true(errors[j].message[0] != '\0');
        json_decref(masked);
        json_decref(value);
        if (i % 1000 == 999) params_schema_free(schema);
    }
    assert_true(valid > 100 && refused > 100); /* both ways were taken */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_required_known_and_never_null),
        cmocka_unit_test(types_are_told_in_words),
        cmocka_unit_test(numbers_keep_their_bounds),
        cmocka_unit_test(lengths_count_characters_and_items),
        cmocka_unit_test(enum_and_const_compare_values),
        cmocka_unit_test(nested_faults_carry_their_path),
        cmocka_unit_test(long_values_are_shortened_to_60_characters),
        cmocka_unit_test(long_paths_and_lists_fit_their_fields),
        cmocka_unit_test(a_text_too_long_for_its_pattern_is_told_so),
        cmocka_unit_test(no_message_shows_anything_of_a_secret),
        cmocka_unit_test(no_more_errors_are_given_than_asked_for),
        cmocka_unit_test(formats_tell_right_from_wrong),
        cmocka_unit_test(masks_hide_secrets_at_every_depth),
        cmocka_unit_test(defaults_fill_what_was_not_given),
        cmocka_unit_test(random_values_never_break_the_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
