/* Text of users: JSON, key=text of the command line, and patterns. */
#include "unit/task/params_support.h"

#include "base/clock.h"
#include "task/params_schema.h"

static void expect_refused(const char *text, size_t len, const char *message)
{
    json_t *value;
    struct err err = { 0 };
    assert_false(params_parse(text, len, "--params", &value, &err));
    assert_null(value);
    assert_int_equal(err.code, ERR_INPUT);
    if (strcmp(err.text, message) != 0) fail_msg("%s\ngives %s", text, err.text);
}

static void json_is_read_strictly_and_faults_have_a_place(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "", "--params: empty, JSON is expected" },
        { " \n", "--params: empty, JSON is expected" },
        { "{\"a\": 1,\n \"a\": 2}",
          "--params: line 2, column 4: a key stands twice in one object" },
        { "{\"a\": hunter2}", "--params: line 1, column 12: invalid token" },
        { "{'a': 1}", "--params: line 1, column 2: string or '}' expected" },
        { "[1] 2", "--params: line 1, column 5: end of file expected" },
        { "[\"\xff\"]", "--params: line 1, column 2: not valid UTF-8; send binary data as base64" },
        { "[\"\\u0000\"]",
          "--params: line 1, column 9: the character \\u0000 cannot be kept; leave "
          "it out or send the data as base64" },
        { "{\"\\u0000\": 1}", "--params: line 1, column 9: the character \\u0000 cannot be kept; "
                              "leave it out or send the data as base64" },
        { "[9223372036854775808]", "--params: line 1, column 20: an integer beyond 2^53 cannot be "
                                   "kept exactly; send it as a string" },
        { "{\"a\": [0, 9007199254740993]}", "--params: a[1]: an integer beyond 2^53 cannot be kept "
                                            "exactly; send it as a string" },
        { "-9007199254740993",
          "--params: an integer beyond 2^53 cannot be kept exactly; send it as a string" },
        { "[1e999]", "--params: line 1, column 6: a number must be finite" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        expect_refused(rows[i][0], strlen(rows[i][0]), rows[i][1]);
    }
    json_t *value;
    struct err err;
    assert_false(params_parse("[\"\\ud800\"]", 10, "x", &value, &err));
    assert_false(params_parse("[NaN]", 5, "x", &value, &err));
    assert_false(params_parse("[1]\0", 4, "x", &value, &err));
    assert_false(params_parse("[1\0]", 4, "x", &value, &err));
    assert_false(params_parse("1\0", 2, "x", &value, &err));
    assert_false(params_parse("\0", 1, "x", &value, &err));
}

static void what_postgres_and_lua_can_hold_is_read(void **state)
{
    (void)state;
    static const char *const good[] = { "null",
                                        " [1, -9007199254740992, 1e300] ",
                                        "\"\\u00e4\"",
                                        "{\"\": {}}",
                                        "9007199254740992",
                                        "\"\\ud83c\\udf89\"" };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        json_t *value;
        struct err err;
        assert_true(params_parse(good[i], strlen(good[i]), "x", &value, &err));
        json_decref(value);
    }
}

static void nesting_ends_at_64(void **state)
{
    (void)state;
    char text[6000];
    for (size_t depth = 64; depth <= 3000; depth += depth == 65 ? 2935 : 1) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        json_t *value = NULL;
        struct err err;
        assert_int_equal(params_parse(text, 2 * depth, "x", &value, &err), depth == 64);
        if (depth > 64) assert_non_null(strstr(err.text, "nested deeper than 64 levels"));
        struct buf out = BUF_EMPTY;
        if (value) params_write(&out, value);
        assert_int_equal(out.len, value ? 128 : 0);
        buf_close(&out);
        json_decref(value);
    }
}

static void storable_names_the_first_culprit(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "{'a':[{'b':'x\\u0000y'}]}", "a[0].b: the character \\u0000" },
        { "{'a':{'b':36028797018963968}}", "a.b: an integer beyond 2^53" },
        { "'\\u0000'", "the character \\u0000" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        json_t *value = value_of(rows[i][0]);
        struct err err;
        assert_false(params_is_storable(value, &err));
        assert_int_equal(strncmp(err.text, rows[i][1], strlen(rows[i][1])), 0);
        json_decref(value);
    }
    json_t *value = json_pack("{s:[o]}", "a", json_stringn_nocheck("\xed\xa0\x80", 3));
    struct err err;
    assert_false(params_is_storable(value, &err));
    assert_string_equal(err.text, "a[0]: not valid UTF-8; send binary data as base64");
    json_decref(value);
}

