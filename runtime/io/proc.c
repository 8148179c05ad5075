/* proc.c: starts child processes and reaps them (see proc.h; killing whole trees is in
 * proc_tree.c).
 *
 * Starting is fork + exec. The parent has other threads, so between the two the child may only call
 * what is async-signal-safe: everything that allocates or searches is done before the fork, and
 * what goes wrong in the child travels back as (step, errno) through a close-on-exec pipe. A
 * successful exec closes that pipe; the parent's blocking read of it is therefore also the proof
 * that the program runs.
 *
 * Reaping is one waitpid(-1) loop per SIGCHLD, because a child subreaper also receives orphans that
 * nobody here started. Invariant: a struct proc is in reaper.procs from proc_start until it is
 * freed, and its pid is only signalled while it is not reaped, so a number used anew is never hit.
 */
#include "io/proc.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stack.h"

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

struct proc {
    struct list node; /* in reaper.procs */
    struct defer defer;
    pid_t pid;
    bool reaped;
    struct proc_exit how;
    proc_exit_fn *on_exit; /* NULL: nobody waits */
    void *arg;
};

/* There is one wait queue per process, so there is one reaper. */
static struct {
    struct loop *loop; /* NULL: not initialised */
    uv_signal_t sigchld;
    struct list procs;
    size_t owed; /* callbacks still to come; they keep the loop alive */
} reaper;

enum step {
    STEP_SESSION,
    STEP_DESCRIPTORS,
    STEP_LIMITS,
    STEP_USER,
    STEP_DEATH_SIGNAL,
    STEP_DIRECTORY,
    STEP_EXEC,
};

struct failure {
    enum step step;
    int error; /* errno */
};

/* Everything the child needs, made before the fork. */
struct launch {
    const struct proc_options *options;
    char *file;       /* owned: the program, resolved */
    int *descriptors; /* owned: sources, later their copies above fd_count */
    size_t fd_count;
    pid_t parent;
    int report; /* the pipe's write end */
};

static void on_sigchld(uv_signal_t *handle, int signal);
static bool find_program(const struct proc_options *options, char **file, struct err *err);
static bool launch_fork(struct launch *launch, pid_t *pid, struct err *err);
static struct proc *proc_new(pid_t pid, proc_exit_fn *on_exit, void *arg);
static void reap_all(void);
static void count_owed(int change);

void proc_init(struct loop *loop, bool subreaper)
{
    assert(reaper.loop == NULL);
    reaper.loop = loop;
    reaper.owed = 0;
    list_init(&reaper.procs);
    if (uv_signal_init(&loop->uv, &reaper.sigchld) != 0 ||
        uv_signal_start(&reaper.sigchld, on_sigchld, SIGCHLD) != 0 ||
        (subreaper && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)) {
        log_error("cannot watch for the end of child processes");
        abort();
    }
    count_owed(0);
    reap_all(); /* zombies from before the watcher have no signal to come */
}

static void on_sigchld(uv_signal_t *handle, int signal)
{
    (void)handle;
    (void)signal;
    reap_all();
}

void proc_close(void)
{
    LIST_EACH (node, &reaper.procs) {
        struct proc *proc = container_of(node, struct proc, node);
        loop_defer_cancel(&proc->defer);
        list_del(&proc->node);
        free(proc);
    }
    uv_close((uv_handle_t *)&reaper.sigchld, NULL);
    reaper.loop = NULL;
}

bool proc_start(const struct proc_options *options, proc_exit_fn *on_exit, void *arg,
                struct proc **out, struct err *err)
{
    assert(reaper.loop != NULL);
    size_t count = options->fd_count > 0 ? options->fd_count : 3;
    struct launch launch = { .options = options, .fd_count = count, .parent = getpid() };
    if (!find_program(options, &launch.file, err)) return false;
    launch.descriptors = xcalloc(count, sizeof *launch.descriptors);
    for (size_t i = 0; i < count; i++) {
        launch.descriptors[i] = options->fd_count > 0 ? options->fds[i] : -1;
    }
    pid_t pid = -1;
    bool ok = launch_fork(&launch, &pid, err);
    free(launch.descriptors);
    free(launch.file);
    if (ok) *out = proc_new(pid, on_exit, arg);
    return ok;
}

pid_t proc_pid(const struct proc *proc) { return proc->pid; }

void proc_signal(struct proc *proc, int signal)
{
    if (!proc->reaped) kill(proc->pid, signal);
}

bool proc_is_awaited(void)
{
    LIST_EACH (node, &reaper.procs) {
        if (container_of(node, struct proc, node)->on_exit != NULL) return true;
    }
    return false;
}

size_t proc_live_count(void)
{
    size_t count = 0;
    LIST_EACH (node, &reaper.procs) count += !container_of(node, struct proc, node)->reaped;
    return count;
}

