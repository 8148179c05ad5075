/* test_dotenv.c: the .env file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "place.h"

#include "base/log.h"
#include "config/dotenv.h"

static void dotenv_reads_the_usual_forms(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
        int line;
    } expected[] = { { "PLAIN", "a b", 2 },     { "SPACED", "x", 3 },
                     { "HASH", "a#b", 4 },      { "EXPORTED", "1", 5 },
                     { "SINGLE", "$a\\n#", 6 }, { "DOUBLE", "q\"\n$ \\x", 7 },
                     { "LINES", "1\n2", 8 },    { "EMPTY", "", 10 },
                     { "exporter", "y", 11 },   { "TWICE", "second", 14 } };
    struct dotenv dotenv;
    struct err err;
    assert_true(dotenv_parse("\xEF\xBB\xBF# comment\n"
                             "PLAIN=a b   # comment\r\n"
                             "  SPACED = x\n"
                             "HASH=a#b\n"
                             "export\tEXPORTED=1\n"
                             "SINGLE='$a\\n#' # comment\n"
                             "DOUBLE=\"q\\\"\\n\\$ \\x\"\n"
                             "LINES=\"1\n2\"\n"
                             "EMPTY=\n"
                             "exporter=y\n"
                             "no assignment, = is ignored\n"
                             "TWICE=first\n"
                             "TWICE=second",
                             &dotenv, &err));
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct dotenv_entry *entry = dotenv_find(&dotenv, expected[i].key);
        assert_non_null(entry);
        assert_string_equal(entry->value, expected[i].value);
        assert_int_equal(entry->line, expected[i].line);
    }
    assert_null(dotenv_find(&dotenv, "comment"));
    assert_int_equal(dotenv.count, 11);
    dotenv_close(&dotenv);
}

static void dotenv_tells_of_an_open_quote_by_line(void **state)
{
    (void)state;
    struct dotenv dotenv;
    struct err err;
    assert_false(dotenv_parse("A=1\nB='x\ny\n", &dotenv, &err));
    assert_string_equal(err.text, ".env:2: the quote of B is never closed");
}

static size_t count_entries(const char *path)
{
    struct dotenv dotenv;
    struct err err = { 0 };
    if (!dotenv_read(path, &dotenv, &err)) fail_msg("%s", err.text);
    size_t count = dotenv.count;
    dotenv_close(&dotenv);
    return count;
}

static void dotenv_ignores_what_others_could_write(void **state)
{
    (void)state;
    assert_int_equal(count_entries(".env"), 0); /* missing */
    place_write(".env", "A=1\n");
    assert_int_equal(count_entries(".env"), 1);
    chmod(".env", 0644);
    assert_int_equal(count_entries(".env"), 1);
    chmod(".env", 0620);
    assert_int_equal(count_entries(".env"), 0);
    chmod(".env", 0602);
    assert_int_equal(count_entries(".env"), 0);
    assert_int_equal(remove(".env"), 0);
    assert_int_equal(mkdir(".env", 0700), 0);
    assert_int_equal(count_entries(".env"), 0);
    assert_int_equal(rmdir(".env"), 0);
    assert_int_equal(mkfifo(".env", 0600), 0); /* must not block */
    assert_int_equal(count_entries(".env"), 0);
}

static void dotenv_ignores_the_files_and_links_of_strangers(void **state)
{
    (void)state;
    if (geteuid() != 0) skip();
    place_write("real", "A=1\n");
    assert_int_equal(symlink("real", ".env"), 0);
    assert_int_equal(count_entries(".env"), 1);
    assert_int_equal(lchown(".env", 65534, 65534), 0);
    assert_int_equal(count_entries(".env"), 0);
    assert_int_equal(lchown(".env", 0, 0), 0);
    assert_int_equal(chown("real", 65534, 65534), 0);
    assert_int_equal(count_entries(".env"), 0);
}

int main(void)
{
    log_init(LOG_ERROR, false, "test");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dotenv_reads_the_usual_forms),
        cmocka_unit_test(dotenv_tells_of_an_open_quote_by_line),
        cmocka_unit_test_setup_teardown(dotenv_ignores_what_others_could_write, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(dotenv_ignores_the_files_and_links_of_strangers,
                                        place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
