/* test_tree.c: whole trees go, links stay what they point to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/tree.h"

static char root[] = "/tmp/ctutor-tree-XXXXXX";

static void write_file(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void expect_gone(const char *path)
{
    struct stat info;
    struct err err = { 0 };
    if (!tree_remove_all(path, &err)) fail_msg("%s", err.text);
    assert_int_not_equal(lstat(path, &info), 0);
}

static void tree_of_nothing_or_one_file(void **state)
{
    (void)state;
    expect_gone("absent");
    write_file("file");
    expect_gone("file");
}

static void tree_that_forbids_to_look(void **state)
{
    (void)state;
    assert_int_equal(mkdir("top", 0700), 0);
    assert_int_equal(mkdir("top/closed", 0700), 0);
    write_file("top/closed/file");
    assert_int_equal(chmod("top/closed", 0), 0);
    assert_int_equal(chmod("top", 0500), 0);
    expect_gone("top");
}

static void tree_follows_no_link(void **state)
{
    (void)state;
    assert_int_equal(mkdir("kept", 0700), 0);
    write_file("kept/file");
    assert_int_equal(mkdir("top", 0700), 0);
    assert_int_equal(symlink("../kept", "top/link"), 0);
    assert_int_equal(symlink("kept", "link"), 0);
    expect_gone("top");
    expect_gone("link");
    assert_int_equal(access("kept/file", F_OK), 0);
    expect_gone("kept");
}

/* Deeper than there are descriptors, and than any path is long. */
static void tree_of_any_depth(void **state)
{
    (void)state;
    struct rlimit before, few = { 64, 64 };
    int at = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int depth = 0; depth < 3000; depth++) {
        const char *name = depth == 0 ? "deep" : "d";
        assert_int_equal(mkdirat(at, name, 0700), 0);
        int below = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(at);
        at = below;
    }
    close(at);
    getrlimit(RLIMIT_NOFILE, &before);
    few.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_NOFILE, &few);
    expect_gone("deep");
    setrlimit(RLIMIT_NOFILE, &before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree_of_nothing_or_one_file),
        cmocka_unit_test(tree_that_forbids_to_look),
        cmocka_unit_test(tree_follows_no_link),
        cmocka_unit_test(tree_of_any_depth),
    };
    if (!mkdtemp(root) || chdir(root) != 0) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return rmdir(root) == 0 ? failed : 1;
}
