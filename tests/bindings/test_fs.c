/* test_fs.c: ctutor.fs on real files, with what the world refuses and what a hostile tree holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "bindings/bindings.h"
#include "support/script_harness.h"

static struct script_harness harness;

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

#define FS "local fs = require 'ctutor.fs' "

/* Runs a shell command in the directory that pieces know as `dir`. */
static void shell(const char *command)
{
    char line[1024];
    snprintf(line, sizeof line, "cd %s/files && %s", harness.directory, command);
    assert_int_equal(system(line), 0);
}

static void files_are_written_appended_and_read(void **state)
{
    (void)state;
    script_expect(&harness,
                  FS "assert(fs.write('a', 'one\\0') == true) assert(fs.append('a', 'two')) "
                     "assert(fs.append('new', 'x')) "
                     "return { fs.read('a') == 'one\\0two', fs.read('new'), "
                     "fs.read(fs.tempdir() .. '/new') }",
                  "[true,\"x\",\"x\"]");
    script_expect(&harness, FS "fs.write('a', 'longer') fs.write('a', 'new') return fs.read('a')",
                  "\"new\"");
    script_expect(&harness, FS "fs.write('a', '') return fs.read('a')", "\"\"");
    script_expect(&harness, FS "return #fs.read('/proc/self/status') > 100", "true");
    script_expect(&harness,
                  FS "local text = ('0123456789abcdef'):rep(200000) fs.write('big', text) "
                     "return fs.read('big') == text",
                  "true");
}

static void reading_is_bounded(void **state)
{
    (void)state;
    script_expect(&harness, FS "fs.write('a', 'four') return fs.read('a', 4)", "\"four\"");
    script_expect(&harness, FS "fs.write('a', 'fives') return { select(2, fs.read('a', 4)) }",
                  "[\"read a: larger than allowed\",\"EFBIG\"]");
    script_expect(&harness, FS "return (select(3, fs.read('/proc/self/status', 10)))", "\"EFBIG\"");
    script_expect_error(&harness, FS "fs.read('a', -1)", "a limit is a number of bytes");
    shell("truncate -s 17M huge");
    script_expect(&harness, FS "return (select(3, fs.read(dir .. '/huge')))", "\"EFBIG\"");
}

static void what_the_world_refuses_is_returned(void **state)
{
    (void)state;
    script_expect(&harness, FS "return { select(2, fs.read('gone')) }",
                  "[\"read gone: No such file or directory\",\"ENOENT\"]");
    script_expect(&harness, FS "return { select(2, fs.write('/proc/x', 'y')) }",
                  "[\"write /proc/x: No such file or directory\",\"ENOENT\"]");
    script_expect(&harness, FS "return (select(3, fs.read('.')))", "\"EISDIR\"");
    script_expect(&harness, FS "return (select(3, fs.list('gone')))", "\"ENOENT\"");
    script_expect(&harness, FS "return (select(3, fs.remove('gone')))", "\"ENOENT\"");
    script_expect(&harness, FS "return (select(3, fs.copy('gone', 'x')))", "\"ENOENT\"");
    script_expect(&harness, FS "fs.write('f', '') return (select(3, fs.mkdir('f/x')))",
                  "\"ENOTDIR\"");
    script_expect(&harness, FS "fs.write('f', '') return (select(3, fs.mkdir('f')))", "\"EEXIST\"");
    script_expect(&harness, FS "return (select(3, fs.remove('/')))", "\"EPERM\"");
    shell("mkfifo fifo");
    script_expect(
        &harness,
        FS "return { fs.read(dir .. '/fifo') == nil, select(3, fs.write(dir .. '/fifo', 'x')), "
           "(select(2, fs.read(dir .. '/fifo')):gsub('.*/', '')) }",
        "[true,\"ENXIO\",\"fifo: not a regular file\"]");
}

