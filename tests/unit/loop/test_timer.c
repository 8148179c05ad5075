/* test_timer.c: the timer of loop/loop.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

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

struct answer {
    struct probe deadline;
    uv_poll_t news, answer;
    int news_fds[2], answer_fds[2];
    int fired_before; /* when the answer was read */
};

/* The answer comes while the loop is held, and so does the deadline. */
static void on_news(uv_poll_t *handle, int status, int events)
{
    struct answer *answer = handle->data;
    int64_t until_us = clock_mono_us() + 300000;
    (void)status, (void)events;
    uv_close((uv_handle_t *)handle, NULL);
    assert_int_equal(write(answer->answer_fds[1], "x", 1), 1);
    while (clock_mono_us() < until_us) {
    }
}

static void on_answer(uv_poll_t *handle, int status, int events)
{
    struct answer *answer = handle->data;
    (void)status, (void)events;
    answer->fired_before = answer->deadline.count;
    uv_close((uv_handle_t *)handle, NULL);
}

static void timer_of_a_deadline_looks_for_the_answer_first(void **state)
{
    (void)state;
    struct loop loop;
    struct answer answer = { .fired_before = -1 };
    loop_init(&loop);
    assert_int_equal(pipe(answer.news_fds), 0);
    assert_int_equal(pipe(answer.answer_fds), 0);
    uv_poll_init(&loop.uv, &answer.news, answer.news_fds[0]);
    uv_poll_init(&loop.uv, &answer.answer, answer.answer_fds[0]);
    answer.news.data = answer.answer.data = &answer;
    uv_poll_start(&answer.news, UV_READABLE, on_news);
    uv_poll_start(&answer.answer, UV_READABLE, on_answer);
    timer_init(&loop, &answer.deadline.timer, on_fire);
    timer_start(&answer.deadline.timer, 50000);
    assert_int_equal(write(answer.news_fds[1], "x", 1), 1);
    loop_run(&loop);
    assert_int_equal(answer.deadline.count, 1);
    assert_int_equal(answer.fired_before, 0);
    timer_close(&answer.deadline.timer, NULL);
    loop_close(&loop);
    for (int i = 0; i < 2; i++) {
        close(answer.news_fds[i]);
        close(answer.answer_fds[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timer_never_fires_early),
        cmocka_unit_test(timer_counts_from_now_in_a_long_turn),
        cmocka_unit_test(timer_restarts_stops_and_closes),
        cmocka_unit_test(timer_of_a_deadline_looks_for_the_answer_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