void proc_abandon(struct proc *proc)
{
    if (proc->on_exit != NULL && !proc->reaped) count_owed(-1);
    proc->on_exit = NULL;
}

bool proc_has_terminal(void)
{
    int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

/* ---- the end of a child ---- */

static void on_reaped(struct defer *defer);

static struct proc *proc_new(pid_t pid, proc_exit_fn *on_exit, void *arg)
{
    struct proc *proc = xcalloc(1, sizeof *proc);
    proc->pid = pid;
    proc->on_exit = on_exit;
    proc->arg = arg;
    loop_defer_init(&proc->defer, on_reaped);
    list_push_back(&reaper.procs, &proc->node);
    if (on_exit != NULL) count_owed(+1);
    return proc;
}

static struct proc *find_unreaped(pid_t pid)
{
    LIST_EACH (node, &reaper.procs) {
        struct proc *proc = container_of(node, struct proc, node);
        if (proc->pid == pid && !proc->reaped) return proc;
    }
    return NULL; /* an orphan that came to us */
}

static void reap_all(void)
{
    int status = 0;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct proc *proc = find_unreaped(pid);
        if (proc == NULL) continue;
        proc->reaped = true;
        proc->how.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        proc->how.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        if (proc->on_exit != NULL) count_owed(-1);
        loop_defer(reaper.loop, &proc->defer);
    }
}

static void on_reaped(struct defer *defer)
{
    struct proc *proc = container_of(defer, struct proc, defer);
    struct loop *loop = reaper.loop; /* the callback may call proc_close */
    list_del(&proc->node);
    if (proc->on_exit != NULL) proc->on_exit(proc->arg, proc, proc->how);
    loop_bury(loop, proc);
}

static void count_owed(int change)
{
    reaper.owed += (size_t)change;
    uv_handle_t *handle = (uv_handle_t *)&reaper.sigchld;
    if (reaper.owed > 0) {
        uv_ref(handle);
    } else {
        uv_unref(handle);
    }
}

/* ---- before the fork ---- */

static bool is_program(const char *file)
{
    struct stat info;
    return stat(file, &info) == 0 && S_ISREG(info.st_mode) && access(file, X_OK) == 0;
}

/* Entries of the search list that are not absolute are passed over: they would mean another place
 * after the change of directory. */
static bool find_program(const struct proc_options *options, char **file, struct err *err)
{
    const char *name = options->file != NULL ? options->file : options->argv[0];
    if (strchr(name, '/') != NULL) {
        *file = xstrdup(name);
        return true;
    }
    const char *at = options->path != NULL ? options->path : DEFAULT_PATH;
    for (size_t len; *at != '\0' && *name != '\0'; at += len + (at[len] == ':')) {
        len = strcspn(at, ":");
        if (*at != '/') continue;
        char *candidate = xasprintf("%.*s/%s", (int)len, at, name);
        if (is_program(candidate)) {
            *file = candidate;
            return true;
        }
        free(candidate);
    }
    return err_set(err, ERR_IO, "cannot start %s: no such program in PATH", name);
}

/* ---- fork, and what came of it ---- */

static _Noreturn void child_run(struct launch *launch);

/* All signals are blocked around the fork: a handler of ours that ran in the child would write into
 * pipes it still shares with this process. */
static pid_t fork_quietly(struct launch *launch)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) child_run(launch);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

static bool report_failure(const struct proc_options *options, struct failure failure,
                           struct err *err)
{
    const char *name = options->argv[0];
    const char *why = strerror(failure.error);
    switch (failure.step) {
    case STEP_SESSION:
        return err_set(err, ERR_IO, "cannot start %s in a session of its own: %s", name, why);
    case STEP_DESCRIPTORS:
        return err_set(err, ERR_IO, "cannot give %s its descriptors: %s", name, why);
    case STEP_LIMITS: return err_set(err, ERR_IO, "cannot limit %s: %s", name, why);
    case STEP_USER:
        return err_set(err, ERR_IO, "cannot start %s as user %u, group %u: %s", name, options->uid,
                       options->gid, why);
    case STEP_DEATH_SIGNAL:
        return err_set(err, ERR_IO, "cannot tie %s to its parent: %s", name, why);
    case STEP_DIRECTORY:
        return err_set(err, ERR_IO, "cannot change to directory %s: %s", options->cwd, why);
    case STEP_EXEC: return err_set(err, ERR_IO, "cannot start %s: %s", name, why);
    }
    return err_set(err, ERR_INTERNAL, "cannot start %s: unknown step", name);
}

static bool launch_fork(struct launch *launch, pid_t *pid, struct err *err)
{
    const struct proc_options *options = launch->options;
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) {
        return err_set(err, ERR_IO, "cannot start %s: %s", options->argv[0], strerror(errno));
    }
    launch->report = report[1];
    *pid = fork_quietly(launch);
    int fork_error = errno;
    close(report[1]);
    struct failure failure;
    ssize_t got = 0;
    while (*pid > 0 && (got = read(report[0], &failure, sizeof failure)) < 0 && errno == EINTR) {
    }
    close(report[0]);
    if (*pid < 0) {
        return err_set(err, ERR_IO, "cannot start %s: %s", options->argv[0], strerror(fork_error));
    }
    if (got == 0) return true;
    while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR) {
    }
    return report_failure(options, failure, err);
}

