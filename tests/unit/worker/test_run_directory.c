/* test_run_directory.c: a folder whose lock is held is in use, every other one goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/supervisor_private.h"

#define ONE "11111111-1111-4111-8111-111111111111"
#define TWO "22222222-2222-4222-8222-222222222222"

static void run_directory_lives_as_long_as_its_lock(void **state)
{
    (void)state;
    struct err err;
    int one, two;
    assert_true(run_directory_make("base/" ONE, &one, &err));
    assert_true(run_directory_make("base/" TWO, &two, &err));
    assert_int_equal(mkdir("base/" TWO "/run", 0700), 0);
    assert_int_equal(mkdir("base/else", 0700), 0);
    run_directories_sweep("base", NULL);
    assert_int_equal(access("base/" ONE, F_OK), 0);
    assert_int_equal(access("base/" TWO "/run", F_OK), 0);
    close(two);
    run_directories_sweep("base", NULL);
    assert_int_equal(access("base/" ONE, F_OK), 0);
    assert_int_not_equal(access("base/" TWO, F_OK), 0);
    close(one);
    run_directories_sweep("base", NULL);
    assert_int_not_equal(access("base/" ONE, F_OK), 0);
    assert_int_equal(rmdir("base/else"), 0); /* not ours to remove */
}

static void run_directory_says_why_it_cannot_be_made(void **state)
{
    (void)state;
    struct err err;
    int fd;
    assert_false(run_directory_make("absent/" ONE, &fd, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(fd, -1);
    run_directories_sweep("absent", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_directory_lives_as_long_as_its_lock),
        cmocka_unit_test(run_directory_says_why_it_cannot_be_made),
    };
    char root[] = "/tmp/ctutor-directories-XXXXXX";
    if (!mkdtemp(root) || chdir(root) != 0 || mkdir("base", 0700) != 0) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return rmdir("base") == 0 && rmdir(root) == 0 ? failed : 1;
}
