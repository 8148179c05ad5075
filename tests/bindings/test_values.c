/* test_values.c: the modules that only turn values into others: json, yaml, cjson, time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bindings/bindings.h"
#include "support/script_harness.h"

static struct script_harness harness;

static int open_harness(void **state)
{
    (void)state;
    script_harness_open(&harness, binding_table, binding_count);
    return 0;
}

static int close_harness(void **state)
{
    (void)state;
    script_harness_close(&harness);
    return 0;
}

#define JSON "local json = require 'ctutor.json' "
#define YAML "local yaml = require 'ctutor.yaml' "
#define TIME "local time = require 'ctutor.time' "

static void json_keeps_null_and_empty_arrays(void **state)
{
    (void)state;
    script_expect(&harness,
                  JSON "return json.encode{ a = json.null, b = json.array{}, c = {} } ~= nil",
                  "true");
    script_expect(&harness, JSON "return json.decode('[null]')[1] == json.null", "true");
    script_expect(&harness, JSON "return json.decode('null') == json.null", "true");
    script_expect(&harness, JSON "return json.encode(json.decode('[]'))", "\"[]\"");
    script_expect(&harness, JSON "return json.encode(json.decode('{}'))", "\"{}\"");
    script_expect(&harness, JSON "return json.encode(json.array())", "\"[]\"");
    script_expect(&harness, JSON "local t = {} return json.array(t) == t", "true");
}

static void json_is_exact(void **state)
{
    (void)state;
    script_expect(&harness, JSON "return json.encode(json.decode('[9007199254740991,0.1]'))",
                  "\"[9007199254740991,0.1]\"");
    script_expect(&harness, JSON "return json.encode('a\"b')", "\"\\\"a\\\\\\\"b\\\"\"");
}

static void json_tells_bad_text_and_misuse_apart(void **state)
{
    (void)state;
    script_expect(&harness,
                  JSON "local value, message, code = json.decode('[1,') "
                       "return { value == nil, type(message), code }",
                  "[true,\"string\",\"EINVAL\"]");
    script_expect_error(&harness, JSON "return json.encode{ a = { print } }", "a[1]");
    script_expect_error(&harness, JSON "return json.encode(0 / 0)", "NaN");
    script_expect_error(&harness, JSON "return json.encode()", "value expected");
    script_expect_error(&harness, JSON "return json.decode({})", "string expected");
    script_expect_error(&harness, JSON "return json.array(5)", "table expected");
}

static void cjson_is_there_with_fixed_settings(void **state)
{
    (void)state;
    script_expect(&harness, "local c = require 'cjson' return c.decode(c.encode{ a = 1 }).a", "1");
    script_expect(&harness,
                  "local c = require 'cjson' return c.null == require('ctutor.json').null", "true");
    script_expect(&harness, "return pcall(require('cjson').decode, '[NaN]')", "false");
    script_expect_error(&harness, "require('cjson').encode_max_depth(5)", "cjson.new()");
    script_expect(&harness, "return require('cjson').new().encode_max_depth(5)", "5");
    script_expect(&harness,
                  "local t = {} t[1] = 1 t[100] = 2 return #require('cjson').encode(t) > 10",
                  "true");
}

static void time_tells_and_reads(void **state)
{
    (void)state;
    script_expect(&harness, TIME "return time.iso(0)", "\"1970-01-01T00:00:00.000Z\"");
    script_expect(&harness, TIME "return time.iso(1795507200.25)", "\"2026-11-24T08:00:00.250Z\"");
    script_expect(&harness, TIME "return time.parse('2026-11-24T08:00:00.250Z')", "1795507200.25");
    script_expect(&harness, TIME "return time.parse(time.iso()) - time.now() < 1", "true");
    script_expect(&harness, TIME "return time.duration('5m')", "300");
    script_expect(&harness, TIME "local a = time.monotonic() return time.monotonic() >= a", "true");
    script_expect(&harness,
                  TIME "local value, message, code = time.parse('soon') "
                       "return { value == nil, type(message), code }",
                  "[true,\"string\",\"EINVAL\"]");
    script_expect_error(&harness, TIME "time.iso(0/0)", "between the years");
    script_expect_error(&harness, TIME "time.iso(1e300)", "between the years");
    script_expect_error(&harness, TIME "time.duration('5 parsecs')", "duration");
}

static void time_sleeps(void **state)
{
    (void)state;
    script_expect(&harness,
                  TIME "local a = time.monotonic() time.sleep('30ms') time.sleep(0.02) "
                       "return time.monotonic() - a >= 0.049",
                  "true");
    script_expect_error(&harness, TIME "time.sleep(-1)", "");
    script_expect_error(&harness, TIME "time.sleep({})", "");
}

static void yaml_reads_the_core_schema(void **state)
{
    (void)state;
    script_expect(&harness,
                  YAML "return yaml.decode[[\n- ~\n- null\n- true\n- False\n- 12\n- -7\n- 0o17\n"
                       "- 0xFf\n- 1.5\n- .5\n- 1e3\n- no\n- '12'\n- 1_000\n- 012\n- 2024-01-01\n]]",
                  "[null,null,true,false,12,-7,15,255,1.5,0.5,1000,\"no\",\"12\",\"1_000\",12,"
                  "\"2024-01-01\"]");
    script_expect(&harness, YAML "return yaml.decode('-.inf') == -math.huge", "true");
    script_expect(&harness, YAML "local x = yaml.decode('.nan') return x ~= x", "true");
    script_expect(&harness, YAML "return yaml.decode('')", "null");
    script_expect(&harness, YAML "return yaml.decode('---\\n...\\n')", "null");
    script_expect(&harness, YAML "return yaml.decode('[!!str 12, !!int \"3\", !!float 1]')",
                  "[\"12\",3,1]");
    script_expect(&harness, YAML "return yaml.decode('[]')", "[]");
    script_expect(&harness, YAML "return yaml.decode('{}')", "{}");
    script_expect(&harness, YAML "return yaml.decode('{1: a}')", "{\"1\":\"a\"}");
    script_expect(&harness,
                  YAML "return yaml.decode('a: |\\n  one\\n  two\\nb: >\\n  three\\n  four')['a']",
                  "\"one\\ntwo\\n\"");
    script_expect(&harness,
                  YAML
                  "return yaml.decode('t: {name: x, tests: [{cmd: \"ls -l\"}]}')['t'].tests[1].cmd",
                  "\"ls -l\"");
}

#define YAML_REFUSED(text, message)                                                                \
    script_expect(&harness,                                                                        \
                  YAML "local value, why, code = yaml.decode(" text ") "                           \
                       "return { value == nil, why, code }",                                       \
                  "[true,\"" message "\",\"EINVAL\"]")

static void yaml_refuses_with_line_and_column(void **state)
{
    (void)state;
    YAML_REFUSED("'a: 1\\nb: *x'", "2:4: aliases are not supported");
    YAML_REFUSED("'a: 1\\na: 2'", "2:1: this key stands in its mapping twice");
    YAML_REFUSED("'? [1]\\n: 2'", "1:3: a key is one word or text, nothing composed");
    YAML_REFUSED("'a: 9007199254740993'",
                 "1:4: an integer beyond 2^53 loses digits: write it in quotes");
    YAML_REFUSED("'--- 1\\n--- 2'", "2:1: a second document");
    YAML_REFUSED("'!!binary aGk='", "1:1: only the tags of the core schema are known");
    YAML_REFUSED("'!!int x'", "1:1: not an integer");
    YAML_REFUSED("('['):rep(65)", "1:65: nested deeper than 64 levels");
    YAML_REFUSED("'a: b: c'", "1:5: mapping values are not allowed in this context");
    YAML_REFUSED("'x: [1, 2'",
                 "2:1: while parsing a flow sequence: did not find expected ',' or ']'");
    script_expect(&harness,
                  YAML
                  "local value, why = yaml.decode('a: \\255') return { value == nil, type(why) }",
                  "[true,\"string\"]");
    script_expect(&harness, YAML "return (select(3, yaml.decode((' '):rep(2^24 + 1))))",
                  "\"EFBIG\"");
    script_expect_error(&harness, YAML "yaml.decode()", "string expected");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_harness, close_harness)
    const struct CMUnitTest tests[] = {
        TEST(json_keeps_null_and_empty_arrays),
        TEST(json_is_exact),
        TEST(json_tells_bad_text_and_misuse_apart),
        TEST(cjson_is_there_with_fixed_settings),
        TEST(time_tells_and_reads),
        TEST(time_sleeps),
        TEST(yaml_reads_the_core_schema),
        TEST(yaml_refuses_with_line_and_column),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
