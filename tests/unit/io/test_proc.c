/* test_proc.c: proc.h with real processes. The program is its own helper: `test_proc MODE` plays
 * the part of a parent that dies and the like. Nothing here sleeps: an end is seen by on_exit, by a
 * pidfd, or by the end of file of a pipe that only the processes in question hold. */
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
#include <sys/resource.h>
#include <sys/stat.h>
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

static void on_guard(struct timer *timer)
{
    (void)timer;
    fail_msg("nothing happened for %d ms", PATIENCE_MS);
}

static int setup(void **state)
{
    (void)state;
    loop_init(&loop);
    timer_init(&loop, &guard, on_guard);
    timer_start(&guard, PATIENCE_MS * 1000);
    proc_init(&loop, true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    proc_kill_descendants_but(NULL, 0);
    timer_close(&guard, NULL);
    proc_close();
    loop_close(&loop);
    return 0;
}

static void on_exit_count(void *arg, struct proc *proc, struct proc_exit how)
{
    struct ending *ending = arg;
    assert_true(proc_pid(proc) > 0);
    ending->calls++;
    ending->how = how;
}

static void await(const struct ending *ending)
{
    while (ending->calls == 0) loop_turn(&loop, true);
}

static struct proc *start(const struct proc_options *options, struct ending *ending)
{
    struct proc *proc = NULL;
    struct err err = { 0 };
    *ending = (struct ending){ 0 };
    if (!proc_start(options, on_exit_count, ending, &proc, &err)) fail_msg("%s", err.text);
    return proc;
}

static void make_pipe(int ends[2]) { assert_int_equal(pipe2(ends, O_CLOEXEC), 0); }

static bool is_readable_soon(int fd, int patience_ms)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    int count;
    do count = poll(&ready, 1, patience_ms);
    while (count < 0 && errno == EINTR); /* by SIGCHLD */
    return count == 1;
}

/* Reads until the end of file, with patience. */
static char *read_all(int fd)
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
static pid_t read_pid(int fd)
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

/* Runs to the end; gives what it wrote to its standard output. */
static char *output_of(struct proc_options options, struct ending *ending)
{
    int out[2];
    make_pipe(out);
    options.fds = (int[]){ -1, out[1], STDERR_FILENO };
    options.fd_count = 3;
    start(&options, ending);
    close(out[1]);
    char *text = read_all(out[0]);
    await(ending);
    return text;
}

static struct proc *start_shell(const char *script, const char *entry, int out,
                                struct ending *ending)
{
    struct proc_options options = PROC_OPTIONS;
    options.argv = (const char *[]){ "sh", "-c", script, NULL };
    options.env = (const char *[]){ entry, NULL };
    options.fds = (int[]){ -1, out, -1 };
    options.fd_count = 3;
    return start(&options, ending);
}

static bool is_gone_soon(pid_t pid)
{
    int fd = pidfd_open(pid, 0);
    if (fd < 0) return errno == ESRCH;
    bool gone = is_readable_soon(fd, PATIENCE_MS);
    close(fd);
    return gone;
}

static bool is_alive(pid_t pid)
{
    int fd = pidfd_open(pid, 0);
    if (fd < 0) return false;
    bool alive = !is_readable_soon(fd, 0);
    close(fd);
    return alive;
}

static void make_marker(char out[64])
{
    static int count;
    snprintf(out, 64, "CTUTOR_RUN=test-%d-%d-%lld", (int)getpid(), ++count,
             (long long)clock_boot_us());
}

/* ---- starting ---- */

static void exit_code_and_signal_are_told(void **state)
{
    (void)state;
    struct ending ending;
    struct proc *proc = start_shell("exit 7", NULL, -1, &ending);
    assert_true(proc_start_ticks(proc_pid(proc)) > 0);
    await(&ending);
    assert_int_equal(ending.how.code, 7);
    assert_int_equal(ending.how.signal, 0);

    proc = start_shell("exec sleep 1000", NULL, -1, &ending);
    pid_t pid = proc_pid(proc);
    proc_signal(proc, SIGTERM);
    await(&ending);
    assert_int_equal(ending.how.code, -1);
    assert_int_equal(ending.how.signal, SIGTERM);
    assert_int_equal(proc_start_ticks(pid), 0);
    loop_turn(&loop, false);
    assert_int_equal(ending.calls, 1);
}

