/* test_tell.c: what a run tells while it runs: progress and log lines, in their bounds. */
#include "unit/script/world.h"

static void progress_and_logs_are_told(void **state)
{
    (void)state;
    struct story story = { 0 };
    expect("ctx.progress(-5) ctx.progress(40.5) ctx.progress(20)", (struct start){ 0 }, &story);
    assert_string_equal(buf_text(&story.progress), "0 40.5 40.5 ");
    story_close(&story);
    expect("ctx.progress(10, { a = 1 }) ctx:progress(250) ctx.log('debug', 'd') ctx:info('i') "
           "ctx.warn(5) ctx.info('a\\0b') ctx.info(('x'):rep(70000))",
           (struct start){ 0 }, &story);
    assert_int_equal(story.percent, 100);
    assert_string_equal(story.metadata, "{\"a\":1}");
    assert_int_equal(strncmp(buf_text(&story.log),
                             "debug:d\ninfo:i\nwarn:5\ninfo:a\xef\xbf\xbd"
                             "b\ninfo:xxx",
                             30),
                     0);
    assert_true(story.log.len < 65536 + 100);
    story_close(&story);
}

static size_t count_lines(const char *text)
{
    size_t count = 0;
    for (; (text = strchr(text, '\n')); text++) count++;
    return count;
}

static void a_flood_of_progress_and_log_lines_is_bounded(void **state)
{
    (void)state;
    struct story story = { 0 };
    expect("for i = 1, 1e6 do ctx.progress(i / 1e4, { i = i }) end ctx.sleep(0) ctx.progress(3)",
           (struct start){ 0 }, &story);
    assert_null(strstr(buf_text(&story.progress), "0.0017 "));
    assert_non_null(strstr(buf_text(&story.progress), "0.0016 100 100 "));
    story_close(&story);
    expect("for i = 1, 1e6 do print(i) end", (struct start){ 0 }, &story);
    assert_true(count_lines(buf_text(&story.log)) > 9000 && story.log.len < 1024 * 1024);
    assert_non_null(strstr(buf_text(&story.log), "\nwarn:9"));
    assert_non_null(strstr(buf_text(&story.log), " lines left out: too many at once\n"));
    story_close(&story);
    expect("for i = 1, 30 do print(('x'):rep(65536)) end ctx.sleep(1.1) print('later')",
           (struct start){ 0 }, &story);
    assert_non_null(
        strstr(buf_text(&story.log), " lines left out: too many at once\ninfo:later\n"));
    story_close(&story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_and_logs_are_told),
        cmocka_unit_test(a_flood_of_progress_and_log_lines_is_bounded),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
