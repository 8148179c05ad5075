/* test_value.c: what each kind of setting allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "config/config.h"
#include "config/value.h"

static void accept(enum setting which, const char *text, int64_t expected)
{
    int64_t number = -99;
    struct err err = { 0 };
    if (!value_parse(which, text, &number, &err)) fail_msg("%s: %s", text, err.text);
    assert_int_equal(number, expected);
}

static void refuse(enum setting which, const char *text, const char *piece)
{
    int64_t number;
    struct err err = { 0 };
    assert_false(value_parse(which, text, &number, &err));
    assert_int_equal(err.code, ERR_INPUT);
    if (!strstr(err.text, piece)) fail_msg("'%s' is not in: %s", piece, err.text);
}

static void value_ints_keep_to_their_range(void **state)
{
    (void)state;
    accept(SET_REDIS_PORT, "1", 1);
    accept(SET_REDIS_PORT, "65535", 65535);
    refuse(SET_REDIS_PORT, "0", "from 1 to 65535");
    refuse(SET_REDIS_PORT, "65536", "from 1 to 65535");
    refuse(SET_REDIS_PORT, "-1", "whole number");
    refuse(SET_REDIS_PORT, "+1", "whole number");
    refuse(SET_REDIS_PORT, "12x", "whole number");
    refuse(SET_REDIS_PORT, "", "whole number");
    refuse(SET_MAX_WAITING, "99999999999999999999", "whole number");
    accept(SET_MAX_WAITING, "5000000", 5000000);
}

static void value_processes_may_be_the_cores(void **state)
{
    (void)state;
    int64_t number;
    struct err err;
    assert_true(value_parse(SET_PROCESSES, "cores", &number, &err));
    assert_in_range(number, 1, 1024);
    refuse(SET_PROCESSES, "0", "or the word cores");
    refuse(SET_CONCURRENCY, "cores", "from 1 to 1000000");
}

static void value_sizes_count_in_1024(void **state)
{
    (void)state;
    accept(SET_MAX_PARAMS, "1024", 1024);
    accept(SET_MAX_PARAMS, "2K", 2048);
    accept(SET_MAX_PARAMS, "16M", 16 << 20);
    accept(SET_MAX_PARAMS, "256M", 256 << 20);
    refuse(SET_MAX_PARAMS, "257M", "from 1K to 256M");
    refuse(SET_MAX_PARAMS, "1G", "from 1K to 256M");
    refuse(SET_MAX_PARAMS, "9223372036854775807G", "number of bytes");
    refuse(SET_MAX_PARAMS, "1023", "from 1K");
    refuse(SET_MAX_PARAMS, "1MB", "number of bytes");
    refuse(SET_MAX_PARAMS, "1m", "number of bytes");
    refuse(SET_MAX_PARAMS, "K", "number of bytes");
}

static void value_durations_have_words(void **state)
{
    (void)state;
    accept(SET_TIMEOUT, "false", -1);
    accept(SET_TIMEOUT, "90s", 90000000);
    accept(SET_RESULT_TTL, "forever", -1);
    accept(SET_GRACE, "0", 0);
    refuse(SET_TIMEOUT, "forever", "or the word false");
    refuse(SET_TIMEOUT, "0", "from 1ms to 3650d");
    refuse(SET_LEASE, "2s", "from 3s to 1h");
    refuse(SET_LEASE, "false", "from 3s to 1h");
}

static void value_memory_may_be_unlimited(void **state)
{
    (void)state;
    accept(SET_MEMORY, "unlimited", -1);
    accept(SET_MEMORY, "2G", INT64_C(2) << 30);
    refuse(SET_MEMORY, "1M", "or the word unlimited");
    refuse(SET_MAX_PARAMS, "unlimited", "number of bytes");
}

static void value_choices_are_whole_words(void **state)
{
    (void)state;
    accept(SET_LOG, "error", 0);
    accept(SET_LOG, "debug", 0);
    refuse(SET_LOG, "err", "error warn info debug");
    refuse(SET_LOG, "error warn", "must be one of");
    refuse(SET_LOG, "", "must be one of");
    accept(SET_LOG_FORMAT, "json", 0);
}

static void value_namespace_fits_a_schema(void **state)
{
    (void)state;
    accept(SET_NAMESPACE, "ctutor", 0);
    accept(SET_NAMESPACE, "_a9", 0);
    accept(SET_NAMESPACE, "a2345678901234567890123456789012345678901", 0);
    refuse(SET_NAMESPACE, "a23456789012345678901234567890123456789012", "1 to 41");
    refuse(SET_NAMESPACE, "9a", "begin with a digit");
    refuse(SET_NAMESPACE, "Test", "a-z");
    refuse(SET_NAMESPACE, "a-b", "a-z");
    refuse(SET_NAMESPACE, "pg_x", "pg_");
    refuse(SET_NAMESPACE, "", "1 to");
}

static void value_texts_are_utf8_and_not_empty(void **state)
{
    (void)state;
    accept(SET_TASKS_DIR, "/srv/t\u00e4sks", 0);
    refuse(SET_TASKS_DIR, "", "empty");
    refuse(SET_REDIS_PASSWORD, "\xFF", "UTF-8");
}

static void value_queues_are_split_and_checked(void **state)
{
    (void)state;
    char **queues = NULL;
    struct err err;
    assert_true(value_parse_queues(" a, b.c-1_ ,a,d", &queues, &err));
    assert_string_equal(queues[0], "a");
    assert_string_equal(queues[1], "b.c-1_");
    assert_string_equal(queues[2], "d");
    assert_null(queues[3]);
    config_queues_free(queues);
    static const char *const bad[] = {
        "",  "a,",  ",a",  "a,,b",
        "A", "a b", "a;b", "a2345678901234567890123456789012345678901234567890123456789012345"
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuse(SET_QUEUES, bad[i], "queue names separated by commas");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_ints_keep_to_their_range),
        cmocka_unit_test(value_processes_may_be_the_cores),
        cmocka_unit_test(value_sizes_count_in_1024),
        cmocka_unit_test(value_durations_have_words),
        cmocka_unit_test(value_memory_may_be_unlimited),
        cmocka_unit_test(value_choices_are_whole_words),
        cmocka_unit_test(value_namespace_fits_a_schema),
        cmocka_unit_test(value_texts_are_utf8_and_not_empty),
        cmocka_unit_test(value_queues_are_split_and_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