static void misuse_raises(void **state)
{
    (void)state;
    script_expect_error(&harness, FS "fs.read()",
                        "bad argument #1 to 'ctutor.fs.read' (string expected");
    script_expect_error(&harness, FS "fs.read('')", "the path is empty");
    script_expect_error(&harness, FS "fs.remove('')", "the path is empty");
    script_expect_error(&harness, FS "fs.read('a\\0b')", "NUL");
    script_expect_error(&harness, FS "fs.copy('a')", "string expected");
    script_expect_error(&harness, FS "fs.copy('a', 'b\\0')", "NUL");
    script_expect_error(&harness, FS "fs.write('a')", "string expected");
    script_expect_error(&harness, FS "fs.write('a', {})", "string expected");
}

static void directories_are_made_listed_and_looked_for(void **state)
{
    (void)state;
    script_expect(&harness,
                  FS "assert(fs.mkdir('a/b/c') == true) assert(fs.mkdir('a/b/c/')) "
                     "fs.write('a/z', '') fs.write('a/.dot', '') return fs.list('a')",
                  "[\".dot\",\"b\",\"z\"]");
    script_expect(&harness, FS "fs.mkdir('empty') return fs.list('empty')", "[]");
    script_expect(&harness,
                  FS "fs.mkdir('d') fs.write('f', '') "
                     "return { { fs.exists('d') }, { fs.exists('f') }, { fs.exists('gone') }, "
                     "{ fs.exists('f/x') }, { fs.exists('/dev/null') } }",
                  "[[true,\"directory\"],[true,\"file\"],[false],[false],[true,\"other\"]]");
}

static void trees_are_copied_without_following_links(void **state)
{
    (void)state;
    shell("mkdir -p tree/sub && echo secret > outside && echo one > tree/one && "
          "echo two > tree/sub/two && chmod 750 tree/sub/two && ln -s ../outside tree/link && "
          "ln -s /etc tree/etc");
    script_expect(&harness,
                  FS "assert(fs.copy(dir .. '/tree', 'copy')) assert(fs.copy('copy/one', 'file')) "
                     "assert(fs.copy(dir .. '/tree/link', dir .. '/link')) "
                     "assert(fs.copy('copy', dir .. '/back/')) "
                     "return { fs.read('copy/sub/two'), fs.read('file') }",
                  "[\"two\\n\",\"one\\n\"]");
    shell("test \"$(readlink back/link)\" = ../outside && test \"$(readlink back/etc)\" = /etc && "
          "test \"$(stat -c %a back/sub/two)\" = 750 && test \"$(readlink link)\" = ../outside");
    /* Into an existing directory: merged. */
    script_expect(&harness,
                  FS "fs.mkdir('m/sub') fs.write('m/keep', 'k') fs.mkdir('n/sub') "
                     "fs.write('n/sub/x', '') assert(fs.copy('n', 'm')) "
                     "return { fs.list('m'), fs.list('m/sub') }",
                  "[[\"keep\",\"sub\"],[\"x\"]]");
}

static void copies_never_destroy_or_grow_for_ever(void **state)
{
    (void)state;
    script_expect(&harness,
                  FS "fs.write('a', 'text') local ok, why, code = fs.copy('a', './a') "
                     "return { why, code, fs.read('a') }",
                  "[\"copy a: source and target are the same file\",\"EINVAL\",\"text\"]");
    script_expect(&harness,
                  FS "fs.mkdir('a/b') return { (select(3, fs.copy('a', 'a/b/c'))), "
                     "(select(3, fs.copy('a', 'a'))) }",
                  "[\"EINVAL\",\"EINVAL\"]");
    shell("echo old > victim && ln -s victim link && mkdir -p real && ln -s real linked && mkfifo "
          "pipe");
    script_expect(&harness,
                  FS "fs.write('a', 'new') fs.mkdir('d') return { "
                     "(select(3, fs.copy('a', dir .. '/link'))), "
                     "(select(3, fs.copy('d', dir .. '/linked'))), "
                     "(select(3, fs.copy(dir .. '/pipe', 'p'))), (select(3, fs.copy('a', 'd'))) }",
                  "[\"ELOOP\",\"ENOTDIR\",\"EINVAL\",\"EISDIR\"]");
    shell("test \"$(cat victim)\" = old && test -z \"$(ls real)\"");
}

