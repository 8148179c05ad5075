/* run_state.h: what the run_*.c, ctx.c and generation.c share; nobody else. Loop thread only.
 *
 *   run_start -> READY -- run_resume --> RUNNING -- run_wait --> PARKED
 *                  ^                        |                       |
 *                  `------------- run_wake, run_cancel -------------'
 *   READY, RUNNING, PARKED -- run_conclude --> ENDING -- ended() --> gone */
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "script/definition.h"
#include "script/run.h"
#include "script/vm.h"

struct generation {
    const struct script_host *host;
    struct vm *vm;
    struct task_definition *definitions;
    size_t definition_count;
    struct map *by_name;
    struct list ready; /* runs, in the order in which they became ready */
    struct list round; /* those of them that this turn works off */
    struct defer turn;
    size_t alive, refs;
    bool is_retired;
};
void generation_release(struct generation *generation); /* a run is gone */
struct task_definition *generation_definition(const struct generation *generation,
                                              const char *name);

enum run_state { RUN_READY, RUN_RUNNING, RUN_PARKED, RUN_ENDING };

struct run {
    struct list all;   /* of this process */
    struct list ready; /* in generation->ready while READY */
    struct generation *generation;
    struct task_definition *definition; /* NULL: not carried */
    enum run_state state;
    enum run_kind kind;
    struct run_events events;
    void *owner;

    /* what it was started with; owned */
    struct ident id, claim;
    char *name, *queue, *worker;
    int32_t priority, attempt, failures, max_attempts;
    int64_t created_at_us;
    struct buf params, argument; /* emptied when the coroutine has them */
    bool check_params;
    char *tempdir;           /* NULL: none was made */
    struct removal *removal; /* of it, while the run waits for that */
    char marker[sizeof "CTUTOR_RUN=" + IDENT_TEXT_SIZE];

    /* the coroutine */
    lua_State *L; /* NULL before the first slice */
    int ref;      /* in the registry, keeps it alive */

    /* time, boot clock; INT64_MAX: none */
    int64_t began_us, timeout_us, deadline_us, cancel_until_us;
    bool is_cancelled;
    struct timer timer; /* at the nearer of deadline_us and cancel_until_us */
    int open_timers;

    /* the wait, or its end that the coroutine has not seen yet */
    struct run_wait *wait;
    int (*push)(lua_State *L, struct run_wait *wait); /* not NULL: woken by this */
    void (*release)(struct run_wait *wait);
    struct run_wait *woken;
    bool is_raising; /* the pending wait was cancelled */
    struct run_wait sleep;
    struct timer sleep_timer;

    struct list cleanups;
    unsigned holds; /* by operations under way, and by run_conclude itself */
    bool is_undone; /* nothing is waited for any more */

    /* how it ends; settled once */
    bool is_decided;
    enum run_end end;
    struct buf result, message, traceback, details, error;
    int64_t delay_us, ended_us;
    double percent;
    char *metadata;
    unsigned told;    /* times that progress was told in this slice */
    bool is_untold;   /* there is newer progress, to be told when the slice is over */
    int64_t log_room; /* bytes that the log takes from it at log_room_us */
    int64_t log_room_us;
    uint64_t log_dropped; /* lines since the last one that was taken */
    struct defer conclude;
};

/* ---- run.c ---- */
void run_turn(struct defer *defer); /* of generation->turn */
void run_make_ready(struct run *run);
int64_t run_limit_us(const struct run *run); /* when it must be off the CPU */
void run_arm_timer(struct run *run);

/* ---- run_tell.c: what it says while it runs ---- */
void run_log(struct run *run, const char *level, const char *text, size_t len); /* cleans, cuts */
void run_log_end(struct run *run); /* says how much was left out */
void run_progress(struct run *run, double percent);
void run_progress_flush(struct run *run); /* the slice is over */

/* ---- run_wait.c ---- */
void run_abandon(struct run *run); /* whatever wait is pending, or woken and not delivered */
void run_clean_up(struct run *run);
int run_refuse(lua_State *L); /* a coroutine of the task waits where its resumer cannot: gives up
                                 the wait, + why */
void run_on_sleep_over(struct timer *timer);

/* ---- run_begin.c: makes the coroutine and its arguments ---- */
bool run_begin(struct run *run, int *argument_count); /* false: decided */

/* ---- run_end.c ---- */
void run_decide(struct run *run, enum run_end end); /* the first one counts */
void run_decide_message(struct run *run, enum run_end end,
                        const char *text); /* with a message of ours */
void run_decide_value(lua_State *L, struct run *run, enum run_end end, int message,
                      int details);                  /* stack indexes, 0: none; protected */
void run_decide_limit(struct run *run);              /* its time ran out */
void run_decide_returned(struct run *run);           /* L holds what it returned */
void run_decide_raised(struct run *run, int status); /* L holds the error */
void run_conclude(struct run *run);                  /* decided: undo everything, tell the owner */
void run_hold_is_over(struct run *run);              /* ENDING: no longer waits for what holds it */

/* ---- ctx.c ---- */
void ctx_open(lua_State *L);                  /* once per state, protected */
void ctx_push(lua_State *L, struct run *run); /* + ctx table; params must be on top (popped) */

/* ---- run_tempdir.c ---- */
/* Removes run->tempdir on a thread, then calls done on the loop. */
void run_tempdir_remove(struct run *run, void (*done)(struct run *run));
void run_tempdir_leave(struct run *run); /* waits no longer: done, now */
