/* batch.h: the batching rule. While one flush is in flight, collect; when it returns, flush what
 * has come. Idle: no added latency. Busy: large batches. No timers, no tuning. Items are intrusive
 * list nodes; order of arrival is kept. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "loop/loop.h"

struct batch {
    struct loop *loop;
    struct list waiting; /* items not yet sent */
    size_t waiting_count;
    size_t max_items;     /* of one flush */
    unsigned flights;     /* now */
    unsigned max_flights; /* 1, or 2 to overlap the network with the store */
    double mean;          /* items of a flight, lately */
    /* Takes `items` (a list head holding `count` nodes, moved out of the batch before the call
     * returns), at least one; what is too much for one flight goes back by batch_put_back. Calls
     * batch_flight_done once, later. */
    void (*flush)(struct batch *batch, struct list *items, size_t count);
    /* private */
    struct defer defer;
    bool held; /* batch_hold */
};

/* Moves a mean towards what came: it forgets after some ten. */
void mean_add(double *mean, double value);

void batch_init(struct batch *batch, struct loop *loop, size_t max_items, unsigned max_flights,
                void (*flush)(struct batch *, struct list *, size_t));
void batch_close(
    struct batch *batch); /* before the owner is freed; items still waiting stay the caller's */
void batch_add(struct batch *batch,
               struct list *item); /* flushes at the end of this turn when a flight is free */
/* From within flush: the items left are the first of the next flight. */
void batch_put_back(struct batch *batch, struct list *items);
void batch_flight_done(struct batch *batch);
void batch_hold(struct batch *batch,
                bool held); /* collect only (a store is away); releasing flushes */
