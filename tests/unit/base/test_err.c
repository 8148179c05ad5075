/* test_err.c: base/err.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "base/utf8.h"

static void err_set_fills_and_returns_false(void **state)
{
    (void)state;
    struct err err;
    assert_false(err_set(&err, ERR_NOT_FOUND, "no task %d", 7));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.text, "no task 7");
    assert_false(err_set(NULL, ERR_INPUT, "nobody reads it"));
    err_clear(&err);
    assert_int_equal(err.code, ERR_NONE);
    assert_string_equal(err.text, "");
}

static void err_wrap_puts_context_before(void **state)
{
    (void)state;
    struct err err;
    err_set(&err, ERR_IO, "gone");
    assert_false(err_wrap(&err, "file '%s'", "x"));
    assert_string_equal(err.text, "file 'x': gone");
    assert_int_equal(err.code, ERR_IO);
}

static void err_text_may_be_its_own_argument(void **state)
{
    (void)state;
    struct err err;
    err_set(&err, ERR_IO, "gone");
    err_set(&err, ERR_STORE, "redis: %s!", err.text);
    assert_string_equal(err.text, "redis: gone!");
}

static void err_text_is_cut_between_characters(void **state)
{
    (void)state;
    char text[2000];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t at = shift; at + 3 < sizeof text; at += 3) memcpy(text + at, "\u20ac", 4);
        struct err err;
        err_set(&err, ERR_INPUT, "%s", text);
        size_t len = strlen(err.text);
        assert_in_range(len, sizeof err.text - 3, sizeof err.text - 1);
        assert_true(utf8_is_valid(err.text, len));
        err_wrap(&err, "context %s", text);
        assert_true(utf8_is_valid(err.text, strlen(err.text)));
    }
}

static void err_text_is_utf8_whatever_it_quotes(void **state)
{
    (void)state;
    struct err err;
    err_set(&err, ERR_INPUT, "unknown word '%.3s', \xff", "\u00e4\u00e4");
    assert_string_equal(err.text, "unknown word '\u00e4\ufffd', \ufffd");
    err_wrap(&err, "file \xc3");
    assert_string_equal(err.text, "file \ufffd: unknown word '\u00e4\ufffd', \ufffd");
}

static void err_codes_have_their_exit_status(void **state)
{
    (void)state;
    assert_int_equal(err_exit_status(ERR_NONE), 0);
    assert_int_equal(err_exit_status(ERR_INPUT), 2);
    assert_int_equal(err_exit_status(ERR_CONFLICT), 2);
    assert_int_equal(err_exit_status(ERR_TOO_LARGE), 2);
    assert_int_equal(err_exit_status(ERR_STORE), 3);
    assert_int_equal(err_exit_status(ERR_FULL), 3);
    assert_int_equal(err_exit_status(ERR_NOT_FOUND), 4);
    assert_int_equal(err_exit_status(ERR_NOT_FINAL), 5);
    assert_int_equal(err_exit_status(ERR_STATE), 6);
    assert_int_equal(err_exit_status(ERR_DEADLINE), 124);
    assert_int_equal(err_exit_status(ERR_INTERRUPTED), 130);
    assert_int_equal(err_exit_status(ERR_INTERNAL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_set_fills_and_returns_false),
        cmocka_unit_test(err_wrap_puts_context_before),
        cmocka_unit_test(err_text_may_be_its_own_argument),
        cmocka_unit_test(err_text_is_cut_between_characters),
        cmocka_unit_test(err_text_is_utf8_whatever_it_quotes),
        cmocka_unit_test(err_codes_have_their_exit_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
