/* proc.h: child processes. One reaper per process: SIGCHLD -> waitpid(-1), because runners and
 * supervisors are child subreapers and adopt orphans.
 *
 * A child gets: its own session, exactly the environment given, exactly the descriptors given
 * (everything else closed), default signal dispositions and an empty mask, PR_SET_PDEATHSIG SIGKILL
 * (unless told otherwise), resource limits. Started by fork+exec; the error of a failed exec comes
 * back through a close-on-exec pipe, so proc_start fails with the reason (no such program, no such
 * directory). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "loop/loop.h"

struct proc; /* opaque */

struct proc_limits {       /* -1: leave as it is */
    int64_t address_space; /* bytes, RLIMIT_AS */
    int64_t cpu_seconds;   /* RLIMIT_CPU */
    int64_t file_size;     /* bytes, RLIMIT_FSIZE */
    int64_t open_files;    /* RLIMIT_NOFILE */
    int64_t processes;     /* RLIMIT_NPROC */
};
#define PROC_NO_LIMITS ((struct proc_limits){ -1, -1, -1, -1, -1 })

struct proc_exit {
    int code;   /* exit status, or -1 when a signal ended it */
    int signal; /* 0, or the signal */
};

struct proc_options {
    const char *const *argv; /* argv[0] is looked up in `path` unless it holds a slash */
    const char *file;        /* or this is started, whatever argv[0] says; NULL: argv[0] */
    const char *const *env;  /* "NAME=value", NULL-terminated; NULL: empty environment */
    const char
        *path; /* search list; NULL: /usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin */
    const char *cwd; /* NULL: the caller's */
    struct proc_limits limits;
    /* Descriptors: fds[i] becomes i in the child; -1: /dev/null. NULL with count 0: 0,1,2 are
     * /dev/null. Borrowed; the caller closes its own. */
    const int *fds;
    size_t fd_count;
    uid_t uid; /* (uid_t)-1: stay. Otherwise setgroups(0), setgid(gid), setuid(uid) */
    gid_t gid;
    int death_signal;  /* when the parent thread dies; 0: SIGKILL; -1: none */
    bool same_session; /* do not setsid */
};
/* Nothing changed, nothing limited: start from this and set argv and what is wanted. */
#define PROC_OPTIONS                                                                               \
    ((struct proc_options){ .limits = PROC_NO_LIMITS, .uid = (uid_t)-1, .gid = (gid_t)-1 })

/* Call once before the first proc_start of a process: installs the SIGCHLD watcher; subreaper: also
 * prctl(PR_SET_CHILD_SUBREAPER). */
void proc_init(struct loop *loop, bool subreaper);
void proc_close(void);
typedef void proc_exit_fn(void *arg, struct proc *proc, struct proc_exit how);
/* on_exit runs once, from the loop, after the child was reaped; the struct proc is freed after it
 * returns. */
MUSTUSE bool proc_start(const struct proc_options *options, proc_exit_fn *on_exit, void *arg,
                        struct proc **out, struct err *err);
pid_t proc_pid(const struct proc *proc);
void proc_signal(struct proc *proc, int signal); /* to the process itself */
/* Whether a callback is still to come: then proc_close would cut it off. */
bool proc_is_awaited(void);
/* Forget the callback (the owner goes first); the child is still reaped. */
void proc_abandon(struct proc *proc);

/* SIGKILL to every process of this host whose environment holds marker (the whole entry,
 * "CTUTOR_RUN=..."; NULL: none), to everything below `root` (0: none) in the process tree, and to
 * root's whole process group and session; repeated until nothing new is found. Never the caller,
 * never pid 1. Returns how many were found. Blocking, a few ms; any thread. The dead may still be
 * on their way out when it returns. Not found: what left root's tree, group and session (its parent
 * ended after setsid) and also cleared its environment. Such a process ends up as a child of the
 * next subreaper above it: proc_kill_descendants_but finds it there. */
size_t proc_kill_tree(pid_t root, const char *marker);
/* SIGKILL to all descendants of the calling process except the live children in `spared` with all
 * that is below them or in their groups and sessions. Any thread. */
size_t proc_kill_descendants_but(const pid_t *spared, size_t count);
size_t proc_live_count(void); /* children that were started here and have not ended */
/* Of the calling process, a controlling one. The kernel sends SIGHUP when it is lost and has taken
 * it away by then; with `kill -HUP` it is still there. */
bool proc_has_terminal(void);
/* Boot-relative start time of a process in clock ticks (field 22 of stat), 0 when there is none:
 * with the pid it names a process for ever. */
uint64_t proc_start_ticks(pid_t pid);
int64_t proc_resident_bytes(pid_t pid); /* 0: unknown */
