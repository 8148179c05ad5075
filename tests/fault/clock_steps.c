/* clock_steps.c: preloaded into a program, it lets a test move the wall clock of one process while
 * that runs. The boot and the monotonic clock are left alone, as the kernel leaves them alone.
 *
 * CLOCK_STEPS names a file of 64-bit microseconds: those at 0 are added for whoever reads that
 * file, those at N for the process N besides. Runners and the checker get a clean environment from
 * their supervisor; execve hands the variables on to them, and to nobody whom a task starts. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PIDS_MOST (1 << 22)
#define ENV_MOST  64

static const volatile int64_t *steps_us;
static char preload[512], steps[512];

__attribute__((constructor)) static void open_steps(void)
{
    const char *path = getenv("CLOCK_STEPS"), *self = getenv("LD_PRELOAD");
    if (!path || !self || strlen(path) > 400 || strlen(self) > 400) abort();
    strcat(strcpy(preload, "LD_PRELOAD="), self);
    strcat(strcpy(steps, "CLOCK_STEPS="), path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *at = mmap(NULL, PIDS_MOST * sizeof *steps_us, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) abort();
    close(fd);
    steps_us = at;
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    int status = (int)syscall(SYS_clock_gettime, which, now);
    if (status || !steps_us || (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE)) {
        return status;
    }
    int64_t ns = (steps_us[0] + steps_us[getpid()]) * 1000 + now->tv_nsec;
    int64_t rest = (ns % 1000000000 + 1000000000) % 1000000000;
    now->tv_sec += (ns - rest) / 1000000000;
    now->tv_nsec = rest;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    (void)zone;
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    *now = (struct timeval){ .tv_sec = precise.tv_sec, .tv_usec = precise.tv_nsec / 1000 };
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

/* Called between fork and exec: nothing is allocated. */
int execve(const char *path, char *const argv[], char *const env[])
{
    char *more[ENV_MOST + 4];
    size_t count = 0;
    if (strcmp(argv[0], "ctutor-run") != 0) return (int)syscall(SYS_execve, path, argv, env);
    for (; env[count] && count < ENV_MOST; count++) more[count] = env[count];
    more[count++] = preload;
    more[count++] = steps;
    more[count++] = "ASAN_OPTIONS=verify_asan_link_order=0"; /* the first of a name counts */
    more[count] = NULL;
    return (int)syscall(SYS_execve, path, argv, more);
}