static void end_is_told_after_start_returned(void **state)
{
    (void)state;
    struct ending ending;
    struct proc *proc = start_shell("exit 0", NULL, -1, &ending);
    assert_true(is_gone_soon(proc_pid(proc)));
    assert_int_equal(ending.calls, 0);
    await(&ending);
    assert_int_equal(ending.calls, 1);
}

static void abandoned_child_is_reaped_silently(void **state)
{
    (void)state;
    struct ending ending;
    struct proc *proc = start_shell("exit 0", NULL, -1, &ending);
    pid_t pid = proc_pid(proc);
    proc_abandon(proc);
    while (proc_start_ticks(pid) != 0) loop_turn(&loop, true);
    loop_turn(&loop, false);
    assert_int_equal(ending.calls, 0);
}

static void environment_is_exactly_what_was_given(void **state)
{
    (void)state;
    struct proc_options options = PROC_OPTIONS;
    struct ending ending;
    options.argv = (const char *[]){ "env", NULL };
    options.env = (const char *[]){ "B=2", "A=one two", NULL };
    char *text = output_of(options, &ending);
    assert_string_equal(text, "B=2\nA=one two\n");
    free(text);
    options.env = NULL;
    text = output_of(options, &ending);
    assert_string_equal(text, "");
    free(text);
}

static void directory_is_the_one_given(void **state)
{
    (void)state;
    struct proc_options options = PROC_OPTIONS;
    struct ending ending;
    options.argv = (const char *[]){ "sh", "-c", "pwd -P", NULL };
    options.cwd = "/usr";
    char *text = output_of(options, &ending);
    assert_string_equal(text, "/usr\n");
    free(text);
}

static void input_comes_from_the_descriptor_given(void **state)
{
    (void)state;
    int in[2], out[2];
    make_pipe(in);
    make_pipe(out);
    struct proc_options options = PROC_OPTIONS;
    struct ending ending;
    options.argv = (const char *[]){ "cat", NULL };
    options.fds = (int[]){ in[0], out[1], -1 };
    options.fd_count = 3;
    start(&options, &ending);
    close(in[0]);
    close(out[1]);
    assert_int_equal(write(in[1], "hello", 5), 5);
    close(in[1]);
    char *text = read_all(out[0]);
    assert_string_equal(text, "hello");
    free(text);
    await(&ending);
}

/* Two descriptors change places: each one's source bears the number of the other's target. */
static void descriptors_may_change_places(void **state)
{
    (void)state;
    int one[2], two[2], fds[64];
    make_pipe(one);
    make_pipe(two);
    assert_true(one[1] < 64 && two[1] < 64);
    for (int i = 0; i < 64; i++) fds[i] = -1;
    fds[one[1]] = two[1];
    fds[two[1]] = one[1];
    char script[128];
    snprintf(script, sizeof script, "echo one >/proc/self/fd/%d; echo two >/proc/self/fd/%d",
             two[1], one[1]);
    struct proc_options options = PROC_OPTIONS;
    struct ending ending;
    options.argv = (const char *[]){ "sh", "-c", script, NULL };
    options.fds = fds;
    options.fd_count = 64;
    start(&options, &ending);
    close(one[1]);
    close(two[1]);
    char *from_one = read_all(one[0]), *from_two = read_all(two[0]);
    assert_string_equal(from_one, "one\n");
    assert_string_equal(from_two, "two\n");
    free(from_one);
    free(from_two);
    await(&ending);
}

static void no_other_descriptor_is_inherited(void **state)
{
    (void)state;
    int stray = open("/dev/null", O_RDONLY); /* not close-on-exec */
    assert_int_equal(dup2(stray, 177), 177);
    struct proc_options options = PROC_OPTIONS;
    struct ending ending;
    options.argv = (const char *[]){ "ls", "/proc/self/fd", NULL };
    char *text = output_of(options, &ending);
    assert_string_equal(text, "0\n1\n2\n3\n"); /* 3: the directory itself */
    free(text);
    close(stray);
    close(177);
}