static void trees_are_removed_without_following_links(void **state)
{
    (void)state;
    shell("mkdir -p keep tree/a/b/c && echo x > keep/x && ln -s ../keep tree/link && "
          "ln -s ../../keep tree/a/link && mkdir tree/a/ro && echo y > tree/a/ro/y && "
          "chmod 0 tree/a/ro && ln -s keep toplink && echo z > single");
    script_expect(&harness,
                  FS "assert(fs.remove(dir .. '/tree')) assert(fs.remove(dir .. '/toplink/')) "
                     "assert(fs.remove(dir .. '/single')) return fs.list(dir)",
                  "[\"keep\"]");
    shell("test -f keep/x");
}

static void the_path_inside_of_a_tree_is_told(void **state)
{
    (void)state;
    shell("mkdir -p tree/sub && mkfifo tree/sub/pipe");
    script_expect(
        &harness,
        FS "local ok, why = fs.copy(dir .. '/tree', 'c') return (why:gsub('/tmp.*files/', ''))",
        "\"copy tree/sub/pipe: neither a file nor a directory nor a link\"");
    shell("python3 -c \"import os\nfor i in range(150): os.mkdir('d'); os.chdir('d')\"");
    script_expect(&harness, FS "return (select(3, fs.remove(dir .. '/d')))", "\"ELOOP\"");
}

static void the_directory_of_a_run_ends_with_it(void **state)
{
    (void)state;
    struct generation *generation =
        script_load(&harness, FS "fs.mkdir('a/b') fs.write('a/b/c', 'x') return fs.tempdir()");
    struct script_run *run = script_start(&harness, generation, -1);
    script_wait(run);
    assert_int_equal(run->end, END_RETURNED);
    run->result[strlen(run->result) - 1] = '\0'; /* the closing quote */
    assert_int_equal(access(run->result + 1, F_OK), -1);
    script_free(run);
    generation_retire(generation);
}

static void files_work_only_while_a_task_runs(void **state)
{
    (void)state;
    struct generation *generation =
        script_load_file(&harness, FS "local ok, why = pcall(fs.read, '/proc/self/status') "
                                      "return { execute = function() return why end }");
    struct script_run *run = script_start(&harness, generation, -1);
    script_wait(run);
    assert_int_equal(run->end, END_RETURNED);
    assert_non_null(strstr(run->result, "ctutor.fs.read works only while a task runs"));
    script_free(run);
    generation_retire(generation);
}

static void waiting_inside_of_a_callback_raises(void **state)
{
    (void)state;
    script_expect_error(
        &harness, FS "table.sort({ 3, 2, 1 }, function(a, b) fs.write('a', 'x') return a < b end)",
        "table.sort");
    script_expect(&harness, FS "return coroutine.wrap(function() return fs.exists('.') end)()",
                  "true");
}

static void runs_that_end_meanwhile_leave_nothing(void **state)
{
    (void)state;
    struct generation *generation = script_load(
        &harness, FS "local text = ('x'):rep(2^20) for i = 1, 1000 do fs.append('a', text) "
                     "fs.copy('a', 'b') end");
    struct script_run *runs[8];
    for (int i = 0; i < 8; i++) runs[i] = script_start(&harness, generation, 20000 + i * 10000);
    for (int i = 0; i < 8; i++) {
        script_wait(runs[i]);
        assert_int_equal(runs[i]->end, END_TIMEOUT);
        script_free(runs[i]);
    }
    generation_retire(generation);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_harness, close_harness)
    const struct CMUnitTest tests[] = {
        TEST(files_are_written_appended_and_read),
        TEST(reading_is_bounded),
        TEST(what_the_world_refuses_is_returned),
        TEST(misuse_raises),
        TEST(directories_are_made_listed_and_looked_for),
        TEST(trees_are_copied_without_following_links),
        TEST(copies_never_destroy_or_grow_for_ever),
        TEST(trees_are_removed_without_following_links),
        TEST(the_path_inside_of_a_tree_is_told),
        TEST(the_directory_of_a_run_ends_with_it),
        TEST(files_work_only_while_a_task_runs),
        TEST(waiting_inside_of_a_callback_raises),
        TEST(runs_that_end_meanwhile_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
