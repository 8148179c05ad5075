/* guard.c: see guard.h. Waits on the supervisor's pidfd; the one-second timeout is for its tick. */
#include "worker/guard.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/proc.h"
#include "worker/runner.h"

#define LOOK_MS 1000

struct guard {
    struct shared *shared;
    int supervisor_fd;
    int64_t lease_us, silence_us;
};

static void *watch(void *arg);

void guard_start(struct shared *shared, pid_t supervisor, int64_t lease_us)
{
    struct guard *guard = xcalloc(1, sizeof *guard);
    pthread_t thread;
    sigset_t all, before;
    guard->shared = shared;
    guard->lease_us = lease_us;
    guard->silence_us = lease_us * 2 / 3;
    guard->supervisor_fd = (int)syscall(SYS_pidfd_open, supervisor, 0);
    if (guard->supervisor_fd < 0 || getppid() != supervisor) guard_fence("the supervisor is gone");
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, watch, guard) != 0) abort();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_detach(thread);
}

static void *watch(void *arg)
{
    struct guard *guard = arg;
    struct pollfd look = { .fd = guard->supervisor_fd, .events = POLLIN };
    for (int64_t before_us = clock_boot_us(), now_us;; before_us = now_us) {
        if (poll(&look, 1, LOOK_MS) > 0) guard_fence("the supervisor is gone");
        now_us = clock_boot_us();
        if (now_us - before_us > guard->lease_us) guard_fence("I stood still for the lease");
        int64_t silent_us = now_us - atomic_load(&guard->shared->supervisor_tick_us);
        if (silent_us > guard->silence_us) {
            guard_fence("the supervisor has not ticked for two thirds of the lease");
        }
    }
}

_Noreturn void guard_fence(const char *why)
{
    log_error("fencing myself: %s; my tasks are somebody else's from now on", why);
    (void)fault_here("fence");
    proc_kill_descendants_but(NULL, 0);
    _exit(RUNNER_FENCED);
}
