/* walk.c: ledger_due -> [broker_present] -> broker_push, page after page, so that a million waiting
 * rows never lie in memory at once. While Redis takes one page the next is read: a page is either
 * in hand (asked for, or compared) or on its way to Redis, one of each at most. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "keeper/keeper_private.h"

#define PAGE 1000

static void advance(struct walk *walk);
static void on_page(void *arg, const struct ledger_hints *hints, const struct err *err);
static void on_present(void *arg, const bool *present, size_t count, const struct err *err);
static void push_page(struct walk *walk);
static void forget_page(struct walk *walk);
static void on_pushed(void *arg, const struct err *err);
static void fail(struct walk *walk);

void walk_start(struct walk *walk)
{
    if (walk->running) return;
    walk->running = true;
    walk->over = walk->in_hand = walk->in_push = walk->exhausted = false;
    walk->ok = true;
    walk->next_run_at_us = 0;
    advance(walk);
}

/* The one place that decides what is next. */
static void advance(struct walk *walk)
{
    if (walk->in_hand) return;
    if (walk->hint_count > 0 && !walk->in_push && !walk->over) push_page(walk);
    if (walk->hint_count > 0 && !walk->over) return; /* read ahead; Redis still takes the last */
    if (walk->keeper->closing || walk->pages_left <= 0) walk->over = true;
    if (!walk->over) {
        walk->in_hand = true;
        ledger_due(walk->ledger, &walk->cursor, PAGE, on_page, walk);
    } else if (!walk->in_push) {
        forget_page(walk);
        walk->running = false;
        if (!walk->keeper->closing) walk->done(walk, walk->ok, walk->exhausted);
    }
}

static void on_page(void *arg, const struct ledger_hints *hints, const struct err *err)
{
    struct walk *walk = arg;
    walk->in_hand = false;
    if (err) {
        fail(walk);
        return;
    }
    walk->next_run_at_us = hints->next_run_at_us;
    walk->now_us = hints->now_us;
    walk->keeper->skew_us = hints->now_us - clock_boot_us();
    if (!hints->count) {
        walk->over = walk->exhausted = true;
        advance(walk);
        return;
    }
    walk->pages_left--;
    walk->hint_count = hints->count;
    walk->hints = xcalloc(hints->count, sizeof *walk->hints);
    memcpy(walk->hints, hints->hints, hints->count * sizeof *walk->hints);
    walk->cursor.run_at_us = walk->hints[hints->count - 1].ready_us;
    walk->cursor.id = walk->hints[hints->count - 1].id;
    if (walk->kind == WALK_ABSENT) {
        walk->in_hand = true;
        broker_present(walk->keeper->broker, walk->hints, walk->hint_count, on_present, walk);
    } else {
        advance(walk);
    }
}

static void on_present(void *arg, const bool *present, size_t count, const struct err *err)
{
    struct walk *walk = arg;
    size_t absent = 0;
    walk->in_hand = false;
    if (err) {
        fail(walk);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (!present[i]) walk->hints[absent++] = walk->hints[i];
    }
    walk->hint_count = absent;
    if (!absent) forget_page(walk);
    advance(walk);
}

static void push_page(struct walk *walk)
{
    walk->in_push = true;
    broker_push(walk->keeper->broker, walk->hints, walk->hint_count, on_pushed, walk);
    forget_page(walk);
}

static void forget_page(struct walk *walk)
{
    free(walk->hints);
    walk->hints = NULL;
    walk->hint_count = 0;
}

static void on_pushed(void *arg, const struct err *err)
{
    struct walk *walk = arg;
    walk->in_push = false;
    if (err)
        fail(walk);
    else
        advance(walk);
}

static void fail(struct walk *walk)
{
    walk->ok = false;
    walk->over = true;
    advance(walk);
}
