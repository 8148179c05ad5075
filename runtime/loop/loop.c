/* loop.c: the turn.
 *
 * Deferred work runs in rounds: one from the prepare handle (before the poll) and one from the
 * check handle (after it). A round takes what is there when it starts; work deferred meanwhile
 * waits for the next round, so a turn is bounded. While work is pending the idle handle is active:
 * it keeps the poll from blocking and counts as alive. Prepare and check are always active and do
 * not count. Buried memory is freed behind the check round, and when a run has ended. */
#include "loop/loop.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

#define CLOSE_WAIT_MS 2000

struct grave {
    struct list node;
    void *memory; /* owned */
};

static void on_prepare(uv_prepare_t *handle);
static void on_check(uv_check_t *handle);
static void on_idle(uv_idle_t *handle);
static void run_round(struct loop *loop);
static void free_buried(struct loop *loop);
static void run_guarded(struct loop *loop, uv_run_mode mode);
static void run_until_quiet(struct loop *loop);
static void close_own_handles(struct loop *loop);

void loop_init(struct loop *loop)
{
    int result = uv_loop_init(&loop->uv);
    if (result != 0) {
        log_error("cannot make an event loop: %s", uv_strerror(result));
        abort();
    }
    list_init(&loop->deferred);
    list_init(&loop->buried);
    loop->running = false;
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_idle_init(&loop->uv, &loop->idle);
    uv_check_init(&loop->uv, &loop->check);
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
}

static void on_prepare(uv_prepare_t *handle)
{
    run_round(container_of(handle, struct loop, prepare));
}

static void on_check(uv_check_t *handle)
{
    struct loop *loop = container_of(handle, struct loop, check);
    run_round(loop);
    free_buried(loop);
}

void loop_run(struct loop *loop) { run_guarded(loop, UV_RUN_DEFAULT); }

void loop_stop(struct loop *loop) { uv_stop(&loop->uv); }

void loop_turn(struct loop *loop, bool wait)
{
    run_guarded(loop, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
}

void loop_close(struct loop *loop)
{
    run_until_quiet(loop);
    close_own_handles(loop);
    if (uv_loop_close(&loop->uv) == 0) return;
    log_error("an event loop was closed with handles or requests still open");
#ifndef NDEBUG
    abort();
#endif
}

void loop_defer_init(struct defer *defer, void (*run)(struct defer *))
{
    list_init(&defer->node);
    defer->run = run;
}

void loop_defer(struct loop *loop, struct defer *defer)
{
    if (!list_is_empty(&defer->node)) return;
    list_push_back(&loop->deferred, &defer->node);
    if (!uv_is_closing((uv_handle_t *)&loop->idle)) uv_idle_start(&loop->idle, on_idle);
}

static void on_idle(uv_idle_t *handle) { (void)handle; /* being active is all it is for */ }

void loop_defer_cancel(struct defer *defer) { list_del(&defer->node); }

void loop_bury(struct loop *loop, void *memory)
{
    struct grave *grave = xmalloc(sizeof *grave);
    grave->memory = memory;
    list_push_back(&loop->buried, &grave->node);
}

static void run_round(struct loop *loop)
{
    struct list round;
    list_init(&round);
    list_move_all(&round, &loop->deferred);
    struct list *node;
    while ((node = list_pop_front(&round))) {
        struct defer *defer = container_of(node, struct defer, node);
        defer->run(defer); /* may free itself, cancel others of the round or defer again */
    }
    if (list_is_empty(&loop->deferred)) uv_idle_stop(&loop->idle);
}

static void free_buried(struct loop *loop)
{
    struct list *node;
    while ((node = list_pop_front(&loop->buried))) {
        struct grave *grave = container_of(node, struct grave, node);
        free(grave->memory);
        free(grave);
    }
}

static void run_guarded(struct loop *loop, uv_run_mode mode)
{
    if (loop->running) {
        log_error("an event loop was run from within itself");
        abort();
    }
    loop->running = true;
    uv_run(&loop->uv, mode);
    free_buried(loop);
    loop->running = false;
}

static void on_close_wait_over(uv_timer_t *timer) { *(bool *)timer->data = true; }

/* Lets closing handles and pending work finish. Once nothing counts as alive, what is still open
 * would stay so for ever. */
static void run_until_quiet(struct loop *loop)
{
    bool is_over = false;
    uv_timer_t guard = { .data = &is_over };
    uv_timer_init(&loop->uv, &guard);
    uv_timer_start(&guard, on_close_wait_over, CLOSE_WAIT_MS, 0);
    uv_unref((uv_handle_t *)&guard);
    while (!is_over && uv_loop_alive(&loop->uv)) run_guarded(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&guard, NULL);
    /* A pending loop_stop ends one run before it closes anything. */
    for (int i = 0; i < 2; i++) run_guarded(loop, UV_RUN_NOWAIT);
}

static void name_if_leaked(uv_handle_t *handle, void *data)
{
    struct loop *loop = data;
    if (handle == (uv_handle_t *)&loop->prepare || handle == (uv_handle_t *)&loop->idle ||
        handle == (uv_handle_t *)&loop->check)
        return;
    log_error("handle left open: %s%s%s", uv_handle_type_name(handle->type),
              uv_is_active(handle) ? ", active" : "", uv_is_closing(handle) ? ", closing" : "");
}

static void close_own_handles(struct loop *loop)
{
    uv_walk(&loop->uv, name_if_leaked, loop);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    for (int i = 0; i < 2; i++) run_guarded(loop, UV_RUN_NOWAIT);
}