static void signals_are_as_in_a_fresh_process(void **state)
{
    (void)state;
    sigset_t some, before;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR1);
    sigprocmask(SIG_BLOCK, &some, &before);
    void (*old)(int) = signal(SIGPIPE, SIG_IGN);
    struct proc_options options = PROC_OPTIONS;
    struct ending ending;
    options.argv =
        (const char *[]){ "grep", "-cE", "Sig(Blk|Ign):.0{16}$", "/proc/self/status", NULL };
    char *text = output_of(options, &ending);
    assert_string_equal(text, "2\n");
    free(text);
    signal(SIGPIPE, old);
    sigset_t now;
    sigprocmask(SIG_SETMASK, &before, &now);
    assert_int_equal(sigismember(&now, SIGUSR1), 1);
    assert_int_equal(sigismember(&now, SIGCHLD), 0);
}

static void session_is_its_own_unless_told(void **state)
{
    (void)state;
    for (int same = 0; same < 2; same++) {
        struct proc_options options = PROC_OPTIONS;
        struct ending ending;
        options.argv = (const char *[]){ "sleep", "1000", NULL };
        options.same_session = same == 1;
        struct proc *proc = start(&options, &ending);
        pid_t pid = proc_pid(proc);
        assert_int_equal(getsid(pid), same == 1 ? getsid(0) : pid);
        proc_signal(proc, SIGKILL);
        await(&ending);
    }
}

static void limits_are_set(void **state)
{
    (void)state;
    struct proc_options options = PROC_OPTIONS;
    struct ending ending;
    options.argv = (const char *[]){ "sh", "-c",
                                     "ulimit -n; ulimit -v; ulimit -t; ulimit -f; "
                                     "ulimit -Hn",
                                     NULL };
    options.limits = (struct proc_limits){ .address_space = 1 << 30,
                                           .cpu_seconds = 9,
                                           .file_size = 1 << 20,
                                           .open_files = 33,
                                           .processes = -1 };
    char *text = output_of(options, &ending);
    assert_string_equal(text, "33\n1048576\n9\n2048\n33\n"); /* KiB, and blocks of 512 */
    free(text);
}

static void limits_never_rise(void **state)
{
    (void)state;
    struct proc_options options = PROC_OPTIONS;
    struct ending ending;
    struct rlimit hard;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &hard), 0);
    options.argv = (const char *[]){ "sh", "-c", "ulimit -n", NULL };
    options.limits.open_files = (int64_t)hard.rlim_max + 1;
    char *text = output_of(options, &ending);
    assert_int_equal(strtoll(text, NULL, 10), (long long)hard.rlim_max);
    free(text);
}

static void user_is_the_one_given(void **state)
{
    (void)state;
    if (geteuid() != 0) skip();
    struct proc_options options = PROC_OPTIONS;
    struct ending ending;
    options.argv = (const char *[]){ "sh", "-c", "id -u; id -g; id -G", NULL };
    options.uid = 65534;
    options.gid = 65533;
    char *text = output_of(options, &ending);
    assert_string_equal(text, "65534\n65533\n65533\n");
    free(text);
}

