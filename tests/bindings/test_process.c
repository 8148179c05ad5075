/* test_process.c: ctutor.process with real processes: what they see, what is kept of them, and that
 * nothing of them survives. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bindings/bindings.h"
#include "support/script_harness.h"

static struct script_harness harness;
static struct rlimit started_with; /* RLIMIT_STACK */

static int open_harness(void **state)
{
    (void)state;
    script_harness_open(&harness, binding_table, binding_count);
    return 0;
}

static int close_harness(void **state)
{
    (void)state;
    script_harness_close(&harness);
    return 0;
}

#define RUN "local run, fs = require('ctutor.process').run, require('ctutor.fs') "
#define SH                                                                                         \
    RUN "local function sh(text, options) options = options or {} "                                \
        "options[1], options[2], options[3] = 'sh', '-c', text return assert(run(options)) end "

static void output_and_status_are_told(void **state)
{
    (void)state;
    script_expect(&harness,
                  SH
                  "local r = sh('echo out; echo err >&2; exit 3') "
                  "return { r.code, r.signal == nil, r.stdout, r.stderr, r.timed_out, r.truncated, "
                  "r.duration > 0 and r.duration < 30 }",
                  "[3,true,\"out\\n\",\"err\\n\",false,false,true]");
    script_expect(&harness, SH "local r = sh('kill -9 $$') return { r.code, r.signal }",
                  "[-1,\"SIGKILL\"]");
    script_expect(&harness, RUN "return run{ 'printf', '%s,%s,%s', 7, 1.5, 2^40 }.stdout",
                  "\"7,1.5,1099511627776\"");
    script_expect(&harness, SH "return sh('printf \"a\\\\0b\"').stdout == 'a\\0b'", "true");
}

static void it_runs_in_the_directory_of_the_run(void **state)
{
    (void)state;
    script_expect(&harness, SH "return sh('pwd').stdout == fs.tempdir() .. '\\n'", "true");
    script_expect(&harness,
                  SH "fs.mkdir('sub') return sh('pwd', { cwd = 'sub' }).stdout == "
                     "fs.tempdir() .. '/sub\\n'",
                  "true");
    script_expect(&harness, SH "return sh('pwd', { cwd = '/' }).stdout", "\"/\\n\"");
}

static void the_environment_is_clean(void **state)
{
    (void)state;
    setenv("POSTGRES_PASSWORD", "hunter2", 1);
    script_expect(
        &harness,
        RUN "local r = run{ 'env', env = { X = 'y', N = 5 } } local names = {} "
            "for name in r.stdout:gmatch('([%w_]+)=[^\\n]*\\n') do names[#names + 1] = name end "
            "table.sort(names) return table.concat(names, ' ')",
        "\"CTUTOR_RUN HOME LANG N PATH TMPDIR X\"");
    script_expect(
        &harness,
        SH "local r = sh('echo $HOME $TMPDIR $LANG $X', { env = { X = 'a  b', LANG = 'C' } }) "
           "local d = fs.tempdir() return r.stdout == d .. ' ' .. d .. ' C a b\\n'",
        "true");
    unsetenv("POSTGRES_PASSWORD");
}

static void a_given_path_is_searched(void **state)
{
    (void)state;
    script_expect(&harness,
                  RUN "fs.mkdir('bin') fs.write('bin/hello', '#!/bin/sh\\necho hello') "
                      "assert(run{ 'chmod', '+x', 'bin/hello' }.code == 0) "
                      "local path = fs.tempdir() .. '/bin' return { "
                      "run{ 'hello', env = { PATH = path } }.stdout, run{ './bin/hello' }.stdout, "
                      "run{ 'hello' } == nil }",
                  "[\"hello\\n\",\"hello\\n\",true]");
}

/* This process may have raised its own. */
static void the_limit_of_the_stack_is_what_we_were_started_with(void **state)
{
    (void)state;
    char *expected =
        started_with.rlim_cur == RLIM_INFINITY
            ? xstrdup("\"unlimited\\n\"")
            : xasprintf("\"%llu\\n\"", (unsigned long long)started_with.rlim_cur / 1024);
    script_expect(&harness, SH "return sh('ulimit -s').stdout", expected);
    free(expected);
}

static void only_three_descriptors_are_open(void **state)
{
    (void)state;
    script_expect(&harness, SH "return sh('ls /proc/$$/fd; true').stdout", "\"0\\n1\\n2\\n\"");
}

