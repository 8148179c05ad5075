/* doctor_machine.c: the checks of this machine: task files, temporary files, the sandbox. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "cli/local.h"
#include "cli/member.h"
#include "io/proc.h"

#define SANDBOX_WAIT_US INT64_C(10000000)
#define FREE_LEAST      (INT64_C(256) << 20)
#define SANDBOXED_FILE  "student_testing.lua"

struct sandbox {
    bool is_over;
    struct proc_exit how;
    char said[200];
};

static size_t tell_files(struct doctor *doctor, const struct local_tasks *tasks);
static void tell_temporary(struct doctor *doctor);
static void tell_sandbox(struct doctor *doctor);
static bool try_sandbox(struct app *app, struct sandbox *sandbox, struct err *err);
static void on_sandbox_exit(void *arg, struct proc *proc, struct proc_exit how);
static bool is_sandbox_over(const struct app *app);

void doctor_machine(struct doctor *doctor)
{
    struct err err;
    struct local_tasks tasks;
    size_t sandboxed = 0;
    const char *directory = config_text(doctor->app->config, SET_TASKS_DIR);
    if (local_open(doctor->app, directory, &tasks, &err)) {
        sandboxed = tell_files(doctor, &tasks);
        local_close(&tasks);
    } else {
        doctor_tell(doctor, "task files", FINDING_FAIL,
                    "CTUTOR_TASKS_DIR says where they are; group and others must not write there",
                    "%s", err.text);
    }
    tell_temporary(doctor);
    if (sandboxed) tell_sandbox(doctor);
}

/* How many of them need the sandbox. */
static size_t tell_files(struct doctor *doctor, const struct local_tasks *tasks)
{
    const char *directory = config_text(doctor->app->config, SET_TASKS_DIR);
    size_t index, count = 0, sandboxed = 0;
    json_t *files = json_loadb(tasks->outcome.report.data, tasks->outcome.report.len, 0, NULL);
    json_t *file;
    json_array_foreach(files, index, file)
    {
        const char *error = member_text(file, "error");
        count++;
        sandboxed += strcmp(member_text(file, "file"), SANDBOXED_FILE) == 0;
        if (*error)
            doctor_tell(doctor, "task files", FINDING_WARN, "ctutor-run tasks check shows more",
                        "%s does not load: %s", member_text(file, "file"), error);
    }
    if (!tasks->outcome.errors)
        doctor_tell(doctor, "task files", count ? FINDING_OK : FINDING_WARN,
                    count ? NULL : "put a task file there: NAME.lua", "%zu in %s, all load", count,
                    directory);
    json_decref(files);
    return sandboxed;
}

static void tell_temporary(struct doctor *doctor)
{
    struct statvfs space;
    const char *directory = getenv("TMPDIR");
    if (!directory || !*directory) directory = "/tmp";
    if (access(directory, W_OK | X_OK) != 0 || statvfs(directory, &space) != 0) {
        doctor_tell(doctor, "temporary files", FINDING_FAIL, "TMPDIR must name a folder of ours",
                    "%s: %s", directory, strerror(errno));
        return;
    }
    int64_t left = (int64_t)space.f_bavail * (int64_t)space.f_frsize;
    doctor_tell(doctor, "temporary files", left < FREE_LEAST ? FINDING_WARN : FINDING_OK,
                left < FREE_LEAST ? "make room: each run may keep files there" : NULL,
                "%s, %" PRId64 "M free", directory, left >> 20);
}

/* ---- the sandbox of student_testing ---- */

static void tell_sandbox(struct doctor *doctor)
{
    struct err err;
    struct sandbox sandbox = { .is_over = false };
    const char *remedy = "install bubblewrap, and allow user namespaces to this user "
                         "(kernel.unprivileged_userns_clone, AppArmor, the container's seccomp)";
    if (!try_sandbox(doctor->app, &sandbox, &err))
        doctor_tell(doctor, "sandbox", FINDING_WARN, remedy, "student_testing needs it: %s",
                    err.text);
    else if (sandbox.how.code != 0)
        doctor_tell(doctor, "sandbox", FINDING_WARN, remedy, "student_testing needs it: %s",
                    sandbox.said[0] ? sandbox.said : "bubblewrap fails and says nothing");
    else
        doctor_tell(doctor, "sandbox", FINDING_OK, NULL, "bubblewrap works");
}

static bool try_sandbox(struct app *app, struct sandbox *sandbox, struct err *err)
{
    const char *argv[] = { "bwrap",
                           "--unshare-user",
                           "--disable-userns",
                           "--unshare-pid",
                           "--unshare-net",
                           "--unshare-ipc",
                           "--unshare-uts",
                           "--ro-bind",
                           "/",
                           "/",
                           "--proc",
                           "/proc",
                           "--",
                           "true",
                           NULL };
    /* Root keeps its user namespace: there the uid is dropped inside. */
    const char **for_root = argv + 2;
    if (geteuid() == 0) for_root[0] = argv[0];
    int ends[2];
    struct proc *proc;
    if (pipe2(ends, O_CLOEXEC) != 0) return err_set(err, ERR_IO, "pipe: %s", strerror(errno));
    struct proc_options options = PROC_OPTIONS;
    options.argv = geteuid() == 0 ? for_root : argv;
    options.fds = (const int[]){ -1, -1, ends[1] };
    options.fd_count = 3;
    proc_init(&app->loop, false);
    bool good = proc_start(&options, on_sandbox_exit, sandbox, &proc, err);
    close(ends[1]);
    app->news.arg = sandbox;
    if (good && !app_wait_until(app, is_sandbox_over, SANDBOX_WAIT_US)) {
        proc_signal(proc, SIGKILL);
        while (!sandbox->is_over) loop_turn(&app->loop, true);
        good = err_set(err, ERR_DEADLINE, "bubblewrap does not end");
    }
    proc_close();
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    ssize_t len = good ? read(ends[0], sandbox->said, sizeof sandbox->said - 1) : 0;
    if (len > 0) sandbox->said[strcspn(sandbox->said, "\n")] = '\0';
    close(ends[0]);
    return good;
}

static void on_sandbox_exit(void *arg, struct proc *proc, struct proc_exit how)
{
    struct sandbox *sandbox = arg;
    (void)proc;
    sandbox->is_over = true;
    sandbox->how = how;
}

static bool is_sandbox_over(const struct app *app)
{
    const struct sandbox *sandbox = app->news.arg;
    return sandbox->is_over;
}