static void assert_refused(const struct proc_options *options, const char *text)
{
    struct proc *proc = NULL;
    struct err err = { 0 };
    struct ending ending = { 0 };
    assert_false(proc_start(options, on_exit_count, &ending, &proc, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.text, text);
    loop_turn(&loop, false);
    assert_int_equal(ending.calls, 0);
}

static void failed_start_says_why(void **state)
{
    (void)state;
    struct proc_options options = PROC_OPTIONS;
    options.argv = (const char *[]){ "no-such-program", NULL };
    assert_refused(&options, "cannot start no-such-program: no such program in PATH");
    options.argv = (const char *[]){ "true", NULL };
    options.path = "/nowhere:usr/bin";
    assert_refused(&options, "cannot start true: no such program in PATH");
    options.path = NULL;
    options.cwd = "/no/such/dir";
    assert_refused(&options, "cannot change to directory /no/such/dir: No such file or directory");
    options.cwd = NULL;
    options.argv = (const char *[]){ "/etc/passwd", NULL };
    assert_refused(&options, "cannot start /etc/passwd: Permission denied");
    options.argv = (const char *[]){ "true", NULL };
    options.fds = (int[]){ 900 };
    options.fd_count = 1;
    assert_refused(&options, "cannot give true its descriptors: Bad file descriptor");
}

static void all_of_200_children_are_told_once(void **state)
{
    (void)state;
    static struct ending endings[200];
    char script[32];
    for (int i = 0; i < 200; i++) {
        snprintf(script, sizeof script, "exit %d", i);
        start_shell(script, NULL, -1, &endings[i]);
    }
    for (int i = 0; i < 200; i++) await(&endings[i]);
    loop_turn(&loop, false);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(endings[i].calls, 1);
        assert_int_equal(endings[i].how.code, i);
    }
}

static void loop_runs_as_long_as_an_end_is_owed(void **state)
{
    (void)state;
    struct ending ending, unwanted;
    timer_stop(&guard);
    proc_abandon(start_shell("exec sleep 1000", NULL, -1, &unwanted));
    start_shell("exit 3", NULL, -1, &ending);
    loop_run(&loop);
    assert_int_equal(ending.calls, 1);
    assert_int_equal(unwanted.calls, 0);
}

/* ---- parents and orphans ---- */

/* Starts a child, tells its pid, waits for its own end. */
static int helper_parent(void)
{
    loop_init(&loop);
    proc_init(&loop, false);
    struct proc_options options = PROC_OPTIONS;
    struct err err = { 0 };
    struct proc *child = NULL;
    options.argv = (const char *[]){ "sleep", "1000", NULL };
    if (!proc_start(&options, NULL, NULL, &child, &err)) return 1;
    printf("%d\n", (int)proc_pid(child));
    fflush(stdout);
    for (;;) pause();
}

static void children_die_with_their_parent(void **state)
{
    (void)state;
    int out[2];
    make_pipe(out);
    struct proc_options options = PROC_OPTIONS;
    struct ending ending;
    options.argv = (const char *[]){ self_path, "parent", NULL };
    options.fds = (int[]){ -1, out[1], STDERR_FILENO };
    options.fd_count = 3;
    struct proc *parent = start(&options, &ending);
    pid_t child = read_pid(out[0]);
    assert_true(is_alive(child));
    proc_signal(parent, SIGKILL);
    assert_true(is_gone_soon(child));
    await(&ending);
    close(out[0]);
    close(out[1]);
}

static void adopted_orphan_leaves_no_zombie(void **state)
{
    (void)state;
    int in[2], out[2];
    make_pipe(in);
    make_pipe(out);
    struct proc_options options = PROC_OPTIONS;
    struct ending ending;
    options.argv = (const char *[]){ "sh", "-c", "cat <&3 & echo $!", NULL };
    options.fds = (int[]){ -1, out[1], -1, in[0] };
    options.fd_count = 4;
    start(&options, &ending);
    close(in[0]);
    pid_t orphan = read_pid(out[0]);
    await(&ending); /* the parent is gone, the orphan is ours */
    assert_true(is_alive(orphan));
    close(in[1]); /* cat ends */
    while (proc_start_ticks(orphan) != 0) loop_turn(&loop, true);
    assert_int_equal(ending.calls, 1);
    close(out[0]);
    close(out[1]);
}

/* ---- killing trees ---- */

/* Forked twice, in a session of its own, its parents gone: tells its pid and stays. */
#define DAEMON      "(setsid sh -c 'echo $$; exec sleep 1000' &) ; "
#define BARE_DAEMON "(env -i setsid sh -c 'echo $$; exec sleep 1000' &) ; "