static void json_is_written_sorted_and_short(void **state)
{
    (void)state;
    json_t *value = value_of("{'b':[],'a':{'d':0.1,'c':[1,2.5,null,true,'\\u00e4\\n']},'e':{}}");
    struct buf out = BUF_EMPTY;
    params_write(&out, value);
    expect_text(buf_take(&out),
                "{'a':{'c':[1,2.5,null,true,'\xc3\xa4\\n'],'d':0.1},'b':[],'e':{}}");
    json_decref(value);
    value = value_of("[-0.0,1e15,9007199254740992.0,9090921754740992.0,1e16,-1.5]");
    params_write(&out, value);
    expect_text(buf_take(&out),
                "[0,1000000000000000,9007199254740992,9090921754740992.0,1e+16,-1.5]");
    json_decref(value);
}

static void text_becomes_the_type_of_its_schema(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        /* schema, text, JSON or ! and the message */
        { "'string'", "5", "'5'" },
        { "'string'", "", "''" },
        { "'integer'", "-5", "-5" },
        { "'integer'", "x", "! x must be an integer, is 'x'" },
        { "'integer'", "1.0", "! x must be an integer, is '1.0'" },
        { "'integer'", "007", "! x must be an integer, is '007'" },
        { "'integer'", "+5", "! x must be an integer, is '+5'" },
        { "'integer'", " 5", "! x must be an integer, is ' 5'" },
        { "'integer'", "0x10", "! x must be an integer, is '0x10'" },
        { "'integer'", "", "! x must be an integer, is ''" },
        { "'integer'", "9007199254740993", "! x must be an integer, is '9007199254740993'" },
        { "'number'", "5", "5" },
        { "'number'", "1e3", "1000" },
        { "'number'", "0.1", "0.1" },
        { "'number'", "nan", "! x must be a number, is 'nan'" },
        { "'number'", "1e999", "! x must be a number, is '1e999'" },
        { "'boolean'", "true", "true" },
        { "'boolean'", "yes", "! x must be true or false, is 'yes'" },
        { "'boolean'", "1", "! x must be true or false, is '1'" },
        { "'null'", "null", "null" },
        { "'array'", "[1]", "! x must be an array; write it as JSON: x:='[...]'" },
        { "'object'", "{}", "! x must be an object; write it as JSON: x:='{...}'" },
        { "['array','integer']", "7", "7" },
        { "['integer','string']", "7", "7" },
        { "['integer','string']", "007", "'007'" },
        { "['string','integer']", "7", "'7'" },
        { "['null','boolean','string']", "null", "null" },
        { "{'enum':[1,true,null,'a']}", "1", "1" },
        { "{'enum':[1,true,null,'a']}", "true", "true" },
        { "{'enum':[1,true,null,'a']}", "a", "'a'" },
        { "{'enum':[1,true,null,'a']}", "b", "'b'" },
        { "{'enum':['1',1]}", "1", "'1'" },
        { "{'const':2.5}", "2.50", "2.5" },
        { "{}", "5", "'5'" },
        { "{'type':'integer','secret':true}", "hunter2", "! x must be an integer" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *table = xasprintf("{'x':%s}", rows[i][0]);
        struct params_schema *schema = schema_of(table);
        struct buf out = BUF_EMPTY;
        struct err err;
        json_t *value;
        if (params_convert_text(schema, "x", rows[i][1], &value, &err)) {
            params_write(&out, value);
        } else {
            assert_null(value);
            buf_addf(&out, "! %s", err.text);
        }
        char *got = buf_take(&out);
        for (char *c = got; *c; c++) *c = *c == '"' ? '\'' : *c;
        assert_string_equal(got, rows[i][2]);
        free(got);
        json_decref(value);
        params_schema_free(schema);
        free(table);
    }
}

