/* due.c: what becomes due is pushed when it does: delayed tasks, retries, what SQL submitted. */
#include "base/mem.h"
#include "keeper/keeper_private.h"

static void on_due_timer(struct timer *timer);
static void on_due_done(struct walk *walk, bool ok, bool exhausted);

void due_init(struct keeper *keeper)
{
    keeper->look_from_us = INT64_MAX;
    keeper->due_walk = (struct walk){ keeper, keeper->ledger, WALK_PUSH, .done = on_due_done };
    timer_init(keeper->loop, &keeper->due, on_due_timer);
}

void keeper_wake(struct keeper *keeper, int64_t run_at_us)
{
    int64_t now_us = keeper_ledger_now_us(keeper);
    int64_t from_us = run_at_us ? run_at_us : now_us - KEEPER_RECENT_US;
    if (!keeper->leads || keeper->closing) return;
    if (from_us < keeper->look_from_us) keeper->look_from_us = from_us;
    if (keeper->due_walk.running) {
        keeper->look_again = true;
        return;
    }
    int64_t wait_us = run_at_us ? run_at_us - now_us : 0;
    if (uv_is_active((uv_handle_t *)&keeper->due.handle)) {
        int64_t left_us = (int64_t)uv_timer_get_due_in(&keeper->due.handle) * 1000;
        if (left_us <= wait_us) return;
    }
    timer_start(&keeper->due, wait_us > 0 ? wait_us : 0);
}

/* Goes on where it stopped. Its cursor moves back for what was written behind it: of that a wake
 * tells, or else the round of absent hints finds it. */
static void on_due_timer(struct timer *timer)
{
    struct keeper *keeper = container_of(timer, struct keeper, due);
    struct due_cursor *cursor = &keeper->due_walk.cursor;
    if (!keeper->leads || keeper->due_walk.running) return;
    if (keeper->look_from_us <= cursor->run_at_us) {
        *cursor = (struct due_cursor){ .run_at_us = keeper->look_from_us };
    }
    keeper->look_from_us = INT64_MAX;
    cursor->priority = -1;
    cursor->delayed_only = true;
    keeper->due_from = *cursor;
    keeper->due_walk.pages_left = WALK_ALL_PAGES;
    walk_start(&keeper->due_walk);
}

static void on_due_done(struct walk *walk, bool ok, bool exhausted)
{
    struct keeper *keeper = walk->keeper;
    /* What commits later than this has its wake, as above. */
    int64_t seen_us = walk->now_us - KEEPER_RECENT_US;
    if (!ok) {
        walk->cursor = keeper->due_from; /* its last page was read, not pushed */
        timer_start(&keeper->due, KEEPER_TICK_US);
        return;
    }
    /* Else all that waits and is not for this walk would be read again at each. */
    if (exhausted && walk->cursor.run_at_us < seen_us)
        walk->cursor = (struct due_cursor){ .run_at_us = seen_us };
    if (keeper->look_again) {
        keeper->look_again = false;
        timer_start(&keeper->due, 0);
    } else if (walk->next_run_at_us) {
        int64_t wait_us = walk->next_run_at_us - walk->now_us;
        timer_start(&keeper->due, wait_us < KEEPER_HOUR_US ? wait_us : KEEPER_HOUR_US);
    }
}