static void daemon_is_found_by_its_marker(void **state)
{
    (void)state;
    int out[2];
    char marker[64], prefix[64];
    make_pipe(out);
    make_marker(marker);
    struct ending ending;
    start_shell(DAEMON "exit 0", marker, out[1], &ending);
    pid_t strayed = read_pid(out[0]);
    await(&ending);
    snprintf(prefix, sizeof prefix, "%.*s", (int)strlen(marker) - 1, marker);
    assert_int_equal(proc_kill_tree(0, prefix), 0); /* the whole entry counts */
    assert_int_equal(proc_kill_tree(0, ""), 0);
    assert_int_equal(proc_kill_tree(0, NULL), 0);
    assert_true(is_alive(strayed));
    assert_int_equal(proc_kill_tree(0, marker), 1);
    assert_true(is_gone_soon(strayed));
    assert_int_equal(proc_kill_tree(0, marker), 0);
    close(out[0]);
    close(out[1]);
}

/* `setsid` here is a child of the living root: neither marker nor group nor session tell. */
static void tree_is_found_below_its_root(void **state)
{
    (void)state;
    int out[2];
    make_pipe(out);
    struct ending ending;
    struct proc *root = start_shell("env -i setsid sh -c 'sleep 1000 & echo $$; wait' & wait", NULL,
                                    out[1], &ending);
    close(out[1]);
    pid_t grandchild = read_pid(out[0]);
    assert_int_not_equal(getsid(grandchild), proc_pid(root));
    assert_true(proc_kill_tree(proc_pid(root), NULL) >= 3);
    char *rest = read_all(out[0]); /* nobody holds the pipe any more */
    free(rest);
    await(&ending);
    assert_int_equal(ending.how.signal, SIGKILL);
}

static void group_of_a_dead_root_is_found(void **state)
{
    (void)state;
    int out[2];
    make_pipe(out);
    struct ending ending;
    struct proc *root = start_shell("env -i sleep 1000 & echo $!", NULL, out[1], &ending);
    pid_t root_pid = proc_pid(root), member = read_pid(out[0]);
    await(&ending);
    assert_true(is_alive(member));
    assert_int_equal(proc_kill_tree(root_pid, NULL), 1);
    assert_true(is_gone_soon(member));
    close(out[0]);
    close(out[1]);
}

static void bare_daemon_is_found_as_an_adopted_orphan(void **state)
{
    (void)state;
    int out[2];
    char marker[64];
    make_pipe(out);
    make_marker(marker);
    struct ending ending;
    struct proc *root = start_shell(BARE_DAEMON "exit 0", marker, out[1], &ending);
    pid_t root_pid = proc_pid(root), strayed = read_pid(out[0]);
    await(&ending);
    proc_kill_tree(root_pid, marker);
    assert_true(is_alive(strayed)); /* what this cannot find, see proc.h */
    assert_int_equal(proc_kill_descendants_but(NULL, 0), 1);
    assert_true(is_gone_soon(strayed));
    close(out[0]);
    close(out[1]);
}

static void spared_children_keep_their_descendants(void **state)
{
    (void)state;
    int kept[2], lost[2];
    make_pipe(kept);
    make_pipe(lost);
    struct ending kept_ending, lost_ending;
    /* Two below each: one child, and one orphan whose session still is that of the root. */
    const char *script = "(sleep 1000 & echo $!); sleep 1000 & echo $!; wait";
    struct proc *spared = start_shell(script, NULL, kept[1], &kept_ending);
    start_shell(script, NULL, lost[1], &lost_ending);
    pid_t kept_pids[2], lost_pids[2];
    for (int i = 0; i < 2; i++) kept_pids[i] = read_pid(kept[0]), lost_pids[i] = read_pid(lost[0]);
    assert_int_equal(proc_kill_descendants_but((pid_t[]){ proc_pid(spared) }, 1), 3);
    await(&lost_ending);
    for (int i = 0; i < 2; i++) {
        assert_true(is_gone_soon(lost_pids[i]));
        assert_true(is_alive(kept_pids[i]));
    }
    assert_int_equal(kept_ending.calls, 0);
    assert_int_equal(proc_kill_descendants_but(NULL, 0), 3);
    await(&kept_ending);
    for (int i = 0; i < 2; i++) close(kept[i]), close(lost[i]);
}

static int helper_suicide(const char *marker)
{
    size_t found = proc_kill_tree(0, marker);
    found += proc_kill_tree(getpid(), NULL) + proc_kill_tree(1, NULL);
    return found == 0 ? 42 : 1;
}

