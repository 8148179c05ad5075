/* test_log.c: base/log.h; stderr is a pipe while a line is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static int pipe_ends[2];
static int real_stderr;
static char captured[8192];

static void capture_start(void)
{
    assert_int_equal(pipe(pipe_ends), 0);
    real_stderr = dup(STDERR_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
}

/* One read gives one write of at most PIPE_BUF bytes at least; all lines were written before. */
static const char *capture_end(void)
{
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(pipe_ends[1]);
    ssize_t len = read(pipe_ends[0], captured, sizeof captured - 1);
    close(pipe_ends[0]);
    captured[len > 0 ? len : 0] = '\0';
    return captured;
}

static void log_writes_text_lines_that_nobody_can_forge(void **state)
{
    (void)state;
    log_init(LOG_INFO, false, "runner");
    capture_start();
    errno = ENOENT;
    log_info("task %s done", "x\n2026 error forged\x1b[2J");
    int kept = errno;
    const char *line = capture_end();
    assert_int_equal(kept, ENOENT);
    assert_int_equal(line[10], 'T');
    assert_string_equal(line + 24, " info runner task x 2026 error forged [2J done\n");
    capture_start();
    log_info("%s", "a\xC2\x9B"
                   "2Jb\u202egpj\u2066c\u2028d\x7F\u20ac\xC2");
    assert_string_equal(capture_end() + 24, " info runner a 2Jb gpj c d \u20ac\uFFFD\n");
}

static void log_writes_json_lines(void **state)
{
    (void)state;
    log_init(LOG_INFO, true, "keeper");
    capture_start();
    log_error("say \"%s\"", "a\nb\xC2\x9B\xFF");
    const char *line = capture_end();
    assert_memory_equal(line, "{\"time\":\"20", 11);
    assert_non_null(strstr(line, "\"level\":\"error\",\"part\":\"keeper\",\"pid\":"));
    assert_non_null(strstr(line, "\"message\":\"say \\\"a\\nb \uFFFD\\\"\"}\n"));
}

static void log_keeps_quiet_below_its_level(void **state)
{
    (void)state;
    log_init(LOG_WARN, false, "");
    assert_true(log_is_on(LOG_WARN));
    assert_false(log_is_on(LOG_INFO));
    capture_start();
    log_info("unseen");
    log_debug("unseen");
    log_warn("seen");
    const char *line = capture_end();
    assert_string_equal(line + 24, " warn seen\n");
}

static void log_cuts_a_long_message_to_one_atomic_write(void **state)
{
    (void)state;
    static char text[6000];
    memset(text, 'x', sizeof text - 1);
    log_init(LOG_INFO, false, "runner");
    capture_start();
    log_info("%s", text);
    const char *line = capture_end();
    size_t len = strlen(line);
    assert_in_range(len, 3800, 4096);
    assert_string_equal(line + len - 5, "x\u2026\n");
}

static void log_level_parse_knows_the_four(void **state)
{
    (void)state;
    enum log_level level;
    assert_true(log_level_parse("error", &level) && level == LOG_ERROR);
    assert_true(log_level_parse("debug", &level) && level == LOG_DEBUG);
    assert_false(log_level_parse("Debug", &level));
    assert_false(log_level_parse("", &level));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_writes_text_lines_that_nobody_can_forge),
        cmocka_unit_test(log_writes_json_lines),
        cmocka_unit_test(log_keeps_quiet_below_its_level),
        cmocka_unit_test(log_cuts_a_long_message_to_one_atomic_write),
        cmocka_unit_test(log_level_parse_knows_the_four),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
