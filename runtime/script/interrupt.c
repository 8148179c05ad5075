/* interrupt.c: the watching thread, the signal handler, and who owns LuaJIT's profiler.
 *
 * LuaJIT's compiled code looks at no hook of its own accord. A state whose profiler was started in
 * line mode compiles an exit into every trace that looks at the hook state when SIGPROF has come;
 * its timer is switched off, so it costs nothing until we raise the signal ourselves. There is one
 * profiler per process. A state without it runs without the JIT: interpreted code looks at the hook
 * by itself.
 *
 * Nothing is shared but atomics. The handler decides by itself, from the note and the clock,
 * whether the slice that it finds is past its deadline, so a signal that comes late hits nobody
 * else. The thread sleeps on a futex while no slice has run for a tick; interrupt_enter wakes it
 * only then. */
#include "script/interrupt.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <luajit.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stack.h"

#define TICK_US                                                                                    \
    50000 /* how late a deadline may be seen that was set while the thread slept a tick */
#define REPEAT_US 20000 /* one signal can fall into a gap */

static struct slice_note private_note;
static struct {
    struct slice_note *note;
    pthread_t watcher, lua_thread;
    _Atomic uint32_t is_asleep; /* the futex */
    _Atomic bool is_stopping;
    bool is_started;
} watch = { .note = &private_note };
static lua_State *volatile running; /* on the CPU; written by the Lua thread only */
static lua_State *profiled;         /* main thread of the owner of the profiler, NULL: nobody */
static volatile sig_atomic_t is_profiled_running; /* the running slice belongs to the owner */
static volatile sig_atomic_t was_hooked;          /* the handler put the hook on in this slice */

static void *watch_slices(void *unused);
static void sleep_until_entered(uint64_t seen);
static void wake_watcher(void);
static void sleep_us(int64_t us);
static bool is_past_deadline(void);
static void on_interrupt(int signal_number);
static void on_hook(lua_State *L, lua_Debug *where);
static void on_sample(void *data, lua_State *L, int samples, int state);
static bool is_owner(lua_State *L);

void interrupt_start(struct slice_note *note)
{
    struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART };
    sigset_t all, before;
    stack_raise(); /* before any Lua runs in this process */
    watch.note = note ? note : &private_note;
    watch.lua_thread = pthread_self();
    watch.is_stopping = false;
    sigaction(SIGUSR1, &action, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the signals of the process are the loop's */
    int result = pthread_create(&watch.watcher, NULL, watch_slices, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0) {
        log_error("cannot start the watching thread");
        abort();
    }
    watch.is_started = true;
}

static void *watch_slices(void *unused)
{
    (void)unused;
    uint64_t seen = 0;
    while (!watch.is_stopping) {
        uint64_t sequence = atomic_load(&watch.note->sequence);
        int64_t left = atomic_load(&watch.note->deadline_us) - clock_boot_us();
        if (!(sequence & 1) && sequence == seen) {
            sleep_until_entered(seen);
        } else if (sequence & 1 && left <= 0) {
            pthread_kill(watch.lua_thread, SIGUSR1);
            sleep_us(REPEAT_US);
        } else {
            sleep_us(sequence & 1 && left < TICK_US ? left : TICK_US);
        }
        seen = sequence;
    }
    return NULL;
}

/* is_asleep is set before the last look at the sequence, interrupt_enter changes the sequence
 * before it looks at is_asleep: one of the two sees the other. */
static void sleep_until_entered(uint64_t seen)
{
    atomic_store(&watch.is_asleep, 1);
    if (atomic_load(&watch.note->sequence) == seen && !watch.is_stopping)
        syscall(SYS_futex, &watch.is_asleep, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
    atomic_store(&watch.is_asleep, 0);
}

static void wake_watcher(void)
{
    atomic_store(&watch.is_asleep, 0);
    syscall(SYS_futex, &watch.is_asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void sleep_us(int64_t us)
{
    struct timespec time = { us / 1000000, (us % 1000000) * 1000 };
    nanosleep(&time, NULL);
}

void interrupt_stop(void)
{
    if (!watch.is_started) return;
    watch.is_stopping = true;
    wake_watcher();
    pthread_join(watch.watcher, NULL);
    signal(SIGUSR1, SIG_IGN);
    watch.is_started = false;
}

void interrupt_enter(lua_State *L, const struct ident *claim, int64_t deadline_us)
{
    struct slice_note *note = watch.note;
    uint64_t half[2] = { 0, 0 };
    if (claim) memcpy(half, claim->bytes, sizeof half);
    running = L;
    is_profiled_running = is_owner(L);
    was_hooked = 0;
    atomic_store_explicit(&note->claim_high, half[0], memory_order_relaxed);
    atomic_store_explicit(&note->claim_low, half[1], memory_order_relaxed);
    atomic_store_explicit(&note->deadline_us, deadline_us, memory_order_relaxed);
    atomic_store_explicit(&note->began_us, clock_boot_us(), memory_order_relaxed);
    atomic_fetch_add(&note->sequence, 1);
    if (atomic_load(&watch.is_asleep)) wake_watcher();
}

bool interrupt_leave(lua_State *L)
{
    atomic_fetch_add(&watch.note->sequence, 1); /* from here on the handler does nothing */
    atomic_signal_fence(memory_order_seq_cst);
    running = NULL;
    bool was_interrupted = was_hooked;
    if (was_interrupted) lua_sethook(L, NULL, 0, 0);
    was_hooked = 0;
    return was_interrupted;
}

bool interrupt_has_struck(void) { return was_hooked; }

static bool is_past_deadline(void)
{
    struct slice_note *note = watch.note;
    return (atomic_load(&note->sequence) & 1) && clock_boot_us() >= atomic_load(&note->deadline_us);
}

/* On the Lua thread, between any two instructions of it. lua_sethook is made for this. */
static void on_interrupt(int signal_number)
{
    (void)signal_number;
    int saved = errno;
    if (running && is_past_deadline()) {
        was_hooked = 1;
        lua_sethook(running, on_hook, LUA_MASKCOUNT, 1);
        if (is_profiled_running) raise(SIGPROF);
    }
    errno = saved;
}

/* Stays on: a task that catches the error in pcall meets it again at its next instruction. */
static void on_hook(lua_State *L, lua_Debug *where)
{
    (void)where;
    if (was_hooked) luaL_error(L, "time limit");
}

void interrupt_own(lua_State *L)
{
    static const struct itimerval off;
    if (profiled) interrupt_disown(profiled);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_ON); /* off if it was an owner before */
    luaJIT_profile_start(L, "li1000000000", on_sample, NULL);
    setitimer(ITIMER_PROF, &off, NULL);
    profiled = L;
}

static void on_sample(void *data, lua_State *L, int samples, int state)
{
    (void)data;
    (void)L;
    (void)samples;
    (void)state;
}

lua_State *interrupt_owner(void) { return profiled; }

void interrupt_disown(lua_State *L)
{
    if (!is_owner(L)) return;
    luaJIT_profile_stop(L);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_FLUSH);
    profiled = NULL;
}

/* All threads of one state share one registry table. */
static bool is_owner(lua_State *L)
{
    return profiled &&
           lua_topointer(L, LUA_REGISTRYINDEX) == lua_topointer(profiled, LUA_REGISTRYINDEX);
}