static void caller_is_never_killed(void **state)
{
    (void)state;
    char marker[64];
    make_marker(marker);
    struct proc_options options = PROC_OPTIONS;
    struct ending ending;
    options.argv = (const char *[]){ self_path, "suicide", marker, NULL };
    options.env = (const char *[]){ marker, NULL };
    options.fds = (int[]){ -1, -1, STDERR_FILENO };
    options.fd_count = 3;
    start(&options, &ending);
    await(&ending);
    assert_int_equal(ending.how.code, 42);
}

/* Every process forks for ever, some into sessions of their own; the first that may not writes. */
#define BOMB                                                                                       \
    "import os\n"                                                                                  \
    "told = False\n"                                                                               \
    "while True:\n"                                                                                \
    "    try:\n"                                                                                   \
    "        if os.fork() == 0 and os.getpid() % 2: os.setsid()\n"                                 \
    "    except OSError:\n"                                                                        \
    "        if not told: os.write(1, b'x'); told = True\n"

static void fork_bomb_is_killed(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip(); /* the limit counts all processes of a user, so it takes a fresh one */
    for (int by_marker = 0; by_marker < 2; by_marker++) {
        int out[2];
        char marker[64], first;
        make_pipe(out);
        make_marker(marker);
        struct proc_options options = PROC_OPTIONS;
        struct ending ending;
        options.argv = (const char *[]){ "/usr/bin/python3", "-SEBc", BOMB, NULL };
        options.env = (const char *[]){ marker, NULL };
        options.uid = options.gid = 300000 + (uid_t)getpid();
        options.limits.processes = 60;
        options.fds = (int[]){ -1, out[1], STDERR_FILENO };
        options.fd_count = 3;
        struct proc *root = start(&options, &ending);
        close(out[1]);
        assert_true(is_readable_soon(out[0], PATIENCE_MS));
        assert_int_equal(read(out[0], &first, 1), 1);
        size_t found =
            by_marker == 1 ? proc_kill_tree(0, marker) : proc_kill_tree(proc_pid(root), NULL);
        assert_in_range(found, 30, 1000);
        char *rest = read_all(out[0]); /* nobody holds the pipe any more */
        free(rest);
        await(&ending);
        assert_int_equal(ending.how.signal, SIGKILL);
        assert_int_equal(proc_kill_tree(0, marker), 0);
    }
}

int main(int argc, char **argv)
{
    ssize_t len = readlink("/proc/self/exe", self_path, sizeof self_path - 1);
    if (len < 0) return 1;
    if (argc > 1 && strcmp(argv[1], "parent") == 0) return helper_parent();
    if (argc > 2 && strcmp(argv[1], "suicide") == 0) return helper_suicide(argv[2]);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(exit_code_and_signal_are_told),
        TEST(end_is_told_after_start_returned),
        TEST(abandoned_child_is_reaped_silently),
        TEST(environment_is_exactly_what_was_given),
        TEST(directory_is_the_one_given),
        TEST(input_comes_from_the_descriptor_given),
        TEST(descriptors_may_change_places),
        TEST(no_other_descriptor_is_inherited),
        TEST(signals_are_as_in_a_fresh_process),
        TEST(session_is_its_own_unless_told),
        TEST(limits_are_set),
        TEST(limits_never_rise),
        TEST(user_is_the_one_given),
        TEST(failed_start_says_why),
        TEST(all_of_200_children_are_told_once),
        TEST(loop_runs_as_long_as_an_end_is_owed),
        TEST(children_die_with_their_parent),
        TEST(adopted_orphan_leaves_no_zombie),
        TEST(daemon_is_found_by_its_marker),
        TEST(tree_is_found_below_its_root),
        TEST(group_of_a_dead_root_is_found),
        TEST(bare_daemon_is_found_as_an_adopted_orphan),
        TEST(spared_children_keep_their_descendants),
        TEST(caller_is_never_killed),
        TEST(fork_bomb_is_killed),
    };
    return cmocka_run_group_tests_name("proc", tests, NULL, NULL);
}
