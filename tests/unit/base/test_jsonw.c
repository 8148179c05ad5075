/* test_jsonw.c: base/jsonw.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"

static void jsonw_places_the_commas(void **state)
{
    (void)state;
    struct buf out = BUF_EMPTY;
    struct jsonw w;
    jsonw_init(&w, &out);
    jsonw_object(&w);
    jsonw_key(&w, "list");
    jsonw_array(&w);
    jsonw_int(&w, -1);
    jsonw_object(&w);
    jsonw_object_end(&w);
    jsonw_array(&w);
    jsonw_null(&w);
    jsonw_array_end(&w);
    jsonw_bool(&w, true);
    jsonw_array_end(&w);
    jsonw_key(&w, "raw");
    jsonw_raw(&w, "{\"x\": 1}", 8);
    jsonw_key_text(&w, "text", "t");
    jsonw_key_text(&w, "none", NULL);
    jsonw_key_int(&w, "int", INT64_MIN);
    jsonw_key_bool(&w, "no", false);
    jsonw_key(&w, "time");
    jsonw_time(&w, 0);
    jsonw_object_end(&w);
    assert_string_equal(
        buf_text(&out),
        "{\"list\":[-1,{},[null],true],\"raw\":{\"x\": 1},\"text\":\"t\",\"none\":null,"
        "\"int\":-9223372036854775808,\"no\":false,\"time\":\"1970-01-01T00:00:00.000Z\"}");
    buf_close(&out);
}

static void jsonw_escapes_and_cleans_text(void **state)
{
    (void)state;
    struct buf out = BUF_EMPTY;
    struct jsonw w;
    jsonw_init(&w, &out);
    jsonw_text_len(&w, "a\"\\/\n\r\t\x01\0\xFF\u20ac", 13);
    assert_string_equal(buf_text(&out), "\"a\\\"\\\\/\\n\\r\\t\\u0001\\u0000\uFFFD\u20ac\"");
    buf_close(&out);
}

static void expect_number(double value, const char *expected)
{
    struct buf out = BUF_EMPTY;
    struct jsonw w;
    jsonw_init(&w, &out);
    jsonw_number(&w, value);
    assert_string_equal(buf_text(&out), expected);
    buf_close(&out);
}

static void jsonw_number_is_the_shortest_that_reads_back(void **state)
{
    (void)state;
    expect_number(0.1, "0.1");
    expect_number(-2, "-2");
    expect_number(9.95, "9.95");
    expect_number(0.1 + 0.2, "0.30000000000000004");
    expect_number(9007199254740991.0, "9007199254740991");
    expect_number(5e-324, "5e-324");
    expect_number(DBL_MAX, "1.7976931348623157e+308");
    expect_number((double)NAN, "null");
    expect_number((double)INFINITY, "null");
}

static void jsonw_nests_deep(void **state)
{
    (void)state;
    struct buf out = BUF_EMPTY;
    struct jsonw w;
    jsonw_init(&w, &out);
    for (int i = 0; i < 63; i++) jsonw_array(&w);
    jsonw_int(&w, 1);
    jsonw_int(&w, 2);
    for (int i = 0; i < 63; i++) jsonw_array_end(&w);
    assert_int_equal(out.len, 63 + 3 + 63);
    assert_non_null(strstr(buf_text(&out), "[1,2]"));
    buf_close(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jsonw_places_the_commas),
        cmocka_unit_test(jsonw_escapes_and_cleans_text),
        cmocka_unit_test(jsonw_number_is_the_shortest_that_reads_back),
        cmocka_unit_test(jsonw_nests_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
