/* test_clock.c: base/clock.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

static void expect_duration(const char *text, int64_t expected)
{
    int64_t us = -7;
    struct err err;
    assert_true(duration_parse(text, &us, &err));
    assert_int_equal(us, expected);
}

static void duration_parse_reads_every_unit(void **state)
{
    (void)state;
    expect_duration("0", 0);
    expect_duration("250ms", 250000);
    expect_duration("10s", 10000000);
    expect_duration("5m", 300000000);
    expect_duration("2h", 7200000000);
    expect_duration("1d", 86400000000);
    expect_duration("1.5", 1500000);
    expect_duration("1.5h", 5400000000);
    expect_duration("0.0000019", 1);
    expect_duration("3650d", INT64_C(315360000000000));
}

static void duration_parse_refuses_the_rest(void **state)
{
    (void)state;
    static const char *const bad[] = { "",    "s",     "-1s",     " 1s",   "1 s",
                                       "1S",  "1.",    ".5",      "1.5.",  "1us",
                                       "1e3", "3651d", "3650.1d", "1h30m", "99999999999999999999",
                                       "nan", "0x10" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t us = -7;
        struct err err;
        assert_false(duration_parse(bad[i], &us, &err));
        assert_int_equal(err.code, ERR_INPUT);
        assert_int_equal(us, -7);
    }
}

static void duration_text_reads_back(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = { { 0, "0s" },           { 300000000, "5m" },  { 90000000, "90s" },
                  { 1500000, "1500ms" }, { 1500, "1.5ms" },    { 1, "0.001ms" },
                  { 7200000000, "2h" },  { 86400000000, "1d" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = duration_text(cases[i].us);
        assert_string_equal(text, cases[i].text);
        expect_duration(text, cases[i].us);
        free(text);
    }
}

static void time_text_shows_utc_with_milliseconds(void **state)
{
    (void)state;
    char text[TIME_TEXT_SIZE];
    time_text(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    time_text(INT64_C(1795507200123999), text);
    assert_string_equal(text, "2026-11-24T08:00:00.123Z");
    time_text(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999Z");
    time_text(INT64_C(-30641760000000000), text);
    assert_string_equal(text, "0999-01-01T00:00:00.000Z");
}

static void expect_time(const char *text, int64_t expected)
{
    int64_t us = -7;
    struct err err;
    assert_true(time_parse(text, &us, &err));
    assert_int_equal(us, expected);
}

static void time_parse_reads_zones_and_local_time(void **state)
{
    (void)state;
    const int64_t eight = INT64_C(1795507200000000);
    setenv("TZ", "XYZ-2", 1); /* two hours east of Greenwich, without summer time */
    tzset();
    expect_time("2026-11-24T08:00:00Z", eight);
    expect_time("2026-11-24t08:00:00.25z", eight + 250000);
    expect_time("2026-11-24T10:30:00+02:30", eight);
    expect_time("2026-11-23T23:00-09:00", eight);
    expect_time("2026-11-24T10:00:00.001", eight + 1000);
    expect_time("2026-11-24 10:00", eight);
    expect_time("2026-11-24", eight - INT64_C(10) * 3600 * 1000000);
    expect_time("2024-02-29T00:00Z", INT64_C(1709164800000000));
    unsetenv("TZ");
    tzset();
}

static void time_parse_refuses_what_is_no_date(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       "tomorrow",
                                       "2026-11",
                                       "2026-02-29",
                                       "2026-13-01",
                                       "2026-11-24T",
                                       "2026-11-24T24:00Z",
                                       "2026-11-24T08:60Z",
                                       "2026-11-24T08:00:61Z",
                                       "2026-11-24T08:00:00.Z",
                                       "2026-11-24T08:00+1",
                                       "2026-11-24T08:00+25:00",
                                       "2026-11-24T08:00Zx",
                                       "0000-01-01T00:00:00+00:01",
                                       "9999-12-31T23:59:60Z",
                                       "2026-11-24Z" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t us;
        struct err err;
        assert_false(time_parse(bad[i], &us, &err));
        assert_int_equal(err.code, ERR_INPUT);
    }
}

static void clocks_go_forwards(void **state)
{
    (void)state;
    int64_t mono = clock_mono_us(), boot = clock_boot_us();
    assert_true(boot >= mono);
    assert_true(clock_boot_us() >= boot);
    assert_in_range(clock_wall_us() / 1000000, time(NULL) - 2, time(NULL) + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(duration_parse_reads_every_unit),
        cmocka_unit_test(duration_parse_refuses_the_rest),
        cmocka_unit_test(duration_text_reads_back),
        cmocka_unit_test(time_text_shows_utc_with_milliseconds),
        cmocka_unit_test(time_parse_reads_zones_and_local_time),
        cmocka_unit_test(time_parse_refuses_what_is_no_date),
        cmocka_unit_test(clocks_go_forwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