static void unknown_keys_stay_text_and_bytes_must_be_utf8(void **state)
{
    (void)state;
    struct params_schema *schema = schema_of("{}");
    struct err err;
    json_t *value;
    assert_true(params_convert_text(schema, "any", "5", &value, &err));
    assert_string_equal(json_string_value(value), "5");
    json_decref(value);
    assert_false(params_convert_text(schema, "any", "\xff", &value, &err));
    assert_null(value);
    assert_string_equal(err.text, "any is not valid UTF-8");
    params_schema_free(schema);
}

static void what_jsonb_wrote_is_read(void **state)
{
    (void)state;
    char text[400], digits[301];
    memset(digits, '0', 300);
    digits[300] = '\0';
    snprintf(text, sizeof text, "{\"big\":[1%s],\"n\":5,\"x\":1.5,\"low\":-9007199254740992}",
             digits);
    json_t *value = params_load(text, strlen(text));
    struct buf out = BUF_EMPTY;
    assert_true(json_is_integer(json_object_get(value, "n")));
    params_write(&out, value);
    expect_text(buf_take(&out), "{'big':[1e+300],'low':-9007199254740992,'n':5,'x':1.5}");
    json_decref(value);
    value = params_load("123456789012345678", 18);
    assert_int_equal(json_integer_value(value), 123456789012345678);
    json_decref(value);
    assert_null(params_load("", 0));
    assert_null(params_load("{", 1));
}

static void patterns_match_as_in_javascript(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *good[4], *bad[4];
    } rows[] = {
        { "", { "", "x" }, { 0 } },
        { "b", { "abc" }, { "", "ac", "B" } },
        { "^a.c$",
          { "abc", "a\xc3\xa4"
                   "c" },
          { "ac", "a\nc", "abcd", "xabc" } },
        { "^\\d+\\.\\d*$", { "1.", "12.50" }, { ".", "1", "1.x" } },
        { "^\\w+$", { "aZ_9" }, { "", "a-b", "\xc3\xa4" } },
        { "^\\S+\\s\\S+$", { "a b", "a\tb" }, { "ab", "a  b" } },
        { "^[^\\d\\s]+$", { "ab-" }, { "a1", "a b" } },
        { "^[\\w.-]+@x$", { "a.b-c@x" }, { "a+b@x" } },
        { "^[\\]\\[^-]+$", { "]", "[^-]" }, { "a", "\\" } },
        { "^[^\\]]$", { "a", "[" }, { "]" } },
        { "^[\\\\/]$", { "\\", "/" }, { "a" } },
        { "^[+--]$", { "+", ",", "-" }, { "*", "." } },
        { "^[a-f\\u00e4-\\u00fc]{2}$", { "a\xc3\xb6", "\xc3\xa4\xc3\xbc" }, { "a", "ag" } },
        { "^[+-\xc3\xb0]$", { "-", "~", "\xc3\xa4", "\xc3\xb0" }, { "*", "\xc3\xb1" } },
        { "^[^\\u07f0-\\u0810]$", { "\xdf\xaf", "\xe0\xa0\x91" }, { "\xdf\xb0", "\xe0\xa0\x90" } },
        { "^[\xf0\x9f\x8e\x80-\xf0\x9f\x8e\x89]$", { "\xf0\x9f\x8e\x85" }, { "\xf0\x9f\x8e\x8a" } },
        { "^[[:alpha:]]$", { "a]", ":]", "[]" }, { "x", "a" } },
        { "^(?:ab|c)+$", { "abc", "ccab" }, { "", "b" } },
        { "^a{2}b{1,}c{0,2}$", { "aab", "aabbcc" }, { "ab", "aabccc" } },
        { "^\\$\\{x\\}]}\\/\\-$", { "${x}]}/-" }, { "x" } },
        { "^\\x41\\u00df\\t$", { "A\xc3\x9f\t" }, { "A" } },
        { "(^a|b$)", { "ax", "xb" }, { "xa", "bx" } },
        { "^[ab]+$", { "ab" }, { "x\nab", "\nab", "ab\n", "ab\nx" } },
        { "^$", { "" }, { "\n", "x\n" } },
        { "^a|b$", { "ax", "xb" }, { "x\na", "b\nx" } },
        { "(^|x)a", { "a", "xa", "\nxa" }, { "\na" } },
        { "\\s", { "\xc2\xa0", "\xef\xbb\xbf", "\xe2\x80\x83" }, { "\xc2\x85", "\xe2\x80\x8b" } },
        { "^()x?$", { "", "x" }, { "xx" } },
        { "^.{2}$", { "\xc3\xa4\xf0\x9f\x8e\x89" }, { "\xc3\xa4" } },
        { "^\xc3\xa4*$", { "\xc3\xa4\xc3\xa4" }, { "\xc3\xa4\xa4" } },
        { "\\`", { "a`" }, { "a" } },
        { "^((a?b){2}|c{3})*$", { "", "abbccc" }, { "ab", "aab" } },
        { "^([a-z]*,?)*$", { "", "a,,bc" }, { "1" } },
        { "^([a-z]+(-[a-z]+){0,3}){1,100}$", { "a-b" }, { "a-" } },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct params_pattern *pattern;
        struct err err;
        if (!params_pattern_compile(rows[i].pattern, &pattern, &err)) fail_msg("%s", err.text);
        for (size_t j = 0; j < 4; j++) {
            const char *good = rows[i].good[j], *bad = rows[i].bad[j];
            if (good && !params_pattern_matches(pattern, good, strlen(good))) {
                fail_msg("%s does not match '%s'", rows[i].pattern, good);
            }
            if (bad && params_pattern_matches(pattern, bad, strlen(bad))) {
                fail_msg("%s matches '%s'", rows[i].pattern, bad);
            }
        }
        params_pattern_free(pattern);
    }
}

