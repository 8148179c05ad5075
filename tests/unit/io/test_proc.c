/* test_proc.c: starting and reaping real processes (proc.c). */
#include "unit/io/proc_fixture.h"

#include <grp.h>
#include <sys/resource.h>

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
    gid_t before[64], extra = 4;
    int count = getgroups(64, before);
    assert_true(count >= 0);
    assert_int_equal(setgroups(1, &extra), 0);
    options.argv = (const char *[]){ "sh", "-c", "id -u; id -g; id -G", NULL };
    options.uid = 65534;
    options.gid = 65533;
    char *text = output_of(options, &ending);
    assert_int_equal(setgroups((size_t)count, before), 0);
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
    int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(chdir("/"), 0);
    assert_refused(&options, "cannot start true: no such program in PATH");
    assert_int_equal(fchdir(here), 0);
    close(here);
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

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "parent") == 0) return helper_parent();
    find_self();
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
    };
    return cmocka_run_group_tests_name("proc", tests, NULL, NULL);
}
