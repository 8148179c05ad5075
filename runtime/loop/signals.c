/* signals.c: see signals.h. */
#include "loop/signals.h"

#include <signal.h>

#include "base/mem.h"

static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };

/* Turned by nobody: hears what comes once all loops are closed. Without handles of theirs libuv
 * would give the signals back their default, in whichever thread they then come. */
static struct {
    uv_loop_t loop;
    uv_signal_t handles[COUNT_OF(numbers)];
} deaf;

static void on_signal(uv_signal_t *handle, int number);

void signals_watch(struct signals *signals, struct loop *loop, void (*on)(void *arg, int number),
                   void *arg)
{
    signals->on = on;
    signals->arg = arg;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        uv_signal_init(&loop->uv, &signals->handles[i]);
        signals->handles[i].data = signals;
        uv_signal_start(&signals->handles[i], on_signal, numbers[i]);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct signals *signals = handle->data;
    signals->on(signals->arg, number);
}

void signals_close(struct signals *signals)
{
    uv_loop_init(&deaf.loop);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        uv_signal_init(&deaf.loop, &deaf.handles[i]);
        uv_signal_start(&deaf.handles[i], on_signal, numbers[i]);
        uv_close((uv_handle_t *)&signals->handles[i], NULL);
    }
}