static void patterns_beyond_the_c_library_are_refused(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "(?=a)", "looking ahead" },
        { "(?!a)", "looking ahead" },
        { "(?<=a)b", "looking ahead" },
        { "(?<name>a)", "groups with names" },
        { "(a)\\1", "back-references" },
        { "\\bword", "word boundaries" },
        { "a*?", "lazy repeats" },
        { "a{2}?", "lazy repeats" },
        { "a**", "nothing to repeat" },
        { "*a", "nothing to repeat" },
        { "a|+", "nothing to repeat" },
        { "(?:*)", "nothing to repeat" },
        { "\\p{L}", "unknown escape" },
        { "\\q", "unknown escape" },
        { "\\u12", "unknown escape" },
        { "\\0", "unknown escape" },
        { "\\ud800", "unknown escape" },
        { "a\\", "ends with a backslash" },
        { "[a", "'[' is never closed" },
        { "[]", "empty brackets" },
        { "[^]", "empty brackets" },
        { "(a", "'(' is never closed" },
        { "a)", "a ')' without its '('" },
        { "[\\D]", "cannot stand inside" },
        { "[a-\\d]", "a range ends" },
        { "[z-a]", "from low to high" },
        { "[\\u0100-\\uffff]", "500 characters at most" },
        { "a{,2}", "write a count" },
        { "a{x}", "write a count" },
        { "a{3,2}", "from low to high" },
        { "a{1,5000}", "up to 1000" },
        { "a{99999999999999999999}", "up to 1000" },
        { "(a{1000}){11}", "more than 10000" },
        { "((){1000}){1000}", "may match nothing" },
        { "((a?){1000}){2}", "may match nothing" },
        { "(^^^){400}", "may match nothing" },
        { "(a|b){1001}", "up to 1000" },
        { "(.{0,255}/){0,20}", "may match nothing" },
        { "((a?b?c?d?)*e?f?g?){2}", "may match nothing" },
        { "((((.)?)?){6})?((()?)+)", "may match nothing" },
        { "(^|a){11}", "may match nothing" },
        { "((a?|b?|c?){160})*", "may match nothing" },
        { "(a?b?c?d?e?f?g?h?i?j?k?l?m?){2,}", "may match nothing" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct params_pattern *pattern;
        struct err err;
        if (params_pattern_compile(rows[i][0], &pattern, &err)) fail_msg("%s is taken", rows[i][0]);
        if (!strstr(err.text, rows[i][1])) fail_msg("%s gives %s", rows[i][0], err.text);
    }
}

