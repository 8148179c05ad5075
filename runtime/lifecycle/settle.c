/* settle.c: see settle.h. Two flights overlap the network with the store; order between items does
 * not matter, each is fenced by its own claim. */
#include "lifecycle/settle.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "loop/batch.h"
#include "lifecycle/announce.h"
#include "lifecycle/refusal.h"

#define SETTLE_BATCH 500
#define SETTLE_BYTES (8u << 20) /* of one statement: it must be answered within its deadline */
#define REPEAT_US    200000

struct settle_item {
    struct list node;
    struct finish finish; /* its texts lie in `texts` */
    struct buf texts;
    int32_t attempt;
    bool replaced; /* the ledger refused its data: it now says so */
    settle_fn *done;
    void *arg;
};

struct settler {
    struct loop *loop;
    struct broker *broker;
    struct ledger *ledger;
    struct announcer *announcer;
    struct ident incarnation;
    struct batch batch;
    size_t pending, pending_bytes;
    int64_t fenced;
};

struct flight {
    struct settler *settler;
    size_t count;
    struct settle_item **items;
    struct timer repeat;
    bool has_complained;
};

static void copy_texts(struct settle_item *item);
static void flush(struct batch *batch, struct list *items, size_t count);
static struct flight *flight_new(struct settler *settler, size_t count);
static void flight_send(struct flight *flight);
static void on_finished(void *arg, const struct finished *finished, size_t count, bool unknown,
                        const struct err *err);
static void on_repeat(struct timer *timer);
static void flight_halve(struct flight *flight);
static void item_replace(struct settler *settler, struct settle_item *item, const struct err *why);
static void item_end(struct settler *settler, struct settle_item *item,
                     const struct finished *finished);
static void flight_done(struct flight *flight, const struct finished *finished);
static void flight_end(struct flight *flight);
static void on_flight_closed(struct timer *timer);

struct settler *settler_new(struct loop *loop, struct broker *broker, struct ledger *ledger,
                            const struct ident *incarnation)
{
    struct settler *settler = xcalloc(1, sizeof *settler);
    settler->loop = loop;
    settler->broker = broker;
    settler->ledger = ledger;
    settler->incarnation = *incarnation;
    settler->announcer = announcer_new(loop, broker);
    batch_init(&settler->batch, loop, SETTLE_BATCH, 2, flush);
    return settler;
}

void settler_free(struct settler *settler)
{
    if (!settler) return;
    batch_close(&settler->batch);
    announcer_free(settler->announcer);
    free(settler);
}

void settle(struct settler *settler, const struct finish *finish, int32_t attempt, settle_fn *done,
            void *arg)
{
    struct settle_item *item = xcalloc(1, sizeof *item);
    list_init(&item->node);
    item->finish = *finish;
    item->attempt = attempt;
    item->done = done;
    item->arg = arg;
    copy_texts(item);
    settler->pending++;
    settler->pending_bytes += item->texts.len;
    batch_add(&settler->batch, &item->node);
}

/* One block for all texts; `hook` and `ended` are words of the program and stay where they are. */
static void copy_texts(struct settle_item *item)
{
    struct finish *finish = &item->finish;
    size_t metadata_len = finish->metadata ? strlen(finish->metadata) : 0;
    buf_reserve(&item->texts, finish->result_len + finish->error_len + metadata_len + 3);
    size_t result_at = item->texts.len;
    if (finish->result) buf_add(&item->texts, finish->result, finish->result_len);
    buf_add_char(&item->texts, '\0');
    size_t error_at = item->texts.len;
    if (finish->error) buf_add(&item->texts, finish->error, finish->error_len);
    buf_add_char(&item->texts, '\0');
    size_t metadata_at = item->texts.len;
    if (finish->metadata) buf_add(&item->texts, finish->metadata, metadata_len);
    buf_add_char(&item->texts, '\0');
    if (finish->result) finish->result = item->texts.data + result_at;
    if (finish->error) finish->error = item->texts.data + error_at;
    if (finish->metadata) finish->metadata = item->texts.data + metadata_at;
}

size_t settler_pending(const struct settler *settler) { return settler->pending; }

size_t settler_pending_bytes(const struct settler *settler) { return settler->pending_bytes; }

int64_t settler_fenced(const struct settler *settler) { return settler->fenced; }

double settler_batch(const struct settler *settler) { return settler->batch.mean; }

static void flush(struct batch *batch, struct list *items, size_t count)
{
    struct flight *flight = flight_new(container_of(batch, struct settler, batch), count);
    size_t bytes = 0;
    flight->count = 0;
    while (!list_is_empty(items)) {
        struct settle_item *item = container_of(items->next, struct settle_item, node);
        bytes += item->texts.len;
        if (flight->count > 0 && bytes > SETTLE_BYTES) break;
        list_del(&item->node);
        flight->items[flight->count++] = item;
    }
    batch_put_back(batch, items);
    flight_send(flight);
}

static struct flight *flight_new(struct settler *settler, size_t count)
{
    struct flight *flight = xcalloc(1, sizeof *flight);
    flight->settler = settler;
    flight->count = count;
    flight->items = xcalloc(count, sizeof(struct settle_item *));
    timer_init(settler->loop, &flight->repeat, on_repeat);
    return flight;
}

