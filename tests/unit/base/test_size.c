#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/size.h"

static void expect_size(const char *text, int64_t wanted)
{
    int64_t bytes = -5;
    assert_true(size_parse(text, 10, INT64_C(1) << 40, &bytes));
    assert_int_equal(bytes, wanted);
}

static void sizes_are_digits_and_perhaps_a_letter(void **state)
{
    (void)state;
    expect_size("10", 10);
    expect_size("1K", 1024);
    expect_size("256M", INT64_C(256) << 20);
    expect_size("1024G", INT64_C(1) << 40);
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = { "",
                                         "9",
                                         "M",
                                         "1k",
                                         "1MB",
                                         "-1M",
                                         "+1M",
                                         "1.5M",
                                         " 1M",
                                         "1M ",
                                         "1025G",
                                         "0x1K",
                                         "1 M",
                                         "99999999999999999999",
                                         "9223372036854775807G" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int64_t bytes = -5;
        if (size_parse(texts[i], 10, INT64_C(1) << 40, &bytes)) fail_msg("'%s'", texts[i]);
        assert_int_equal(bytes, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_digits_and_perhaps_a_letter),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
