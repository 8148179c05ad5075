/* test_loop.c: loop/loop.h: turns, deferred work, burial, closing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "loop/loop.h"

struct piece {
    struct defer defer;
    struct loop *loop;
    struct piece *other;
    char *order; /* appended to, borrowed */
    char name;
    int again;
};

static void note(struct defer *defer)
{
    struct piece *piece = container_of(defer, struct piece, defer);
    size_t len = strlen(piece->order);
    piece->order[len] = piece->name;
    piece->order[len + 1] = '\0';
    if (piece->again-- > 0) loop_defer(piece->loop, &piece->defer);
    if (piece->other) loop_defer_cancel(&piece->other->defer);
}

static void piece_init(struct piece *piece, struct loop *loop, char name, char *order)
{
    *piece = (struct piece){ .loop = loop, .order = order, .name = name };
    loop_defer_init(&piece->defer, note);
}

static void loop_run_ends_when_nothing_is_alive(void **state)
{
    (void)state;
    struct loop loop;
    loop_init(&loop);
    loop_run(&loop);
    loop_turn(&loop, true);
    loop_close(&loop);
}

static void loop_runs_deferred_work_in_order_and_once(void **state)
{
    (void)state;
    struct loop loop;
    struct piece a, b;
    char order[16] = "";
    loop_init(&loop);
    piece_init(&a, &loop, 'a', order);
    piece_init(&b, &loop, 'b', order);
    loop_defer(&loop, &b.defer);
    loop_defer(&loop, &a.defer);
    loop_defer(&loop, &b.defer);
    assert_string_equal(order, "");
    loop_run(&loop);
    assert_string_equal(order, "ba");
    loop_close(&loop);
}

static void loop_turn_is_bounded_while_work_breeds_work(void **state)
{
    (void)state;
    struct loop loop;
    struct piece a;
    char order[32] = "";
    loop_init(&loop);
    piece_init(&a, &loop, 'a', order);
    a.again = 20;
    loop_defer(&loop, &a.defer);
    loop_turn(&loop, true); /* would hang if the pending work did not keep the poll awake */
    assert_in_range(strlen(order), 1, 2);
    loop_run(&loop);
    assert_int_equal(strlen(order), 21);
    loop_close(&loop);
}

static void loop_defer_cancel_works_within_the_same_round(void **state)
{
    (void)state;
    struct loop loop;
    struct piece a, b;
    char order[16] = "";
    loop_init(&loop);
    piece_init(&a, &loop, 'a', order);
    piece_init(&b, &loop, 'b', order);
    a.other = &b;
    loop_defer(&loop, &a.defer);
    loop_defer(&loop, &b.defer);
    loop_run(&loop);
    assert_string_equal(order, "a");
    loop_defer_cancel(&b.defer);
    loop_close(&loop);
}

static void on_timeout_defer(uv_timer_t *timer)
{
    struct piece *piece = timer->data;
    loop_defer(piece->loop, &piece->defer);
}

static void loop_runs_work_of_a_callback_in_the_same_turn(void **state)
{
    (void)state;
    struct loop loop;
    struct piece a;
    char order[16] = "";
    uv_timer_t timer;
    loop_init(&loop);
    piece_init(&a, &loop, 'a', order);
    uv_timer_init(&loop.uv, &timer);
    timer.data = &a;
    uv_timer_start(&timer, on_timeout_defer, 0, 0);
    loop_turn(&loop, false);
    assert_string_equal(order, "a");
    uv_close((uv_handle_t *)&timer, NULL);
    loop_close(&loop);
}

struct grave_owner {
    struct defer defer;
    struct loop *loop;
    char *memory;
};

static void bury_and_look(struct defer *defer)
{
    struct grave_owner *owner = container_of(defer, struct grave_owner, defer);
    loop_bury(owner->loop, owner->memory);
    owner->memory[0] = 'x'; /* AddressSanitizer would tell if it were gone already */
    loop_bury(owner->loop, owner);
}

static void loop_frees_the_buried_at_the_end_of_the_turn(void **state)
{
    (void)state;
    struct loop loop;
    loop_init(&loop);
    struct grave_owner *owner = xcalloc(1, sizeof *owner);
    owner->loop = &loop;
    owner->memory = xmalloc(1);
    loop_defer_init(&owner->defer, bury_and_look);
    loop_defer(&loop, &owner->defer);
    loop_turn(&loop, false);
    assert_true(list_is_empty(&loop.buried));
    loop_bury(&loop, xmalloc(8)); /* freed by the close */
    loop_close(&loop);
}

static void stop(struct defer *defer)
{
    loop_stop(container_of(defer, struct grave_owner, defer)->loop);
}

static void never(uv_timer_t *timer)
{
    (void)timer;
    fail();
}

static void loop_stop_ends_the_run(void **state)
{
    (void)state;
    struct loop loop;
    struct grave_owner owner = { .loop = &loop };
    uv_timer_t timer;
    loop_init(&loop);
    loop_defer_init(&owner.defer, stop);
    uv_timer_init(&loop.uv, &timer);
    uv_timer_start(&timer, never, 3600000, 0);
    loop_defer(&loop, &owner.defer);
    loop_run(&loop);
    uv_close((uv_handle_t *)&timer, NULL);
    loop_stop(&loop); /* a stop that nothing waits for does not disturb the close */
    loop_close(&loop);
}

static void run_again(struct defer *defer)
{
    loop_run(container_of(defer, struct grave_owner, defer)->loop);
}

static void reenter(void)
{
    struct loop loop;
    struct grave_owner owner = { .loop = &loop };
    loop_init(&loop);
    loop_defer_init(&owner.defer, run_again);
    loop_defer(&loop, &owner.defer);
    loop_run(&loop);
}

static void leak_a_handle(void)
{
    struct loop loop;
    uv_timer_t timer;
    loop_init(&loop);
    uv_timer_init(&loop.uv, &timer);
    loop_close(&loop);
}

/* Runs body in a child that is to die by abort; gives what it said on stderr. */
static void expect_abort(void (*body)(void), const char *message)
{
    int ends[2];
    char text[2048] = "";
    size_t len = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    close(ends[1]);
    ssize_t count;
    while ((count = read(ends[0], text + len, sizeof text - 1 - len)) > 0) len += (size_t)count;
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, message));
}

static void loop_refuses_to_be_run_from_within(void **state)
{
    (void)state;
    expect_abort(reenter, "run from within itself");
}

static void loop_close_names_a_leaked_handle_at_once(void **state)
{
    (void)state;
#ifdef NDEBUG
    skip();
#endif
    int64_t start = clock_mono_us();
    expect_abort(leak_a_handle, "handle left open: timer");
    assert_true(clock_mono_us() - start < 1900000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loop_run_ends_when_nothing_is_alive),
        cmocka_unit_test(loop_runs_deferred_work_in_order_and_once),
        cmocka_unit_test(loop_turn_is_bounded_while_work_breeds_work),
        cmocka_unit_test(loop_defer_cancel_works_within_the_same_round),
        cmocka_unit_test(loop_runs_work_of_a_callback_in_the_same_turn),
        cmocka_unit_test(loop_frees_the_buried_at_the_end_of_the_turn),
        cmocka_unit_test(loop_stop_ends_the_run),
        cmocka_unit_test(loop_refuses_to_be_run_from_within),
        cmocka_unit_test(loop_close_names_a_leaked_handle_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
