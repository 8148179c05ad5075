/* test_proc_tree.c: finding and killing families of real processes (proc_tree.c). */
#include "unit/io/proc_fixture.h"

static void make_marker(char out[64])
{
    static int count;
    snprintf(out, 64, "CTUTOR_RUN=test-%d-%d-%lld", (int)getpid(), ++count,
             (long long)clock_boot_us());
}

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

/* With `set -m` the member has a group of its own, so only the session is left to tell. */
static void group_and_session_of_a_dead_root_are_found(void **state)
{
    (void)state;
    const char *scripts[] = { "env -i sleep 1000 & echo $!",
                              "exec bash -c 'set -m; env -i sleep 1000 & echo $!'" };
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        int out[2];
        make_pipe(out);
        struct ending ending;
        struct proc *root = start_shell(scripts[i], NULL, out[1], &ending);
        pid_t root_pid = proc_pid(root), member = read_pid(out[0]);
        await(&ending);
        assert_true(is_alive(member));
        assert_int_equal(getpgid(member) == root_pid, i == 0);
        assert_int_equal(proc_kill_tree(root_pid, NULL), 1);
        assert_true(is_gone_soon(member));
        close(out[0]);
        close(out[1]);
    }
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

/* Neither the caller nor pid 1 is a root, so the child outlives the first two calls. */
static int helper_suicide(const char *marker)
{
    pid_t child = fork();
    if (child == 0) {
        for (;;) pause();
    }
    size_t found = proc_kill_tree(getpid(), NULL) + proc_kill_tree(1, NULL);
    return found == 0 && proc_kill_tree(0, marker) == 1 && is_gone_soon(child) ? 42 : 1;
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
    if (argc > 2 && strcmp(argv[1], "suicide") == 0) return helper_suicide(argv[2]);
    find_self();
    const struct CMUnitTest tests[] = {
        TEST(daemon_is_found_by_its_marker),
        TEST(tree_is_found_below_its_root),
        TEST(group_and_session_of_a_dead_root_are_found),
        TEST(bare_daemon_is_found_as_an_adopted_orphan),
        TEST(spared_children_keep_their_descendants),
        TEST(caller_is_never_killed),
        TEST(fork_bomb_is_killed),
    };
    return cmocka_run_group_tests_name("proc_tree", tests, NULL, NULL);
}
