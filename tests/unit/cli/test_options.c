/* The command line: options in both spellings, optional values, repeated ones, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "runtime/cli/options.c"

static const struct cli_option rows[] = {
    { "queue", "Q", "", false },   { "tag", "T", "", true },       { "wait", "[D]", "", false },
    { "follow", NULL, "", false }, { "input", "FILE", "", false }, { 0 }
};
static const struct command command = { .name = "try", .usage = "X", .options = rows };

static struct cli_args args;
static struct options_common common;
static struct err err;

#define PARSE(...)                                                                                 \
    parse((const char *const[]){ __VA_ARGS__ }, COUNT_OF(((const char *const[]){ __VA_ARGS__ })))

static bool parse(const char *const *words, size_t count)
{
    common = (struct options_common){ 0 };
    err_clear(&err);
    return options_parse(&command, (int)count, (char **)(uintptr_t)words, &args, &common, &err);
}

static void values_come_in_both_spellings(void **state)
{
    (void)state;
    assert_true(PARSE("a", "--queue", "one", "b", "--queue=two=2", "-"));
    assert_string_equal(cli_value(&args, "queue"), "two=2");
    assert_int_equal(cli_count(&args, "queue"), 2);
    assert_string_equal(cli_at(&args, "queue", 0), "one");
    assert_null(cli_at(&args, "queue", 2));
    assert_int_equal(args.count, 3);
    assert_string_equal(args.words[1], "b");
    assert_string_equal(args.words[2], "-");
    options_close(&args);
}

static void wait_takes_only_a_duration(void **state)
{
    (void)state;
    assert_true(PARSE("--wait", "30s", "x=1"));
    assert_string_equal(cli_value(&args, "wait"), "30s");
    assert_int_equal(args.count, 1);
    options_close(&args);
    assert_true(PARSE("--wait", "x=1"));
    assert_string_equal(cli_value(&args, "wait"), "");
    assert_string_equal(args.words[0], "x=1");
    options_close(&args);
    assert_true(PARSE("--wait=nonsense", "--wait"));
    assert_string_equal(cli_at(&args, "wait", 0), "nonsense");
    options_close(&args);
}

static void an_empty_duration_is_none_but_for_a_bare_wait(void **state)
{
    (void)state;
    int64_t us = 7;
    assert_true(PARSE("--queue", "", "--wait"));
    assert_false(cli_duration(&args, "queue", &us, &err));
    assert_non_null(strstr(err.text, "--queue"));
    assert_true(cli_wait(&args, &us, &err));
    assert_int_equal(us, 7);
    options_close(&args);
    assert_true(PARSE("--wait=2s"));
    assert_true(cli_wait(&args, &us, &err));
    assert_int_equal(us, 2000000);
    options_close(&args);
    assert_true(PARSE("--wait=soon"));
    assert_false(cli_wait(&args, &us, &err));
    options_close(&args);
}

static void values_are_utf8_but_paths_are_bytes(void **state)
{
    (void)state;
    assert_false(PARSE("--queue", "a\xFF"));
    assert_non_null(strstr(err.text, "--queue is not valid UTF-8"));
    assert_true(PARSE("--input=a\xFF"));
    options_close(&args);
}

static void json_counts_also_beside_a_mistake(void **state)
{
    (void)state;
    assert_false(PARSE("--bogus", "--json"));
    assert_true(common.json);
    assert_false(PARSE("--json", "--bogus"));
    assert_true(common.json);
    assert_false(PARSE("--bogus", "--", "--json"));
    assert_false(common.json);
}

static void json_and_help_are_everywhere(void **state)
{
    (void)state;
    assert_true(PARSE("--json", "-h"));
    assert_true(common.json);
    assert_true(common.help);
    assert_int_equal(args.count, 0);
    options_close(&args);
}

static void two_dashes_end_the_options(void **state)
{
    (void)state;
    assert_true(PARSE("--", "--queue", "-x"));
    assert_int_equal(args.count, 2);
    assert_false(cli_has(&args, "queue"));
    options_close(&args);
}

static void mistakes_teach(void **state)
{
    (void)state;
    assert_false(PARSE("--queu=x"));
    assert_int_equal(err.code, ERR_INPUT);
    assert_non_null(strstr(err.text, "did you mean --queue?"));
    assert_false(PARSE("--queue"));
    assert_non_null(strstr(err.text, "--queue needs a value"));
    assert_false(PARSE("--queue", "--follow"));
    assert_non_null(strstr(err.text, "--queue needs a value"));
    assert_false(PARSE("--follow=1"));
    assert_non_null(strstr(err.text, "takes no value"));
    assert_false(PARSE("-q"));
    assert_false(PARSE("--queuex=1"));
}

static void numbers_are_bounded(void **state)
{
    (void)state;
    int64_t value = 7;
    assert_true(PARSE("--tag", "12"));
    assert_true(cli_int(&args, "tag", 0, 100, &value, &err));
    assert_int_equal(value, 12);
    assert_false(cli_int(&args, "tag", 0, 10, &value, &err));
    assert_true(cli_int(&args, "queue", 0, 10, &value, &err));
    assert_int_equal(value, 12);
    options_close(&args);
    static const char *const bad[] = { "12x", "+5", " 5", "", "-", "5.0", "99999999999999999999" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_true(PARSE("--tag", bad[i]));
        assert_false(cli_int(&args, "tag", 0, 100, &value, &err));
        options_close(&args);
    }
    assert_true(PARSE("--tag", "-3"));
    assert_true(cli_int(&args, "tag", -5, 100, &value, &err));
    assert_int_equal(value, -3);
    options_close(&args);
}

static void words_are_counted(void **state)
{
    (void)state;
    assert_true(PARSE("one", "two"));
    assert_true(cli_expect_words(&command, &args, 2, 2, &err));
    assert_false(cli_expect_words(&command, &args, 1, 1, &err));
    assert_non_null(strstr(err.text, "'two' is too much"));
    assert_false(cli_expect_words(&command, &args, 3, 3, &err));
    options_close(&args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_in_both_spellings),
        cmocka_unit_test(wait_takes_only_a_duration),
        cmocka_unit_test(an_empty_duration_is_none_but_for_a_bare_wait),
        cmocka_unit_test(values_are_utf8_but_paths_are_bytes),
        cmocka_unit_test(json_counts_also_beside_a_mistake),
        cmocka_unit_test(json_and_help_are_everywhere),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(mistakes_teach),
        cmocka_unit_test(numbers_are_bounded),
        cmocka_unit_test(words_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
