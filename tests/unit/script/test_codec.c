/* test_codec.c: JSON text <-> Lua values, exactly, and what is refused on either way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/codec.h"

static lua_State *L;

static int setup(void **state)
{
    (void)state;
    L = luaL_newstate();
    luaL_openlibs(L);
    codec_open(L);
    lua_pushlightuserdata(L, NULL);
    lua_setglobal(L, "null");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(lua_gettop(L), 0);
    lua_close(L);
    return 0;
}

static void round_trip_len(const char *json, size_t len, const char *expected)
{
    struct buf out = BUF_EMPTY;
    struct err err;
    char *copy = xmalloc(len); /* without a NUL behind it */
    memcpy(copy, json, len);
    if (!codec_decode(L, copy, len, &err)) fail_msg("%s: %s", json, err.text);
    free(copy);
    assert_int_equal(lua_gettop(L), 1);
    if (!codec_encode(L, 1, 0, &out, &err)) fail_msg("%s: %s", json, err.text);
    assert_int_equal(lua_gettop(L), 1);
    assert_string_equal(buf_text(&out), expected);
    buf_close(&out);
    lua_settop(L, 0);
}

static void round_trip(const char *json, const char *expected)
{
    round_trip_len(json, strlen(json), expected);
}

static void values_come_back_exactly(void **state)
{
    (void)state;
    static const char *const same[] = {
        "null",
        "true",
        "false",
        "0",
        "-1",
        "[]",
        "{}",
        "\"\"",
        "[[],{}]",
        "[null,null]",
        "9007199254740992",
        "-9007199254740992",
        "1700000000123456",
        "1700000000.123456",
        "0.1",
        "0.30000000000000004",
        "1e-07",
        "5e-324",
        "1.7976931348623157e+308",
        "123456789012345",
        "1234567890123456",
        "-0",
        "2.5",
        "\"\\\"\\\\\\n\\r\\t\\u0001\"",
        "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
        "{\"a\":{\"b\":[1,[2,[]],{\"c\":null}]}}",
        "{\"\":1}",
        "[1,\"1\",true]",
    };
    for (size_t i = 0; i < COUNT_OF(same); i++) round_trip(same[i], same[i]);
}

static void other_spellings_become_the_shortest(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        { " [ 1 , 2 ]\n", "[1,2]" },
        { "1.0", "1" },
        { "1E3", "1000" },
        { "0.10000000000000001", "0.1" },
        { "100000000000000000000", "1e+20" },
        { "9007199254740994", "9.007199254740994e+15" },
        { "\"\\u00e4\\u20ac\\ud83d\\ude00\\/\\b\\f\"",
          "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80/\\u0008\\u000c\"" },
        { "{\"a\":1,\"a\":2}", "{\"a\":2}" },
    };
    for (size_t i = 0; i < COUNT_OF(pairs); i++) round_trip(pairs[i][0], pairs[i][1]);
}

static void malformed_text_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "nul",
        "nulll",
        "True",
        "[1,]",
        "[1",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:2}",
        "01",
        "-",
        "-01",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x10",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "\"",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud800x\"",
        "\"a\nb\"",
        "\"\x01\"",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "1 2",
        "[] []",
        "'a'",
        "// x\n1",
        "9007199254740993",
        "-9007199254740993",
        "12345678901234567890",
        "\xef\xbb\xbf"
        "1",
        "]",
        "[}",
        "{]",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err err = { 0 };
        if (codec_decode(L, bad[i], strlen(bad[i]), &err)) fail_msg("taken: %s", bad[i]);
        assert_int_equal(err.code, ERR_DATA);
        assert_int_equal(lua_gettop(L), 0);
    }
}

static void errors_name_the_place(void **state)
{
    (void)state;
    struct err err;
    assert_false(codec_decode(L, "{\"a\": [1, x]}", 13, &err));
    assert_string_equal(err.text, "invalid JSON at byte 11: unexpected character");
    assert_false(codec_decode(L, "[1}", 3, &err));
    assert_string_equal(err.text, "invalid JSON at byte 3: expected ',' or ']'");
}

static void depth_is_bounded_both_ways(void **state)
{
    (void)state;
    char text[2 * 100000];
    struct err err;
    for (int depth = 64; depth <= 65; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        assert_int_equal(codec_decode(L, text, (size_t)depth * 2, &err), depth == 64);
        lua_settop(L, 0);
    }
    memset(text, '[', sizeof text);
    assert_false(codec_decode(L, text, sizeof text, &err));
    memset(text, '{', sizeof text);
    assert_false(codec_decode(L, text, sizeof text, &err));
}

/* Cut anywhere, and with any byte changed, text is decoded or refused, never worse. */
static void damaged_text_does_no_harm(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1.5e3,-2,true,null,\"x\\u00e4\\n\xe2\x82\xac\"],\"b\":{}}";
    struct err err;
    for (size_t cut = 0; cut < sizeof text - 1; cut++) {
        char *copy = xmalloc(cut + 1);
        memcpy(copy, text, cut);
        assert_false(codec_decode(L, copy, cut, &err));
        free(copy);
    }
    for (size_t at = 0; at < sizeof text - 1; at++)
        for (int c = 0; c < 256; c++) {
            char copy[sizeof text];
            memcpy(copy, text, sizeof text);
            copy[at] = (char)c;
            if (codec_decode(L, copy, sizeof text - 1, &err)) lua_pop(L, 1);
            assert_int_equal(lua_gettop(L), 0);
        }
}

