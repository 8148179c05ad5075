/* proc_fixture.h: what the tests of proc.h share: a loop with a guard around each test, children
 * whose ends are counted, and waiting without sleeping: an end is seen by on_exit, by a pidfd, or
 * by the end of file of a pipe that only the processes in question hold. A test program is its own
 * helper: called as `PROGRAM MODE` it plays the part of a parent that dies and the like. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/proc.h"

#define PATIENCE_MS 30000

static struct loop loop;
static struct timer guard; /* keeps the loop alive, and fails a test that waits in vain */
static char self_path[4096];

struct ending {
    int calls;
    struct proc_exit how;
};

static inline void on_guard(struct timer *timer)
{
    (void)timer;
    fail_msg("nothing happened for %d ms", PATIENCE_MS);
}

static inline int setup(void **state)
{
    (void)state;
    loop_init(&loop);
    timer_init(&loop, &guard, on_guard);
    timer_start(&guard, PATIENCE_MS * 1000);
    proc_init(&loop, true);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    proc_kill_descendants_but(NULL, 0);
    timer_close(&guard, NULL);
    proc_close();
    loop_close(&loop);
    return 0;
}

static inline void on_exit_count(void *arg, struct proc *proc, struct proc_exit how)
{
    struct ending *ending = arg;
    assert_true(proc_pid(proc) > 0);
    ending->calls++;
    ending->how = how;
}

static inline void await(const struct ending *ending)
{
    while (ending->calls == 0) loop_turn(&loop, true);
}

static inline struct proc *start(const struct proc_options *options, struct ending *ending)
{
    struct proc *proc = NULL;
    struct err err = { 0 };
    *ending = (struct ending){ 0 };
    if (!proc_start(options, on_exit_count, ending, &proc, &err)) fail_msg("%s", err.text);
    return proc;
}

static inline void make_pipe(int ends[2]) { assert_int_equal(pipe2(ends, O_CLOEXEC), 0); }

static inline bool is_readable_soon(int fd, int patience_ms)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    int count;
    do count = poll(&ready, 1, patience_ms);
    while (count < 0 && errno == EINTR); /* by SIGCHLD */
    return count == 1;
}

/* Reads until the end of file, with patience. */
static inline char *read_all(int fd)
{
    struct buf text = BUF_EMPTY;
    for (;;) {
        if (!is_readable_soon(fd, PATIENCE_MS)) fail_msg("no end of file");
        ssize_t len = read(fd, buf_reserve(&text, 4096), 4096);
        assert_true(len >= 0);
        if (len == 0) break;
        text.len += (size_t)len;
    }
    close(fd);
    return buf_take(&text);
}

/* Reads one number that ends in a line feed. */
static inline pid_t read_pid(int fd)
{
    char text[32];
    size_t len = 0;
    do {
        if (!is_readable_soon(fd, PATIENCE_MS)) fail_msg("no number came");
        assert_true(len < sizeof text - 1);
        assert_int_equal(read(fd, text + len, 1), 1);
    } while (text[len++] != '\n');
    text[len] = '\0';
    return (pid_t)strtol(text, NULL, 10);
}

static inline struct proc *start_shell(const char *script, const char *entry, int out,
                                       struct ending *ending)
{
    struct proc_options options = PROC_OPTIONS;
    options.argv = (const char *[]){ "sh", "-c", script, NULL };
    options.env = (const char *[]){ entry, NULL };
    options.fds = (int[]){ -1, out, -1 };
    options.fd_count = 3;
    return start(&options, ending);
}

static inline bool is_gone_soon(pid_t pid)
{
    int fd = pidfd_open(pid, 0);
    if (fd < 0) return errno == ESRCH;
    bool gone = is_readable_soon(fd, PATIENCE_MS);
    close(fd);
    return gone;
}

static inline bool is_alive(pid_t pid)
{
    int fd = pidfd_open(pid, 0);
    if (fd < 0) return false;
    bool alive = !is_readable_soon(fd, 0);
    close(fd);
    return alive;
}

/* Where this program lies, to start it as a helper. */
static inline void find_self(void)
{
    ssize_t len = readlink("/proc/self/exe", self_path, sizeof self_path - 1);
    assert_true(len > 0);
    self_path[len] = '\0';
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
