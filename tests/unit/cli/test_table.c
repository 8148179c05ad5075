/* Tables: aligned, never wider than asked, and no byte of a user reaches the terminal raw. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/cli/output.c"
#include "runtime/cli/table.c"

static const struct table_column columns[] = { { "NAME", false, true },
                                               { "N", true, false },
                                               { "LAST", false, false } };
static struct buf out;

static const char *print(size_t width, bool colour, const char *const *cells)
{
    struct table *table = table_new(columns, 3);
    for (; *cells; cells++) table_cell_colour(table, *cells, "31");
    buf_clear(&out);
    table_print(table, width, colour, &out);
    table_free(table);
    return buf_text(&out);
}

static int close_out(void **state)
{
    (void)state;
    buf_close(&out);
    return 0;
}

static void columns_are_aligned(void **state)
{
    (void)state;
    const char *const cells[] = { "a", "1", "x", "long name", "100", "", NULL };
    assert_string_equal(print(0, false, cells), "NAME         N  LAST\n"
                                                "a            1  x\n"
                                                "long name  100  -\n");
}

static void wide_characters_count_twice(void **state)
{
    (void)state;
    const char *const cells[] = {
        "\xE6\xBC\xA2\xE5\xAD\x97", "1", "x", "e\xCC\x81", "2", "y", NULL
    };
    assert_string_equal(print(0, false, cells), "NAME  N  LAST\n"
                                                "\xE6\xBC\xA2\xE5\xAD\x97  1  x\n"
                                                "e\xCC\x81     2  y\n");
}

static void what_may_shrink_gives_way(void **state)
{
    (void)state;
    const char *const cells[] = { "abcdefghijklmnop", "1", "last", NULL };
    assert_string_equal(print(19, false, cells), "NAME        N  LAST\n"
                                                 "abcdefghi\xE2\x80\xA6  1  last\n");
    print(3, false, cells); /* too little for anything: it stays readable */
    assert_non_null(strstr(buf_text(&out), "abcde\xE2\x80\xA6  1  last"));
}

static void colours_take_no_room(void **state)
{
    (void)state;
    const char *const cells[] = { "a", "1", "x", NULL };
    assert_string_equal(print(0, true, cells),
                        "\033[1mNAME\033[0m  \033[1mN\033[0m  \033[1mLAST\033[0m\n"
                        "\033[31ma\033[0m     \033[31m1\033[0m  \033[31mx\033[0m\n");
}

static void cells_cannot_reach_the_terminal(void **state)
{
    (void)state;
    const char *const cells[] = { "a\033[2Jb\nc\rd\x7F\xC2\x9B", "\xFF", "\xE2\x80\xAE!", NULL };
    const char *text = print(0, false, cells);
    assert_null(strchr(text, '\033'));
    assert_null(strchr(text, '\r'));
    assert_null(strchr(text, '\x7F'));
    assert_null(strstr(text, "\xC2\x9B"));
    assert_null(strstr(text, "\xE2\x80\xAE"));
    assert_non_null(strstr(text, "[2Jb c"));
}

static void long_texts_keep_their_lines(void **state)
{
    (void)state;
    buf_clear(&out);
    output_add_clean(&out, "a\n\tb\033c", 6, true);
    assert_string_equal(buf_text(&out), "a\n\tb\xEF\xBF\xBD"
                                        "c");
}

static void spans_are_short(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } spans[] = { { 5000, "5ms" },     { 3400000, "3.4s" },  { 42000000, "42s" },
                  { 300000000, "5m" }, { 7200000000, "2h" }, { 259200000000, "3d" } };
    for (size_t i = 0; i < COUNT_OF(spans); i++) {
        buf_clear(&out);
        output_add_span(&out, spans[i].us);
        assert_string_equal(buf_text(&out), spans[i].text);
    }
}

static void json_is_escaped_for_a_terminal_and_says_the_same(void **state)
{
    (void)state;
    static const char json[] = "{\"a\\u001b\": \"\x7f \xC2\x9B \u202e \u00e9 \U0001F600\"}\n";
    buf_clear(&out);
    output_add_escaped(&out, json, sizeof json - 1);
    assert_string_equal(buf_text(&out), "{\"a\\u001b\": \"\\u007f \\u009b \\u202e \u00e9 "
                                        "\U0001F600\"}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_aligned),
        cmocka_unit_test(wide_characters_count_twice),
        cmocka_unit_test(what_may_shrink_gives_way),
        cmocka_unit_test(colours_take_no_room),
        cmocka_unit_test(cells_cannot_reach_the_terminal),
        cmocka_unit_test(long_texts_keep_their_lines),
        cmocka_unit_test(spans_are_short),
        cmocka_unit_test(json_is_escaped_for_a_terminal_and_says_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, close_out);
}