static void refuse(const char *expression, enum err_code code, const char *message)
{
    struct buf out = BUF_EMPTY;
    struct err err;
    char *chunk = xasprintf("return %s", expression);
    if (luaL_loadstring(L, chunk) != 0 || lua_pcall(L, 0, 1, 0) != 0)
        fail_msg("%s: %s", chunk, lua_tostring(L, -1));
    if (codec_encode(L, -1, 1000, &out, &err)) fail_msg("%s: %s", expression, buf_text(&out));
    assert_int_equal(err.code, code);
    if (!strstr(err.text, message)) fail_msg("%s: %s", expression, err.text);
    lua_settop(L, 0);
    buf_close(&out);
    free(chunk);
}

static void what_cannot_be_kept_is_named_by_its_path(void **state)
{
    (void)state;
    refuse("{ results = { 1, 2, { when = print } } }", ERR_DATA, "results[3].when: a function");
    refuse("0/0", ERR_DATA, "NaN");
    refuse("{ a = { ['b c'] = 1/0 } }", ERR_DATA, "a[\"b c\"]: infinity");
    refuse("-1/0", ERR_DATA, "infinity");
    refuse("io.stdout", ERR_DATA, "userdata");
    refuse("coroutine.create(print)", ERR_DATA, "coroutine");
    refuse("1LL", ERR_DATA, "userdata");
    refuse("{ 1, 2, x = 3 }", ERR_DATA, "both a list and named fields");
    refuse("{ 1, nil, 3 }", ERR_DATA, "holes");
    refuse("{ [5] = 1 }", ERR_DATA, "holes");
    refuse("{ [0] = 1 }", ERR_DATA, "holes");
    refuse("{ 1, [1.5] = 2 }", ERR_DATA, "holes");
    refuse("{ [true] = 1 }", ERR_DATA, "neither text nor");
    refuse("{ x = { [{}] = 1 } }", ERR_DATA, "x: a key that is neither");
    refuse("'\\255'", ERR_DATA, "not UTF-8");
    refuse("{ '\\237\\160\\128' }", ERR_DATA, "[1]: text that is not UTF-8");
    refuse("'a\\0b'", ERR_DATA, "NUL");
    refuse("{ ['\\255'] = 1 }", ERR_DATA, "in a key");
    refuse("(function() local t = {} t.t = t return t end)()", ERR_DATA, "64 levels");
    refuse("('x'):rep(999)", ERR_TOO_LARGE, "larger than 1000 bytes");
    refuse("{ ('x'):rep(500), ('x'):rep(500) }", ERR_TOO_LARGE, "larger than 1000 bytes");
}

static void metamethods_never_run(void **state)
{
    (void)state;
    struct buf out = BUF_EMPTY;
    struct err err;
    assert_int_equal(
        luaL_dostring(L, "return setmetatable({ a = 1 }, { __index = error, __len = error, "
                         "__pairs = error, __tostring = error, __metatable = 1 })"),
        0);
    assert_true(codec_encode(L, -1, 0, &out, &err));
    assert_string_equal(buf_text(&out), "{\"a\":1}");
    lua_settop(L, 0);
    buf_close(&out);
}

static void arrays_stay_arrays_when_emptied(void **state)
{
    (void)state;
    struct buf out = BUF_EMPTY;
    struct err err;
    assert_true(codec_decode(L, "[[1],[]]", 8, &err));
    lua_setglobal(L, "t");
    lua_newtable(L);
    codec_mark_array(L, -1);
    lua_setglobal(L, "marked");
    assert_int_equal(luaL_dostring(L, "table.remove(t[1]) return { t[1], t[2], {}, marked }"), 0);
    assert_true(codec_encode(L, -1, 0, &out, &err));
    assert_string_equal(buf_text(&out), "[[],[],{},[]]");
    lua_settop(L, 0);
    buf_close(&out);
}

static void decoded_values_have_their_lua_types(void **state)
{
    (void)state;
    struct err err;
    static const char json[] =
        "{\"n\":null,\"i\":9007199254740991,\"z\":\"a\\u0000b\",\"l\":[5,6]}";
    assert_true(codec_decode(L, json, sizeof json - 1, &err));
    lua_setglobal(L, "v");
    assert_int_equal(luaL_dostring(L, "assert(v.n == null and v.i == 2^53 - 1 and v.z == 'a\\0b' "
                                      "and #v.l == 2 and v.l[2] == 6 and not getmetatable(v.l))"),
                     0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_come_back_exactly, setup, teardown),
        cmocka_unit_test_setup_teardown(other_spellings_become_the_shortest, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed_text_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_name_the_place, setup, teardown),
        cmocka_unit_test_setup_teardown(depth_is_bounded_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_text_does_no_harm, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_kept_is_named_by_its_path, setup, teardown),
        cmocka_unit_test_setup_teardown(metamethods_never_run, setup, teardown),
        cmocka_unit_test_setup_teardown(arrays_stay_arrays_when_emptied, setup, teardown),
        cmocka_unit_test_setup_teardown(decoded_values_have_their_lua_types, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
