/* The progress bar's text, at every width. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/cli/output.c"
#include "runtime/cli/progress.c"

static const char *text_of(const struct progress_view *view, size_t width)
{
    static char text[512];
    struct buf out = BUF_EMPTY;
    progress_text(&out, view, width);
    assert_true(output_columns(buf_text(&out), out.len) <= width);
    snprintf(text, sizeof text, "%s", buf_text(&out));
    buf_close(&out);
    return text;
}

static void a_bar_shows_the_part_done(void **state)
{
    (void)state;
    const struct progress_view view = { "STARTED", 50, "i=3", 12000000 };
    assert_string_equal(text_of(&view, 80),
                        "[####################--------------------]  50% STARTED "
                        "12s i=3");
    const struct progress_view done = { "STARTED", 100, NULL, 0 };
    assert_null(strchr(text_of(&done, 80), '-'));
    const struct progress_view beyond = { "STARTED", 1e9, NULL, 0 };
    assert_null(strchr(text_of(&beyond, 80), '-'));
}

static void nothing_known_means_no_bar(void **state)
{
    (void)state;
    const struct progress_view view = { "PENDING", -1, "", 3000000 };
    assert_string_equal(text_of(&view, 80), " PENDING 3s");
}

static void it_fits_every_terminal(void **state)
{
    (void)state;
    const struct progress_view view = { "STARTED", 33, "a long text with \xE6\xBC\xA2 \033[2J", 1 };
    for (size_t width = 1; width < 120; width++) assert_null(strchr(text_of(&view, width), '\033'));
}

static void metadata_becomes_short(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        { "{\"done\":3,\"of\":10,\"file\":\"a b\"}", "done=3 of=10 file=a b" },
        { "[1,2]", "[1,2]" },
        { "\"text\"", "\"text\"" },
        { "null", "" },
        { "{\"x\":0.1}", "x=0.1" },
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct buf out = BUF_EMPTY;
        json_t *metadata = json_loads(pairs[i][0], JSON_DECODE_ANY, NULL);
        progress_metadata(&out, metadata);
        assert_string_equal(buf_text(&out), pairs[i][1]);
        json_decref(metadata);
        buf_close(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bar_shows_the_part_done),
        cmocka_unit_test(nothing_known_means_no_bar),
        cmocka_unit_test(it_fits_every_terminal),
        cmocka_unit_test(metadata_becomes_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