static void flight_send(struct flight *flight)
{
    struct finish *finishes = xcalloc(flight->count, sizeof *finishes);
    for (size_t i = 0; i < flight->count; i++) finishes[i] = flight->items[i]->finish;
    ledger_finish(flight->settler->ledger, &flight->settler->incarnation, finishes, flight->count,
                  on_finished, flight);
    free(finishes);
}

static void on_finished(void *arg, const struct finished *finished, size_t count, bool unknown,
                        const struct err *err)
{
    struct flight *flight = arg;
    (void)count;
    (void)unknown; /* repeating is right whether or not it committed */
    if (!err) {
        refusal_over(&flight->has_complained, "the end", flight->count);
        flight_done(flight, finished);
    } else if (err->code == ERR_CANCELLED) {
        flight_end(flight); /* shutting down without the store: the sweep gives the rows back */
    } else if (err->code == ERR_DATA && flight->count > 1) {
        flight_halve(flight);
    } else if (err->code == ERR_DATA && !flight->items[0]->replaced) {
        item_replace(flight->settler, flight->items[0], err);
        flight_send(flight);
    } else {
        refusal_tell(&flight->has_complained, flight->settler->ledger, "the end", flight->count,
                     err);
        timer_start(&flight->repeat, REPEAT_US);
    }
}

static void on_repeat(struct timer *timer)
{
    flight_send(container_of(timer, struct flight, repeat));
}

static void flight_halve(struct flight *flight)
{
    size_t half = flight->count / 2;
    struct flight *rest = flight_new(flight->settler, flight->count - half);
    for (size_t i = half; i < flight->count; i++) rest->items[i - half] = flight->items[i];
    flight->count = half;
    flight->settler->batch.flights++; /* two flights now end where one was counted */
    flight_send(flight);
    flight_send(rest);
}

/* What Postgres cannot keep ends the attempt, without a retry, and says why. */
static void item_replace(struct settler *settler, struct settle_item *item, const struct err *why)
{
    struct jsonw json;
    struct buf error = BUF_EMPTY;
    item->replaced = true;
    jsonw_init(&json, &error);
    jsonw_object(&json);
    jsonw_key_text(&json, "kind", error_kind_text(KIND_UNSTORABLE));
    jsonw_key(&json, "message");
    char *message = xasprintf("Postgres cannot keep what the run gave back: %s", why->text);
    jsonw_text(&json, message);
    jsonw_object_end(&json);
    free(message);
    settler->pending_bytes += error.len - item->texts.len;
    buf_close(&item->texts);
    item->texts = error;
    item->finish.status = TASK_FAILURE;
    item->finish.spends_failure = true;
    item->finish.ended = NULL;
    item->finish.result = NULL;
    item->finish.result_len = 0;
    item->finish.metadata = NULL;
    item->finish.error = buf_text(&item->texts);
    item->finish.error_len = item->texts.len;
    item->finish.hook = NULL; /* it was for another end */
}

static void flight_done(struct flight *flight, const struct finished *finished)
{
    struct settler *settler = flight->settler;
    struct hint *hints = xcalloc(flight->count, sizeof *hints);
    size_t hint_count = 0;
    int64_t earliest_us = 0;
    for (size_t i = 0; i < flight->count; i++) {
        if (finished[i].verdict == FINISH_FENCED) {
            settler->fenced++;
            continue;
        }
        announce_status(settler->announcer, &flight->items[i]->finish.id, finished[i].status,
                        flight->items[i]->attempt);
        if (task_status_is_final(finished[i].status)) continue;
        if (finished[i].due) {
            hints[hint_count++] = finished[i].hint;
        } else if (!earliest_us || finished[i].run_at_us < earliest_us) {
            earliest_us = finished[i].run_at_us;
        }
    }
    if (hint_count) broker_push(settler->broker, hints, hint_count, NULL, NULL);
    if (earliest_us && broker_is_up(settler->broker)) {
        broker_wake_keeper(settler->broker, earliest_us);
    }
    free(hints);
    for (size_t i = 0; i < flight->count; i++) item_end(settler, flight->items[i], &finished[i]);
    flight->count = 0;
    flight_end(flight);
}

/* finished NULL: nobody will ever know. The owner may look at what is pending when it is told. */
static void item_end(struct settler *settler, struct settle_item *item,
                     const struct finished *finished)
{
    settler->pending--;
    settler->pending_bytes -= item->texts.len;
    if (finished) item->done(item->arg, finished);
    buf_close(&item->texts);
    free(item);
}

static void flight_end(struct flight *flight)
{
    struct settler *settler = flight->settler;
    for (size_t i = 0; i < flight->count; i++) item_end(settler, flight->items[i], NULL);
    batch_flight_done(&settler->batch);
    timer_close(&flight->repeat, on_flight_closed);
}

static void on_flight_closed(struct timer *timer)
{
    struct flight *flight = container_of(timer, struct flight, repeat);
    free(flight->items);
    free(flight);
}
