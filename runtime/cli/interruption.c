/* interruption.c: see interruption.h. The signals are blocked in all threads and taken by sigwait
 * in one, so no handler runs anywhere. */
#include "cli/interruption.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "io/proc.h"
#include "io/tree.h"

#define PATIENCE_SECONDS 7 /* a cancelled task gets 5 to clean up */

static struct {
    pthread_t thread;
    uv_async_t async;
    const char *directory;
    void (*on_first)(void *arg);
    void *arg;
    sigset_t signals;
    _Atomic bool is_over;
    bool came; /* the thread's, until it is joined */
} watch;

static void *wait_for_signals(void *unused);
static _Noreturn void end_by_force(void);
static void on_async(uv_async_t *async);

void interruption_start(struct loop *loop, const char *directory, void (*on_first)(void *arg),
                        void *arg)
{
    watch.directory = directory;
    watch.on_first = on_first;
    watch.arg = arg;
    sigemptyset(&watch.signals);
    sigaddset(&watch.signals, SIGINT);
    sigaddset(&watch.signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &watch.signals, NULL);
    uv_async_init(&loop->uv, &watch.async, on_async);
    uv_unref((uv_handle_t *)&watch.async);
    pthread_create(&watch.thread, NULL, wait_for_signals, NULL);
}

static void *wait_for_signals(void *unused)
{
    int number;
    sigset_t all;
    (void)unused;
    sigfillset(&all); /* a handler that ran here, as for SIGCHLD, would end the patience early */
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    sigwait(&watch.signals, &number);
    if (atomic_load(&watch.is_over)) return NULL;
    watch.came = true;
    uv_async_send(&watch.async);
    sigtimedwait(&watch.signals, NULL, &(struct timespec){ .tv_sec = PATIENCE_SECONDS });
    if (!atomic_load(&watch.is_over)) end_by_force();
    return NULL;
}

static void on_async(uv_async_t *async)
{
    (void)async;
    watch.on_first(watch.arg);
}

static _Noreturn void end_by_force(void)
{
    proc_kill_descendants_but(NULL, 0);
    bool removed = tree_remove_all(watch.directory, NULL);
    dprintf(STDERR_FILENO, "\nctutor-run: interrupted%s%s\n", removed ? "" : "; could not remove ",
            removed ? "" : watch.directory);
    _exit(130);
}

bool interruption_stop(void)
{
    atomic_store(&watch.is_over, true);
    pthread_kill(watch.thread, SIGTERM); /* blocked here: it only wakes the wait */
    pthread_join(watch.thread, NULL);
    uv_close((uv_handle_t *)&watch.async, NULL);
    return watch.came;
}
