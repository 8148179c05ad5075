/* loop.h: one libuv loop and the turn around it.
 *
 * A turn: poll -> libuv callbacks record news and defer work -> deferred work runs (bounded) ->
 * buried memory is freed. Completions of operations always arrive through loop_defer or a libuv
 * callback, never before the starting call returned. All functions: loop thread only. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"

struct loop {
    uv_loop_t uv; /* for handles: uv_timer_init(&loop->uv, ...) */
    /* private */
    uv_prepare_t prepare;
    uv_idle_t idle;
    uv_check_t check;
    struct list deferred;
    struct list buried;
    bool running;
};

/* A piece of deferred work, embedded in its owner. */
struct defer {
    struct list node;
    void (*run)(struct defer *defer);
};

void loop_init(struct loop *loop);
/* Runs until loop_stop, or until nothing is alive. Re-entry aborts. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* One blocking turn (waits for news) or, with wait false, one that does not block. For commands
 * that read downwards, and tests. */
void loop_turn(struct loop *loop, bool wait);
/* Runs what is pending or closing for at most two seconds and closes; handles still open then are
 * named in the log and abort in debug builds. */
void loop_close(struct loop *loop);

void loop_defer_init(struct defer *defer, void (*run)(struct defer *));
void loop_defer(struct loop *loop, struct defer *defer); /* once per turn however often asked */
void loop_defer_cancel(struct defer *defer);
/* free(memory) at the end of the turn. Deferred work embedded in it is cancelled by the caller
 * before. */
void loop_bury(struct loop *loop, void *memory);

/* A one-shot timer with embedded handle whose owner is freed when both are done with. */
struct timer {
    uv_timer_t handle;
    void (*fire)(struct timer *timer);
    /* private */
    void (*on_closed)(struct timer *timer);
    uint64_t due_ms;
    bool has_waited; /* it was late and let a poll go first */
    bool is_patient;
};
void timer_init(struct loop *loop, struct timer *timer, void (*fire)(struct timer *));
void timer_start(struct timer *timer,
                 int64_t after_us); /* rounds up to a millisecond; restarts when active */
/* For the deadline of what goes over a wire: a long turn of our own is not the other's fault. */
void timer_be_patient(struct timer *timer);
void timer_stop(struct timer *timer);
/* on_closed may be NULL only if the memory outlives the loop. */
void timer_close(struct timer *timer, void (*on_closed)(struct timer *));