/* Started anew at every character this would take minutes, not milliseconds. */
static void a_long_text_does_not_make_a_pattern_slow(void **state)
{
    (void)state;
    static const char *const patterns[] = { "a.*b", "(a+)+b", "\\s+$", "[^x]*x" };
    size_t len = 1 << 20;
    char *text = xmalloc(len + 1);
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        struct params_pattern *pattern;
        struct err err;
        memset(text, patterns[i][0] == '\\' ? ' ' : 'a', len);
        text[len - 1] = 'c';
        text[len] = '\0';
        assert_true(params_pattern_compile(patterns[i], &pattern, &err));
        int64_t start = clock_mono_us();
        assert_false(params_pattern_matches(pattern, text, len));
        assert_true(clock_mono_us() - start < 10 * 1000000);
        params_pattern_free(pattern);
    }
    free(text);
}

static void many_choices_of_a_pattern_bound_the_text(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        size_t longest;
    } rows[] = { { "^[a-z_]+(\\.[a-z_]+)*$", SIZE_MAX },
                 { "a long text without a choice{1000}", SIZE_MAX },
                 { "|||||||||||||", 10000 },
                 { "(^a|b)", 10000 },
                 { "a.{100}$", 10000 },
                 { "a((b|c){10}){20}$", 4975 },
                 { "a(.{100}){99}$", 201 } };
    unsigned seed = 20261124;
    char *text = xmalloc(10001);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct params_pattern *pattern;
        struct err err;
        assert_true(params_pattern_compile(rows[i].pattern, &pattern, &err));
        size_t longest = params_pattern_longest(pattern);
        assert_int_equal(longest, rows[i].longest);
        size_t len = longest < 10000 ? longest : 10000;
        for (size_t at = 0; at < len; at++) text[at] = "abc"[rand_r(&seed) % 3];
        text[len] = '\0';
        int64_t start = clock_mono_us();
        (void)params_pattern_matches(pattern, text, len);
        assert_true(clock_mono_us() - start < 10 * 1000000);
        params_pattern_free(pattern);
    }
    free(text);
}

/* Of every place, each once, in the spelling that is matched here, too. */
static void patterns_can_be_handed_on(void **state)
{
    (void)state;
    struct params_schema *schema =
        schema_of("{'a':{'pattern':'^\\\\d.$'},'b':{'items':{'pattern':'x'}},"
                  "'c':{'additionalProperties':{'pattern':'y'}},'g':{'pattern':'x'},"
                  "'d':{'properties':{'e':{'pattern':'a.{100}$'}}},'f':'string'}");
    struct buf out = BUF_EMPTY;
    params_patterns(schema, &out);
    assert_string_equal(buf_text(&out),
                        "{\"^\\\\d.$\":{\"longest\":2147483647,\"posix\":\"^[0-9][^\\n\\r]$\"},"
                        "\"a.{100}$\":{\"longest\":10000,\"posix\":\"a[^\\n\\r]{100}$\"},"
                        "\"x\":{\"longest\":2147483647,\"posix\":\"x\"},"
                        "\"y\":{\"longest\":2147483647,\"posix\":\"y\"}}");
    buf_close(&out);
    params_schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_read_strictly_and_faults_have_a_place),
        cmocka_unit_test(what_postgres_and_lua_can_hold_is_read),
        cmocka_unit_test(nesting_ends_at_64),
        cmocka_unit_test(storable_names_the_first_culprit),
        cmocka_unit_test(json_is_written_sorted_and_short),
        cmocka_unit_test(what_jsonb_wrote_is_read),
        cmocka_unit_test(text_becomes_the_type_of_its_schema),
        cmocka_unit_test(unknown_keys_stay_text_and_bytes_must_be_utf8),
        cmocka_unit_test(patterns_match_as_in_javascript),
        cmocka_unit_test(patterns_beyond_the_c_library_are_refused),
        cmocka_unit_test(a_long_text_does_not_make_a_pattern_slow),
        cmocka_unit_test(many_choices_of_a_pattern_bound_the_text),
        cmocka_unit_test(patterns_can_be_handed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