/* ---- in the child: async-signal-safe calls only ---- */

static _Noreturn void child_fail(const struct launch *launch, enum step step)
{
    struct failure failure = { step, errno };
    ssize_t put = write(launch->report, &failure, sizeof failure);
    _exit(put == sizeof failure ? 127 : 126);
}

static void child_reset_signals(void)
{
    struct sigaction normal = { .sa_handler = SIG_DFL };
    for (int signal = 1; signal < NSIG; signal++) sigaction(signal, &normal, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A source may bear the number of another one's target, so all are first copied above the targets.
 */
static bool child_place_descriptors(struct launch *launch)
{
    int first_free = (int)launch->fd_count;
    int report = fcntl(launch->report, F_DUPFD_CLOEXEC, first_free);
    if (report < 0) return false;
    launch->report = report;
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing < 0) return false;
    for (size_t i = 0; i < launch->fd_count; i++) {
        int source = launch->descriptors[i] >= 0 ? launch->descriptors[i] : nothing;
        launch->descriptors[i] = fcntl(source, F_DUPFD_CLOEXEC, first_free);
        if (launch->descriptors[i] < 0) return false;
    }
    for (size_t i = 0; i < launch->fd_count; i++) {
        if (dup2(launch->descriptors[i], (int)i) < 0) return false;
    }
    return close_range((unsigned)first_free, UINT_MAX, CLOSE_RANGE_CLOEXEC) == 0;
}

/* A limit is a ceiling: one that is lower already stays. `slack` sets the hard limit apart. */
static bool child_limit(int resource, int64_t value, rlim_t slack)
{
    struct rlimit limit;
    if (value < 0) return true;
    if (getrlimit((__rlimit_resource_t)resource, &limit) != 0) return false;
    if (limit.rlim_max > (rlim_t)value + slack) limit.rlim_max = (rlim_t)value + slack;
    limit.rlim_cur = limit.rlim_max < (rlim_t)value ? limit.rlim_max : (rlim_t)value;
    return setrlimit((__rlimit_resource_t)resource, &limit) == 0;
}

static bool child_limit_all(const struct proc_limits *limits)
{
    return child_limit(RLIMIT_FSIZE, limits->file_size, 0) &&
           child_limit(RLIMIT_NOFILE, limits->open_files, 0) &&
           child_limit(RLIMIT_NPROC, limits->processes, 0) &&
           child_limit(RLIMIT_CPU, limits->cpu_seconds, 1) && /* SIGXCPU a second before SIGKILL */
           child_limit(RLIMIT_AS, limits->address_space, 0);
}

static bool child_become_user(const struct proc_options *options)
{
    if (options->uid == (uid_t)-1) return true;
    return setgroups(0, NULL) == 0 && setgid(options->gid) == 0 && setuid(options->uid) == 0;
}

/* Done first of all: whoever kills a tree stops it before, and may die between the two; a child
 * that is not tied by then would stay, stopped for ever. Done again after a change of user, which
 * clears it. A parent that was gone before is seen by getppid. */
static bool child_tie_to_parent(const struct launch *launch)
{
    int signal = launch->options->death_signal;
    if (signal < 0) return true;
    if (prctl(PR_SET_PDEATHSIG, signal == 0 ? SIGKILL : signal, 0, 0, 0) != 0) return false;
    if (getppid() != launch->parent) _exit(127);
    return true;
}

static _Noreturn void child_run(struct launch *launch)
{
    static char *const no_environment[] = { NULL };
    const struct proc_options *options = launch->options;
    if (!child_tie_to_parent(launch)) child_fail(launch, STEP_DEATH_SIGNAL);
    child_reset_signals();
    if (!options->same_session && setsid() < 0) child_fail(launch, STEP_SESSION);
    if (!child_place_descriptors(launch)) child_fail(launch, STEP_DESCRIPTORS);
    stack_restore();
    if (!child_limit_all(&options->limits)) child_fail(launch, STEP_LIMITS);
    if (!child_become_user(options)) child_fail(launch, STEP_USER);
    if (options->uid != (uid_t)-1 && !child_tie_to_parent(launch)) {
        child_fail(launch, STEP_DEATH_SIGNAL);
    }
    if (options->cwd != NULL && chdir(options->cwd) != 0) child_fail(launch, STEP_DIRECTORY);
    execve(launch->file, (char *const *)options->argv,
           options->env != NULL ? (char *const *)options->env : no_environment);
    child_fail(launch, STEP_EXEC);
}
