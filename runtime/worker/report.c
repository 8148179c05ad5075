/* report.c: the log lines of running tasks: to the ledger in batches, before the finish of their
 * run; then to watchers. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker/runner_private.h"

#define REPEAT_US 1000000 /* Postgres was away */
#define LOG_BATCH 500
/* Of lines not yet in the ledger. A run is bounded by itself (script/run_tell.c); this is for many,
 * while Postgres is away. What comes beyond is dropped and counted. */
#define LOG_BYTES_MAX (64u << 20)

struct log_item {
    struct list node;
    struct slot *slot;
    struct log_entry entry;
    char *text;
};

struct log_flight {
    struct runner *runner;
    struct list items;
    size_t count;
    struct timer repeat;
};

static void add_line(struct slot *slot, const char *level, const char *text, size_t len);
static void flush_logs(struct batch *batch, struct list *items, size_t count);
static void flight_send(struct log_flight *flight);
static void on_logs_written(void *arg, int64_t count, bool unknown, const struct err *err);
static void on_repeat(struct timer *timer);
static void on_flight_closed(struct timer *timer);

void report_init(struct runner *runner)
{
    batch_init(&runner->logs, &runner->loop, LOG_BATCH, 1, flush_logs);
}

void report_log(struct slot *slot, const char *level, const char *text, size_t len)
{
    if (slot->runner->log_bytes >= LOG_BYTES_MAX) {
        slot->logs_dropped++;
        return;
    }
    report_dropped(slot);
    add_line(slot, level, text, len);
}

void report_dropped(struct slot *slot)
{
    char text[100];
    if (!slot->logs_dropped) return;
    int len = snprintf(text, sizeof text, "%zu lines left out: too many wait for Postgres",
                       slot->logs_dropped);
    slot->logs_dropped = 0;
    add_line(slot, "warn", text, (size_t)len);
}

static void add_line(struct slot *slot, const char *level, const char *text, size_t len)
{
    struct log_item *item = xcalloc(1, sizeof *item);
    list_init(&item->node);
    item->slot = slot;
    item->text = xstrndup(text, len);
    item->entry = (struct log_entry){ .id = slot->id,
                                      .claim = slot->claim,
                                      .attempt = slot->attempt,
                                      .at_us = clock_wall_us(),
                                      .level = level, /* a word of the program */
                                      .text = item->text,
                                      .text_len = len };
    slot->logs_pending++;
    slot->runner->log_bytes += len;
    batch_add(&slot->runner->logs, &item->node);
}

static void flush_logs(struct batch *batch, struct list *items, size_t count)
{
    struct log_flight *flight = xcalloc(1, sizeof *flight);
    flight->runner = container_of(batch, struct runner, logs);
    flight->count = count;
    list_init(&flight->items);
    list_move_all(&flight->items, items);
    timer_init(&flight->runner->loop, &flight->repeat, on_repeat);
    flight_send(flight);
}

static void flight_send(struct log_flight *flight)
{
    struct log_entry *entries = xcalloc(flight->count, sizeof *entries);
    size_t i = 0;
    LIST_EACH (node, &flight->items) {
        entries[i++] = container_of(node, struct log_item, node)->entry;
    }
    ledger_log(flight->runner->finishes, entries, flight->count, on_logs_written, flight);
    free(entries);
}

static void on_logs_written(void *arg, int64_t count, bool unknown, const struct err *err)
{
    struct log_flight *flight = arg;
    (void)count;
    if (err && err->code == ERR_STORE && !unknown) {
        timer_start(&flight->repeat, REPEAT_US); /* never sent */
        return;
    }
    if (err && err->code != ERR_STORE) log_warn("log lines are lost: %s", err->text);
    struct list items;
    list_init(&items);
    list_move_all(&items, &flight->items);
    batch_flight_done(&flight->runner->logs);
    timer_close(&flight->repeat, on_flight_closed);
    for (struct list *node; (node = list_pop_front(&items)) != NULL;) {
        struct log_item *item = container_of(node, struct log_item, node);
        const struct log_entry *line = &item->entry;
        if (!err)
            announce_log(item->slot->runner->announcer, &line->id, line->attempt, line->level,
                         line->text, line->text_len, line->at_us);
        item->slot->runner->log_bytes -= line->text_len;
        slot_logs_written(item->slot, 1);
        free(item->text);
        free(item);
    }
}

static void on_repeat(struct timer *timer)
{
    flight_send(container_of(timer, struct log_flight, repeat));
}

static void on_flight_closed(struct timer *timer)
{
    free(container_of(timer, struct log_flight, repeat));
}
