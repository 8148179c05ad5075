/* test_utf8.c: base/utf8.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"

static void utf8_accepts_the_borders_of_each_length(void **state)
{
    (void)state;
    static const char *const good[] = { "",
                                        "plain text longer than eight bytes",
                                        "\x7F",
                                        "\xC2\x80",
                                        "\xDF\xBF",
                                        "\xE0\xA0\x80",
                                        "\xED\x9F\xBF",
                                        "\xEE\x80\x80",
                                        "\xEF\xBF\xBF",
                                        "\xF0\x90\x80\x80",
                                        "\xF4\x8F\xBF\xBF" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_is_valid(good[i], strlen(good[i])));
    assert_true(utf8_is_valid("a\0b", 3));
}

static void utf8_refuses_what_is_not_well_formed(void **state)
{
    (void)state;
    static const char *const bad[] = { "\x80",
                                       "\xC0\x80",
                                       "\xC1\xBF",
                                       "\xE0\x9F\xBF",
                                       "\xED\xA0\x80",
                                       "\xF0\x8F\xBF\xBF",
                                       "\xF4\x90\x80\x80",
                                       "\xF5\x80\x80\x80",
                                       "\xFF",
                                       "\xE2\x82",
                                       "\xC3(",
                                       "plain text\xE2\x28\xA1" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(utf8_is_valid(bad[i], strlen(bad[i])));
    assert_false(utf8_is_valid("\xE2\x82\xAC", 2));
}

static void utf8_cut_never_splits_a_character(void **state)
{
    (void)state;
    const char *text = "a\u20acb\U0001F600";
    static const size_t expected[] = { 0, 1, 1, 1, 4, 5, 5, 5, 5, 9, 9 };
    for (size_t max = 0; max < sizeof expected / sizeof *expected; max++)
        assert_int_equal(utf8_cut(text, 9, max), expected[max]);
}

static void expect_clean(const char *text, size_t len, size_t max, const char *expected)
{
    struct buf out = BUF_EMPTY;
    buf_add_text(&out, ">");
    utf8_add_clean(&out, text, len, max);
    assert_string_equal(buf_text(&out) + 1, expected);
    assert_true(out.len - 1 <= max);
    buf_close(&out);
}

static void utf8_add_clean_replaces_and_cuts(void **state)
{
    (void)state;
    expect_clean("ok\u20ac", 5, 99, "ok\u20ac");
    expect_clean("a\xFF\0b", 4, 99, "a\uFFFD\uFFFDb");
    expect_clean("abcdefgh", 8, 8, "abcdefgh");
    expect_clean("abcdefghi", 9, 8, "abcde\u2026");
    expect_clean("\u20ac\u20ac\u20ac", 9, 8, "\u20ac\u2026");
    expect_clean("abc", 3, 2, "ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_accepts_the_borders_of_each_length),
        cmocka_unit_test(utf8_refuses_what_is_not_well_formed),
        cmocka_unit_test(utf8_cut_never_splits_a_character),
        cmocka_unit_test(utf8_add_clean_replaces_and_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
