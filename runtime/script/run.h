/* run.h: one coroutine of one start (execute) or of one hook: the only caller of lua_resume.
 *
 * READY -> RUNNING -> PARKED (a wait is pending) -> READY ... -> ENDED. At most one pending wait
 * per run. A wake-up only queues the run on the ready list; the list is worked off once per loop
 * turn, bounded. Whatever a run acquired is registered with run_defer and undone in reverse at its
 * end. Deadlines: parked past it -> ended as END_TIMEOUT by a timer; computing past it ->
 * interrupt.h. A deadline that passed while another run held the loop is extended by that slice.
 * Loop thread only. */
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ident.h"
#include "script/generation.h"
#include "task/outcome.h"

struct run; /* opaque */

enum run_kind { RUN_EXECUTE, RUN_ON_SUCCESS, RUN_ON_RETRY, RUN_ON_FAILURE };

struct run_spec { /* borrowed for run_start only */
    enum run_kind kind;
    const char *name; /* of the task; must be carried */
    struct ident id, claim;
    const char *queue, *worker;
    int32_t priority, attempt, failures, max_attempts;
    int64_t created_at_us; /* wall */
    int64_t timeout_us;    /* of this run; -1: none */
    const char *params;    /* JSON text */
    size_t params_len;
    bool check_params; /* the schema changed since submission: check again, END_REJECTED if it does
                          not fit */
    const char *argument; /* hooks: JSON of result or error */
    size_t argument_len;
};

struct run_ended {
    enum run_end end;
    const char *result; /* JSON, END_RETURNED; borrowed for the callback */
    size_t result_len;
    const char *error; /* JSON object {kind, message, traceback, details}; else NULL */
    size_t error_len;
    int64_t delay_us;     /* END_RETRY_IN, END_SNOOZED */
    double percent;       /* last progress, -1: none */
    const char *metadata; /* last metadata JSON or NULL */
    double seconds;       /* it ran */
};

struct run_events { /* called on the loop thread; the owner may start or end other runs from within,
                       not this one */
    void *arg;
    void (*ended)(void *arg, struct run *run,
                  const struct run_ended *
                      ended); /* exactly once, never before run_start returned; run dies after it */
    void (*progress)(void *arg, struct run *run, double percent, const char *metadata_json);
    void (*log)(void *arg, struct run *run, const char *level, const char *text, size_t len);
};

/* Always gives a run; failures (bad JSON, unknown name) arrive through ended. Runs first at the end
 * of this turn. */
struct run *run_start(struct generation *generation, const struct run_spec *spec,
                      const struct run_events *events);
void run_cancel(struct run *run); /* raise `cancelled` at the pending or next wait; after 5 s it is
                                     ended as END_CANCELLED */
void run_end(struct run *run, enum run_end how); /* end it now (parked or ready): END_RELEASED,
                                                    END_TIMEOUT; ended() follows */
const struct ident *run_id(const struct run *run);
const struct ident *run_claim(const struct run *run);
const char *run_task_name(const struct run *run);
void *run_owner(const struct run *run); /* free for the owner of the run */
void run_set_owner(struct run *run, void *owner);

/* ---- for bindings ---- */
/* The run that called into C, also from inside coroutines that the task created. NULL while a file
 * loads: the binding raises then. */
struct run *run_current(lua_State *L);
const struct script_host *run_host(const struct run *run);
/* Registered clean-ups run once, in reverse, at the end of the run, before ended(). Returns a
 * handle for run_undefer. */
struct run_cleanup;
struct run_cleanup *run_defer(struct run *run, void (*undo)(void *arg), void *arg);
void run_undefer(struct run *run, struct run_cleanup *cleanup); /* forget without running it */
/* For an operation that may outlive its wait (a pool thread, processes that are being killed):
 * while it holds the run, the run's directory stays and ended() does not come, for RUN_HOLD_US at
 * most. The struct lives until the last hold is let go. */
#define RUN_HOLD_US 5000000
void run_hold(struct run *run);
void run_let_go(struct run *run); /* from the loop */
/* Absolute boot time of its deadline, INT64_MAX without. */
int64_t run_deadline_us(const struct run *run);
/* This run's own temporary directory, made at first use, removed (off the loop) after the run ended
 * and before ended() is called, if that takes no longer than RUN_HOLD_US. NULL + err on failure. */
const char *run_tempdir(struct run *run, struct err *err);
bool run_has_removals(void); /* a thread is at it: exit() would wait for it, _exit() does not */
/* Environment entry that marks every subprocess of this start: "CTUTOR_RUN=<claim>"; borrowed. */
const char *run_marker(struct run *run);

/* One wait. Embedded in the binding's own operation, which lives until it is woken or abandoned. */
struct run_wait {
    struct run *run;                        /* set by run_wait */
    void (*abandon)(struct run_wait *wait); /* the run is ended or cancelled while this is pending:
                                               stop the operation and release it; must not wake */
    bool pending;                           /* private */
};
/* The last statement of a binding: `return run_wait(L, &op->wait);` Raises (naming the function)
 * where yielding is not possible. Lua sees it through the wrapper that run_wrap put around the C
 * function, which turns a raised wake-up into an error. */
int run_wait(lua_State *L, struct run_wait *wait);
/* Ends the wait and makes the run ready. push puts the return values on L (count returned); it runs
 * later, protected, in this turn; then `release(wait)`. */
void run_wake(struct run_wait *wait, int (*push)(lua_State *L, struct run_wait *wait),
              void (*release)(struct run_wait *wait));
/* Replaces the function on top of the stack, which may end in run_wait, by its wrapper. Every
 * waiting function of a module goes through this. */
void run_wrap(lua_State *L);
/* Parks for a duration: what ctx.sleep and ctutor.time.sleep are. */
int run_sleep(lua_State *L, int64_t us);
/* A duration argument: a number of seconds or a text with unit; raises an argument error otherwise.
 */
int64_t run_check_duration(lua_State *L, int index);
