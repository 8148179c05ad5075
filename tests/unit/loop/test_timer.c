/* test_timer.c: the timer of loop/loop.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "loop/loop.h"

struct probe {
    struct timer timer;
    int64_t fired_us;
    int count;
    bool *closed;
};

static void on_fire(struct timer *timer)
{
    struct probe *probe = container_of(timer, struct probe, timer);
    probe->fired_us = clock_mono_us();
    probe->count++;
}

static void on_closed(struct timer *timer)
{
    struct probe *probe = container_of(timer, struct probe, timer);
    *probe->closed = true;
    free(probe);
}

static void timer_never_fires_early(void **state)
{
    (void)state;
    struct loop loop;
    loop_init(&loop);
    struct probe probe = { .count = 0 };
    timer_init(&loop, &probe.timer, on_fire);
    for (int64_t after_us = 100; after_us < 5000; after_us += 700) {
        int64_t start = clock_mono_us();
        timer_start(&probe.timer, after_us);
        loop_run(&loop);
        assert_true(probe.fired_us >= start + after_us);
    }
    assert_int_equal(probe.count, 7);
    timer_close(&probe.timer, NULL);
    loop_close(&loop);
}

static void timer_counts_from_now_in_a_long_turn(void **state)
{
    (void)state;
    struct loop loop;
    loop_init(&loop);
    struct probe probe = { .count = 0 };
    timer_init(&loop, &probe.timer, on_fire);
    int64_t busy_until = clock_mono_us() + 20000;
    while (clock_mono_us() < busy_until) { /* libuv's time of this turn grows stale */
    }
    timer_start(&probe.timer, 10000);
    loop_run(&loop);
    assert_true(probe.fired_us >= busy_until + 10000);
    timer_close(&probe.timer, NULL);
    loop_close(&loop);
}

static void timer_restarts_stops_and_closes(void **state)
{
    (void)state;
    struct loop loop;
    loop_init(&loop);
    bool closed = false;
    struct probe *probe = xcalloc(1, sizeof *probe);
    probe->closed = &closed;
    timer_init(&loop, &probe->timer, on_fire);
    timer_start(&probe->timer, INT64_C(3600000000));
    timer_start(&probe->timer, 0);
    timer_start(&probe->timer, -5);
    loop_run(&loop);
    assert_int_equal(probe->count, 1);
    timer_start(&probe->timer, 1000);
    timer_stop(&probe->timer);
    loop_run(&loop);
    assert_int_equal(probe->count, 1);
    timer_start(&probe->timer, 0);
    timer_close(&probe->timer, on_closed);
    assert_false(closed);
    loop_run(&loop);
    assert_true(closed);
    loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timer_never_fires_early),
        cmocka_unit_test(timer_counts_from_now_in_a_long_turn),
        cmocka_unit_test(timer_restarts_stops_and_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
