/* test_batch.c: loop/batch.h. Each flush is written down as its item numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "loop/batch.h"

struct item {
    struct list node;
    int number;
};

static struct item items[100];
static char flushed[512];
static int taken_at_once = 100; /* by one flush; the rest goes back */

static void on_flush(struct batch *batch, struct list *list, size_t count)
{
    size_t found = 0;
    struct list *node;
    while ((int)found < taken_at_once && (node = list_pop_front(list))) {
        size_t len = strlen(flushed);
        snprintf(flushed + len, sizeof flushed - len, "%d ",
                 container_of(node, struct item, node)->number);
        found++;
    }
    if ((int)count <= taken_at_once) assert_int_equal(found, count);
    batch_put_back(batch, list);
    strcat(flushed, "| ");
}

static struct loop loop;
static struct batch batch;

static void start(size_t max_items, unsigned max_flights)
{
    flushed[0] = '\0';
    loop_init(&loop);
    batch_init(&batch, &loop, max_items, max_flights, on_flush);
}

static void add(int from, int to)
{
    for (int i = from; i <= to; i++) {
        items[i].number = i;
        list_init(&items[i].node);
        batch_add(&batch, &items[i].node);
    }
}

static void batch_sends_all_items_of_a_turn_together(void **state)
{
    (void)state;
    start(50, 1);
    add(1, 3);
    assert_string_equal(flushed, "");
    loop_turn(&loop, false);
    assert_string_equal(flushed, "1 2 3 | ");
    assert_int_equal(batch.waiting_count, 0);
    batch_close(&batch);
    loop_close(&loop);
}

static void batch_collects_while_a_flight_is_out(void **state)
{
    (void)state;
    start(50, 1);
    add(1, 1);
    loop_run(&loop);
    add(2, 3);
    loop_run(&loop);
    add(4, 4);
    loop_run(&loop);
    assert_string_equal(flushed, "1 | ");
    assert_int_equal(batch.waiting_count, 3);
    batch_flight_done(&batch);
    assert_string_equal(flushed, "1 | ");
    add(5, 5); /* still this turn */
    loop_run(&loop);
    assert_string_equal(flushed, "1 | 2 3 4 5 | ");
    batch_flight_done(&batch);
    loop_run(&loop);
    assert_string_equal(flushed, "1 | 2 3 4 5 | ");
    assert_int_equal(batch.flights, 0);
    batch_close(&batch);
    loop_close(&loop);
}

static void batch_keeps_to_its_size_and_flights(void **state)
{
    (void)state;
    start(2, 2);
    add(1, 7);
    loop_run(&loop);
    assert_string_equal(flushed, "1 2 | 3 4 | ");
    assert_int_equal(batch.flights, 2);
    batch_flight_done(&batch);
    loop_run(&loop);
    assert_string_equal(flushed, "1 2 | 3 4 | 5 6 | ");
    batch_flight_done(&batch);
    batch_flight_done(&batch);
    loop_run(&loop);
    assert_string_equal(flushed, "1 2 | 3 4 | 5 6 | 7 | ");
    batch_close(&batch);
    loop_close(&loop);
}

static void batch_takes_back_what_is_too_much(void **state)
{
    (void)state;
    start(5, 1);
    taken_at_once = 2;
    add(1, 7);
    loop_run(&loop);
    assert_string_equal(flushed, "1 2 | ");
    assert_int_equal(batch.waiting_count, 5);
    add(8, 8);
    for (int i = 0; i < 4; i++) {
        batch_flight_done(&batch);
        loop_run(&loop);
    }
    assert_string_equal(flushed, "1 2 | 3 4 | 5 6 | 7 8 | ");
    assert_int_equal(batch.waiting_count, 0);
    taken_at_once = 100;
    batch_close(&batch);
    loop_close(&loop);
}

static void batch_held_only_collects(void **state)
{
    (void)state;
    start(50, 1);
    add(1, 1);
    batch_hold(&batch, true); /* also a flush already on its way */
    add(2, 2);
    loop_run(&loop);
    assert_string_equal(flushed, "");
    batch_hold(&batch, false);
    loop_run(&loop);
    assert_string_equal(flushed, "1 2 | ");
    batch_close(&batch);
    loop_close(&loop);
}

static void batch_closed_does_not_flush(void **state)
{
    (void)state;
    start(50, 1);
    add(1, 1);
    batch_close(&batch);
    loop_run(&loop);
    assert_string_equal(flushed, "");
    assert_int_equal(batch.waiting_count, 1);
    loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_sends_all_items_of_a_turn_together),
        cmocka_unit_test(batch_collects_while_a_flight_is_out),
        cmocka_unit_test(batch_keeps_to_its_size_and_flights),
        cmocka_unit_test(batch_takes_back_what_is_too_much),
        cmocka_unit_test(batch_held_only_collects),
        cmocka_unit_test(batch_closed_does_not_flush),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
