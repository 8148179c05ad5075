/* submit.c: waiting submits are flushed as one statement; then answers go out, then hints. */
#include "lifecycle/submit.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

#define SUBMIT_BATCH 500
#define SUBMIT_BYTES (8u << 20) /* of one statement: it must be answered within its deadline */

struct submit_item {
    struct list node;
    struct submission_box *box;
    submit_fn *done;
    void *arg;
};

struct submitter {
    struct loop *loop;
    struct ledger *ledger;
    struct broker *broker;
    struct batch batch;
};

struct flight {
    struct submitter *submitter;
    size_t count;
    struct submit_item **items; /* in the order of the statement */
    unsigned tries;
    bool again; /* an earlier try may have committed some of it */
};

static void flush(struct batch *batch, struct list *items, size_t count);
static void flight_send(struct flight *flight);
static void on_inserted(void *arg, const struct inserted *inserted, size_t count, bool unknown,
                        const struct err *err);
static void flight_halve(struct flight *flight);
static void flight_answer(struct flight *flight, const struct inserted *inserted);
static void flight_fail(struct flight *flight, const struct err *err);
static void flight_end(struct flight *flight);
static struct flight *flight_new(struct submitter *submitter, size_t count);
static void item_end(struct submit_item *item, const struct submit_answer *answer,
                     const struct err *err);

struct submitter *submitter_new(struct loop *loop, struct ledger *ledger, struct broker *broker)
{
    struct submitter *submitter = xcalloc(1, sizeof *submitter);
    submitter->loop = loop;
    submitter->ledger = ledger;
    submitter->broker = broker;
    batch_init(&submitter->batch, loop, SUBMIT_BATCH, 1, flush);
    return submitter;
}

void submitter_free(struct submitter *submitter)
{
    if (submitter) batch_close(&submitter->batch);
    free(submitter);
}

void submit_task(struct submitter *submitter, struct submission_box *takes_box, submit_fn *done,
                 void *arg)
{
    struct submit_item *item = xcalloc(1, sizeof *item);
    item->box = takes_box;
    item->done = done;
    item->arg = arg;
    list_init(&item->node);
    batch_add(&submitter->batch, &item->node);
}

static void flush(struct batch *batch, struct list *items, size_t count)
{
    struct flight *flight = flight_new(container_of(batch, struct submitter, batch), count);
    size_t bytes = 0;
    flight->count = 0;
    while (!list_is_empty(items)) {
        struct submit_item *item = container_of(items->next, struct submit_item, node);
        bytes += item->box->submission.params_len;
        if (flight->count > 0 && bytes > SUBMIT_BYTES) break;
        list_del(&item->node);
        flight->items[flight->count++] = item;
    }
    batch_put_back(batch, items);
    flight_send(flight);
}

static void flight_send(struct flight *flight)
{
    const struct submission **submissions = xcalloc(flight->count, sizeof *submissions);
    for (size_t i = 0; i < flight->count; i++) {
        submissions[i] = &flight->items[i]->box->submission;
    }
    ledger_insert(flight->submitter->ledger, submissions, flight->count, on_inserted, flight);
    free(submissions);
}

static void on_inserted(void *arg, const struct inserted *inserted, size_t count, bool unknown,
                        const struct err *err)
{
    struct flight *flight = arg;
    (void)count;
    if (!err) {
        flight_answer(flight, inserted);
    } else if ((err->code == ERR_DATA || err->code == ERR_INPUT) && flight->count > 1) {
        flight_halve(flight);
    } else if (unknown && flight->tries++ < 3) {
        flight->again = true;
        flight_send(flight); /* the ids are the same: what had committed answers "duplicate" */
    } else {
        flight_fail(flight, err);
    }
}

/* Postgres refused something in it for its data: each half on its own, until the culprit stands
 * alone. */
static void flight_halve(struct flight *flight)
{
    size_t half = flight->count / 2;
    struct flight *rest = flight_new(flight->submitter, flight->count - half);
    for (size_t i = half; i < flight->count; i++) rest->items[i - half] = flight->items[i];
    flight->count = half;
    flight->again = rest->again = true; /* it is several statements: the first may stand */
    flight->submitter->batch.flights++; /* two flights now end where one was counted */
    flight_send(flight);
    flight_send(rest);
}

static void flight_answer(struct flight *flight, const struct inserted *inserted)
{
    struct broker *broker = flight->submitter->broker;
    bool up = broker && broker_is_up(broker);
    struct hint *hints = xcalloc(flight->count, sizeof *hints);
    size_t hint_count = 0;
    int64_t earliest_us = 0;
    for (size_t i = 0; i < flight->count; i++) {
        if (inserted[i].verdict != INSERT_NEW) continue;
        if (inserted[i].due) {
            hints[hint_count++] = inserted[i].hint;
        } else if (!earliest_us || inserted[i].run_at_us < earliest_us) {
            earliest_us = inserted[i].run_at_us;
        }
    }
    if (up && hint_count) broker_push(broker, hints, hint_count, NULL, NULL);
    if (up && earliest_us) broker_wake_keeper(broker, earliest_us);
    free(hints);
    for (size_t i = 0; i < flight->count; i++) {
        bool mine = flight->again && inserted[i].verdict == INSERT_DUPLICATE &&
                    ident_equal(&inserted[i].id, &flight->items[i]->box->submission.id);
        struct submit_answer answer = { .verdict = mine ? INSERT_NEW : inserted[i].verdict,
                                        .id = inserted[i].id,
                                        .deferred = !up };
        item_end(flight->items[i], &answer, NULL);
    }
    flight_end(flight);
}

static void flight_fail(struct flight *flight, const struct err *err)
{
    for (size_t i = 0; i < flight->count; i++) item_end(flight->items[i], NULL, err);
    flight_end(flight);
}

static void flight_end(struct flight *flight)
{
    struct submitter *submitter = flight->submitter;
    free(flight->items);
    free(flight);
    batch_flight_done(&submitter->batch);
}

static struct flight *flight_new(struct submitter *submitter, size_t count)
{
    struct flight *flight = xcalloc(1, sizeof *flight);
    flight->submitter = submitter;
    flight->count = count;
    flight->items = xcalloc(count, sizeof(struct submit_item *));
    return flight;
}

static void item_end(struct submit_item *item, const struct submit_answer *answer,
                     const struct err *err)
{
    item->done(item->arg, answer, err);
    submission_box_free(item->box);
    free(item);
}