static void what_cannot_be_started_is_returned(void **state)
{
    (void)state;
    script_expect(&harness, RUN "return { select(2, run{ 'no-such-program' }) }",
                  "[\"cannot start no-such-program: no such program in PATH\",\"ENOENT\"]");
    script_expect(&harness, RUN "return (select(3, run{ './gone' }))", "\"ENOENT\"");
    script_expect(&harness, RUN "return { select(2, run{ 'true', cwd = '/gone' }) }",
                  "[\"cannot change to directory /gone: No such file or directory\",\"ENOENT\"]");
    script_expect(&harness, RUN "return (select(3, run{ 'true', cwd = '/etc/passwd' }))",
                  "\"ENOTDIR\"");
    script_expect(&harness, RUN "fs.write('x', '') return (select(3, run{ './x' }))", "\"EACCES\"");
    script_expect(&harness, RUN "return (select(3, run{ 'true', ('x'):rep(2^22) }))", "\"E2BIG\"");
}

static void misuse_raises_and_names_the_option(void **state)
{
    (void)state;
    static const struct {
        const char *call, *message;
    } cases[] = {
        { "run()", "takes one table" },
        { "run('ls')", "takes one table" },
        { "run{}", "the program is missing" },
        { "run{ '' }", "the program's name is empty" },
        { "run{ 'a', nil, 'b' }", "argument 2 is nil" },
        { "run{ 'a', {} }", "argument 2 is a text or a number, not a table" },
        { "run{ 'a', 'b\\0c' }", "argument 2 contains a NUL byte" },
        { "run{ 'a', timout = 5 }", "unknown option timout, did you mean timeout?" },
        { "run{ 'a', timeout = 'soon' }", "timeout:" },
        { "run{ 'a', timeout = -1 }", "timeout:" },
        { "run{ 'a', timeout = 0 }", "timeout must be longer than 0" },
        { "run{ 'a', timeout = {} }", "timeout: a duration is" },
        { "run{ 'a', cwd = 5 == 5 }", "cwd is a text or a number, not a boolean" },
        { "run{ 'a', cwd = 'a\\0' }", "cwd contains a NUL byte" },
        { "run{ 'a', env = 'A=b' }", "env is a table, not a string" },
        { "run{ 'a', env = { A = 'b\\0' } }", "env.A contains a NUL byte" },
        { "run{ 'a', env = { A = true } }", "env.A is a text or a number" },
        { "run{ 'a', env = { ['A=B'] = 'x' } }", "env: A=B cannot be the name" },
        { "run{ 'a', env = { 'x' } }", "env: 1 cannot be the name" },
        { "run{ 'a', env = { CTUTOR_RUN = 'x' } }", "CTUTOR_RUN" },
        { "run{ 'a', stdin = {} }", "stdin is a text or a number" },
        { "run{ 'a', max_output = '1T' }", "max_output is a number of bytes" },
        { "run{ 'a', max_output = '1G' }", "max_output is 256M at most" },
        { "run{ 'a', limits = { memry = 1 } }", "unknown limit memry, did you mean memory?" },
        { "run{ 'a', limits = { memory = -1 } }", "limits.memory is a number of bytes" },
        { "run{ 'a', limits = { open_files = 1.5 } }", "limits.open_files is a whole number" },
        { "run{ 'a', limits = 5 }", "limits is a table, not a number" },
        { "run{ 'a', limits = { 5 } }", "limits are named" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[512];
        snprintf(body, sizeof body, RUN "%s", cases[i].call);
        script_expect_error(&harness, body, cases[i].message);
        script_expect_error(&harness, body, "piece"); /* the position is the caller's */
    }
}

static void stdin_is_given_and_ended(void **state)
{
    (void)state;
    script_expect(&harness,
                  RUN "local text = ('0123456789abcdef'):rep(2^16) "
                      "local r = run{ 'cat', stdin = text, max_output = '2M' } "
                      "return { r.stdout == text, r.truncated }",
                  "[true,false]");
    script_expect(&harness, RUN "return run{ 'cat', stdin = '' }.stdout", "\"\"");
    script_expect(&harness, RUN "return run{ 'cat' }.stdout", "\"\"");
    script_expect(&harness, RUN "return run{ 'true', stdin = ('x'):rep(2^20) }.code", "0");
    script_expect(
        &harness,
        SH "return sh('exec <&-; sleep 0.05; echo done', { stdin = ('x'):rep(2^20) }).stdout",
        "\"done\\n\"");
}

static void output_is_bounded_but_never_blocks(void **state)
{
    (void)state;
    script_expect(&harness,
                  SH "local r = sh('yes | head -c 100000000; echo end >&2') "
                     "return { r.code, #r.stdout, r.stderr, r.truncated }",
                  "[0,1048576,\"end\\n\",true]");
    script_expect(
        &harness,
        SH "local r = sh('printf 12345', { max_output = 5 }) return { r.stdout, r.truncated }",
        "[\"12345\",false]");
    script_expect(&harness,
                  SH "local r = sh('printf 123456 >&2', { max_output = 5 }) "
                     "return { r.stderr, r.truncated }",
                  "[\"12345\",true]");
    script_expect(&harness,
                  SH
                  "local r = sh('printf x', { max_output = 0 }) return { r.stdout, r.truncated }",
                  "[\"\",true]");
}

static void limits_hold(void **state)
{
    (void)state;
    script_expect(&harness,
                  SH "local r = sh('ulimit -v; ulimit -t; ulimit -f; ulimit -n', { limits = { "
                     "memory = '256M', cpu = 2.5, file_size = 1024 * 512, open_files = 50 } }) "
                     "return (r.stdout:gsub('%s+', ' '))",
                  "\"262144 3 1024 50 \"");
    script_expect(&harness, SH "return sh('while :; do :; done', { limits = { cpu = 1 } }).signal",
                  "\"SIGXCPU\"");
}

/* ---- nothing survives ---- */

static char pid_file[128];

static pid_t read_pid(void)
{
    int pid = 0;
    snprintf(pid_file, sizeof pid_file, "%s/files/pid", harness.directory);
    FILE *file = fopen(pid_file, "r");
    if (file == NULL) return 0;
    if (fscanf(file, "%d\n", &pid) != 1) pid = 0;
    fclose(file);
    return pid;
}

static bool has_pid(void *arg)
{
    (void)arg;
    return read_pid() > 0;
}

static bool is_gone(void *arg) { return kill(*(pid_t *)arg, 0) != 0 && errno == ESRCH; }

/* Forks twice, leaves the session, holds the pipes, says its pid. */
#define DAEMON                                                                                     \
    "(setsid sh -c 'echo $$ > '$1'/pid; exec sleep 300' &) ; "                                     \
    "while ! test -s $1/pid; do sleep 0.01; done; "
#define START_DAEMON(rest, options)                                                                \
    RUN "return run{ 'sh', '-c', [[" DAEMON rest "]], 'sh', dir" options " }"

static void a_timeout_kills_everything(void **state)
{
    (void)state;
    script_expect(
        &harness,
        "local r = (function() " START_DAEMON(
            "echo up; sleep 300",
            ", timeout = '1s'") " end)() "
                                "return { r.timed_out, r.signal, r.stdout, r.duration < 20 }",
        "[true,\"SIGKILL\",\"up\\n\",true]");
    pid_t pid = read_pid();
    assert_int_not_equal(pid, 0);
    script_turn_until(&harness, is_gone, &pid);
}

static void a_daemon_that_holds_the_pipes_does_not_hold_the_call(void **state)
{
    (void)state;
    int64_t began_us = clock_mono_us();
    script_expect(
        &harness,
        "local r = (function() " START_DAEMON("exit 4", "") " end)() "
                                                            "return { r.timed_out, r.code }",
        "[false,4]");
    assert_true(clock_mono_us() - began_us < 20000000);
    pid_t pid = read_pid();
    assert_int_not_equal(pid, 0);
    script_turn_until(&harness, is_gone, &pid);
}

/* No marker, another session, adopted by nobody of the family: it may live, the call may not wait.
 */
static void a_daemon_that_cannot_be_found_does_not_hold_the_call(void **state)
{
    (void)state;
    int64_t began_us = clock_mono_us();
    script_expect(&harness,
                  RUN "return run{ 'sh', '-c', [[(env -i setsid sh -c 'echo $$ > '$1'/pid; "
                      "exec sleep 300' &) ; while ! test -s $1/pid; do sleep 0.01; done; "
                      "echo started]], 'sh', dir }.stdout",
                  "\"started\\n\"");
    assert_true(clock_mono_us() - began_us < 20000000);
    pid_t pid = read_pid();
    assert_int_equal(kill(pid, SIGKILL), 0);
    script_turn_until(&harness, is_gone, &pid);
}

static void waiting_inside_of_a_callback_raises_and_kills(void **state)
{
    (void)state;
    script_expect_error(&harness,
                        RUN "table.sort({ 3, 2, 1 }, function() return run{ 'sleep', 300 } end)",
                        "table.sort");
    script_expect(&harness,
                  RUN "return coroutine.wrap(function() return run{ 'echo', 'x' }.stdout end)()",
                  "\"x\\n\"");
}

static void the_end_of_a_run_kills_everything(enum run_end expected, int64_t timeout_us,
                                              void (*end)(struct script_run *run))
{
    struct generation *generation = script_load(&harness, START_DAEMON("sleep 300", ""));
    struct script_run *run = script_start(&harness, generation, timeout_us);
    script_turn_until(&harness, has_pid, NULL);
    pid_t pid = read_pid();
    if (end != NULL) end(run);
    script_wait(run);
    assert_int_equal(run->end, expected);
    script_turn_until(&harness, is_gone, &pid);
    script_free(run);
    generation_retire(generation);
}

static void cancel_run(struct script_run *run) { run_cancel(run->run); }
static void release_run(struct script_run *run) { run_end(run->run, END_RELEASED); }

static void the_timeout_of_the_run_kills_everything(void **state)
{
    (void)state;
    the_end_of_a_run_kills_everything(END_TIMEOUT, 1500000, NULL);
}

static void a_cancel_kills_everything(void **state)
{
    (void)state;
    the_end_of_a_run_kills_everything(END_CANCELLED, -1, cancel_run);
}

static void a_release_kills_everything(void **state)
{
    (void)state;
    the_end_of_a_run_kills_everything(END_RELEASED, -1, release_run);
}

/* In a session of its own it outlives the first kill, and writes into the directory until it is
 * found. */
static void the_directory_goes_after_the_last_process(void **state)
{
    (void)state;
    enum { COUNT = 12 };
    struct script_run *runs[COUNT];
    struct generation *generation = script_load(
        &harness, RUN "return run{ 'sh', '-c', [[(setsid sh -c 'i=0; while mkdir -p d/$i; do "
                      "i=$((i+1)); done' &); sleep 300]] }");
    for (int i = 0; i < COUNT; i++) runs[i] = script_start(&harness, generation, 300000);
    for (int i = 0; i < COUNT; i++) {
        script_wait(runs[i]);
        assert_int_equal(runs[i]->end, END_TIMEOUT);
        script_free(runs[i]);
    }
    generation_retire(generation); /* and the harness finds no directory */
}

static void many_run_side_by_side(void **state)
{
    (void)state;
    struct script_run *runs[200];
    struct generation *generation =
        script_load(&harness, SH "return sh('sleep 0.5; echo $CTUTOR_RUN').stdout ~= '\\n'");
    for (int i = 0; i < 200; i++) runs[i] = script_start(&harness, generation, -1);
    for (int i = 0; i < 200; i++) {
        script_wait(runs[i]);
        if (runs[i]->end != END_RETURNED) fail_msg("%s", runs[i]->error);
        assert_string_equal(runs[i]->result, "true");
        script_free(runs[i]);
    }
    generation_retire(generation);
}

int main(void)
{
    getrlimit(RLIMIT_STACK, &started_with);
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_harness, close_harness)
    const struct CMUnitTest tests[] = {
        TEST(output_and_status_are_told),
        TEST(it_runs_in_the_directory_of_the_run),
        TEST(the_environment_is_clean),
        TEST(a_given_path_is_searched),
        TEST(the_limit_of_the_stack_is_what_we_were_started_with),
        TEST(only_three_descriptors_are_open),
        TEST(what_cannot_be_started_is_returned),
        TEST(misuse_raises_and_names_the_option),
        TEST(stdin_is_given_and_ended),
        TEST(output_is_bounded_but_never_blocks),
        TEST(limits_hold),
        TEST(a_timeout_kills_everything),
        TEST(a_daemon_that_holds_the_pipes_does_not_hold_the_call),
        TEST(a_daemon_that_cannot_be_found_does_not_hold_the_call),
        TEST(waiting_inside_of_a_callback_raises_and_kills),
        TEST(the_timeout_of_the_run_kills_everything),
        TEST(a_cancel_kills_everything),
        TEST(a_release_kills_everything),
        TEST(the_directory_goes_after_the_last_process),
        TEST(many_run_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
