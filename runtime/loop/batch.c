/* batch.c: every start of a flight goes through deferred work, so that all items of one turn travel
 * together and a flush never runs inside batch_add or batch_flight_done. */
#include "loop/batch.h"

#include <assert.h>

#include "base/mem.h"

static void on_turn(struct defer *defer);
static void schedule(struct batch *batch);
static size_t take_items(struct batch *batch, struct list *out);

void batch_init(struct batch *batch, struct loop *loop, size_t max_items, unsigned max_flights,
                void (*flush)(struct batch *, struct list *, size_t))
{
    assert(max_items > 0 && max_flights > 0);
    *batch = (struct batch){
        .loop = loop, .max_items = max_items, .max_flights = max_flights, .flush = flush
    };
    list_init(&batch->waiting);
    loop_defer_init(&batch->defer, on_turn);
}

void batch_close(struct batch *batch) { loop_defer_cancel(&batch->defer); }

void batch_add(struct batch *batch, struct list *item)
{
    list_push_back(&batch->waiting, item);
    batch->waiting_count++;
    schedule(batch);
}

void batch_put_back(struct batch *batch, struct list *items)
{
    LIST_EACH (node, items) batch->waiting_count++;
    list_move_all(items, &batch->waiting);
    list_move_all(&batch->waiting, items);
}

void batch_flight_done(struct batch *batch)
{
    assert(batch->flights > 0);
    batch->flights--;
    schedule(batch);
}

void batch_hold(struct batch *batch, bool held)
{
    batch->held = held;
    schedule(batch);
}

static bool may_fly(const struct batch *batch)
{
    return batch->waiting_count > 0 && !batch->held && batch->flights < batch->max_flights;
}

static void schedule(struct batch *batch)
{
    if (may_fly(batch)) loop_defer(batch->loop, &batch->defer);
}

static void on_turn(struct defer *defer)
{
    struct batch *batch = container_of(defer, struct batch, defer);
    while (may_fly(batch)) {
        struct list items;
        size_t count = take_items(batch, &items);
        batch->flights++;
        batch->flush(batch, &items, count);
        assert(list_is_empty(&items)); /* the head is on this stack */
    }
}

static size_t take_items(struct batch *batch, struct list *out)
{
    list_init(out);
    size_t count = 0;
    if (batch->waiting_count <= batch->max_items) {
        count = batch->waiting_count;
        list_move_all(out, &batch->waiting);
    } else {
        for (; count < batch->max_items; count++)
            list_push_back(out, list_pop_front(&batch->waiting));
    }
    batch->waiting_count -= count;
    mean_add(&batch->mean, (double)count);
    return count;
}

void mean_add(double *mean, double value)
{
    *mean = *mean > 0 ? *mean + (value - *mean) / 8 : value;
}
