/* One member of an object, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/cli/slice.c"

static void assert_slice(const char *json, const char *key, const char *expected)
{
    size_t len = 0;
    const char *slice = slice_member(json, strlen(json), key, &len);
    if (!expected) {
        assert_null(slice);
        return;
    }
    assert_non_null(slice);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(slice, expected, len);
}

static void values_keep_their_spelling(void **state)
{
    (void)state;
    const char *json =
        "{ \"a\" : 1.50 , \"result\":{\"x\": [1, \"]}\", {}]},\"b\":\"q\\\"{\",\"e\":[],"
        "\"n\":null,\"s\":\"\",\"last\":-1e9}";
    assert_slice(json, "a", "1.50");
    assert_slice(json, "result", "{\"x\": [1, \"]}\", {}]}");
    assert_slice(json, "b", "\"q\\\"{\"");
    assert_slice(json, "e", "[]");
    assert_slice(json, "n", "null");
    assert_slice(json, "s", "\"\"");
    assert_slice(json, "last", "-1e9");
}

static void only_the_top_level_counts(void **state)
{
    (void)state;
    assert_slice("{\"p\":{\"result\":1},\"q\":\"result\"}", "result", NULL);
    assert_slice("{\"resulted\":1,\"resul\":2}", "result", NULL);
    assert_slice("[1]", "a", NULL);
    assert_slice("", "a", NULL);
    assert_slice("{}", "a", NULL);
}

static void words_are_compared_whole(void **state)
{
    (void)state;
    const char *json = "{\"status\":\"SUCCESS\"}";
    assert_true(slice_is(json, strlen(json), "status", "SUCCESS"));
    assert_false(slice_is(json, strlen(json), "status", "SUCCES"));
    assert_false(slice_is(json, strlen(json), "state", "SUCCESS"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_keep_their_spelling),
        cmocka_unit_test(only_the_top_level_counts),
        cmocka_unit_test(words_are_compared_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
