/* walk.c: ledger_due -> [broker_present] -> broker_push, page after page, so that a million waiting
 * rows never lie in memory at once. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "keeper/keeper_private.h"

#define PAGE 1000

static void ask_page(struct walk *walk);
static void on_page(void *arg, const struct ledger_hints *hints, const struct err *err);
static void on_present(void *arg, const bool *present, size_t count, const struct err *err);
static void push_page(struct walk *walk);
static void on_pushed(void *arg, const struct err *err);
static void walk_end(struct walk *walk, bool ok, bool exhausted);

void walk_start(struct walk *walk)
{
    if (walk->running) return;
    walk->running = true;
    walk->next_run_at_us = 0;
    ask_page(walk);
}

static void ask_page(struct walk *walk)
{
    ledger_due(walk->keeper->ledger, &walk->cursor, PAGE, on_page, walk);
}

static void on_page(void *arg, const struct ledger_hints *hints, const struct err *err)
{
    struct walk *walk = arg;
    if (err) {
        walk_end(walk, false, false);
        return;
    }
    walk->next_run_at_us = hints->next_run_at_us;
    walk->now_us = hints->now_us;
    walk->keeper->skew_us = hints->now_us - clock_wall_us();
    walk->hint_count = hints->count;
    if (!hints->count) {
        walk_end(walk, true, true);
        return;
    }
    walk->hints = xcalloc(hints->count, sizeof *walk->hints);
    memcpy(walk->hints, hints->hints, hints->count * sizeof *walk->hints);
    walk->cursor.run_at_us = walk->hints[hints->count - 1].ready_us;
    walk->cursor.id = walk->hints[hints->count - 1].id;
    if (walk->kind == WALK_ABSENT) {
        broker_present(walk->keeper->broker, walk->hints, walk->hint_count, on_present, walk);
    } else {
        push_page(walk);
    }
}

static void on_present(void *arg, const bool *present, size_t count, const struct err *err)
{
    struct walk *walk = arg;
    size_t absent = 0;
    if (err) {
        walk_end(walk, false, false);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (!present[i]) walk->hints[absent++] = walk->hints[i];
    }
    walk->hint_count = absent;
    if (absent) {
        push_page(walk);
    } else {
        on_pushed(walk, NULL);
    }
}

static void push_page(struct walk *walk)
{
    broker_push(walk->keeper->broker, walk->hints, walk->hint_count, on_pushed, walk);
}

static void on_pushed(void *arg, const struct err *err)
{
    struct walk *walk = arg;
    free(walk->hints);
    walk->hints = NULL;
    if (err) {
        walk_end(walk, false, false);
    } else if (walk->keeper->closing || --walk->pages_left <= 0) {
        walk_end(walk, true, false);
    } else {
        ask_page(walk);
    }
}

static void walk_end(struct walk *walk, bool ok, bool exhausted)
{
    free(walk->hints);
    walk->hints = NULL;
    walk->running = false;
    if (!walk->keeper->closing) walk->done(walk, ok, exhausted);
}
