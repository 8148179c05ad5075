/* timer.c: libuv counts whole milliseconds from a time it read when the turn began. Here the due
 * time is worked out from the clock itself and rounded up, so a timer never fires early.
 *
 * libuv runs timers before it polls. After a long turn (Lua that did not yield) a deadline would
 * pass although the answer lies in the socket, or the question has not left it: who is that late
 * lets one poll go first, a patient one a little more. */
#include "loop/loop.h"

#include "base/mem.h"

#define MS_NS       UINT64_C(1000000)
#define LATE_MS     100
#define PATIENCE_MS 200

static void on_timeout(uv_timer_t *handle);
static void on_close(uv_handle_t *handle);

void timer_init(struct loop *loop, struct timer *timer, void (*fire)(struct timer *))
{
    uv_timer_init(&loop->uv, &timer->handle);
    timer->fire = fire;
    timer->on_closed = NULL;
    timer->has_waited = timer->is_patient = false;
}

void timer_be_patient(struct timer *timer) { timer->is_patient = true; }

void timer_start(struct timer *timer, int64_t after_us)
{
    uint64_t after_ns = after_us > 0 ? (uint64_t)after_us * 1000 : 0;
    uint64_t due_ms = (uv_hrtime() + after_ns + MS_NS - 1) / MS_NS;
    uint64_t now_ms = uv_now(timer->handle.loop);
    timer->due_ms = due_ms;
    timer->has_waited = false;
    uint64_t wait_ms = after_ns > 0 && due_ms > now_ms ? due_ms - now_ms : 0;
    uv_timer_start(&timer->handle, on_timeout, wait_ms, 0);
}

static void on_timeout(uv_timer_t *handle)
{
    struct timer *timer = container_of(handle, struct timer, handle);
    if (!timer->has_waited && uv_now(handle->loop) > timer->due_ms + LATE_MS) {
        timer->has_waited = true;
        uv_timer_start(handle, on_timeout, timer->is_patient ? PATIENCE_MS : 1, 0);
        return;
    }
    timer->fire(timer);
}

void timer_stop(struct timer *timer) { uv_timer_stop(&timer->handle); }

void timer_close(struct timer *timer, void (*on_closed)(struct timer *))
{
    timer->on_closed = on_closed;
    uv_close((uv_handle_t *)&timer->handle, on_close);
}

static void on_close(uv_handle_t *handle)
{
    struct timer *timer = container_of((uv_timer_t *)handle, struct timer, handle);
    if (timer->on_closed) timer->on_closed(timer);
}
