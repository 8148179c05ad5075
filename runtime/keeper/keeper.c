/* keeper.c: election, and when each duty is due.
 *
 *   every second    beat; as leader: epoch, pulse
 *   every 5 s       the round (round.c); also when Redis is reachable again
 *   every hour      partitions ahead, pruning (round.c)
 *   at run_at       push what became due (due.c)
 *
 * Leadership is a row whose counter must move; who sees it still for 4 s on its own clock takes it
 * by compare-and-set on that counter. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "keeper/keeper_private.h"

#define STILL_US 4000000
#define ROUND_US 5000000
#define STEP_US  500000 /* less is the time that an answer takes */

static void on_tick(struct timer *timer);
static void on_beat(void *arg, const struct keeper_state *state, const struct err *err);
static void follow_clock(struct keeper *keeper, int64_t now_us);
static void watch_leader(struct keeper *keeper, const struct keeper_state *state);
static void lead(struct keeper *keeper);
static void duties(struct keeper *keeper);
static void on_due_closed(struct timer *timer);
static void on_tick_closed(struct timer *timer);

struct keeper *keeper_new(struct loop *loop, struct ledger *ledger, struct ledger *scans,
                          struct broker *broker, const struct keeper_options *options)
{
    struct keeper *keeper = xcalloc(1, sizeof *keeper);
    keeper->loop = loop;
    keeper->ledger = ledger;
    keeper->scans = scans;
    keeper->broker = broker;
    keeper->options = *options;
    keeper->seen_counter = -1;
    epoch_init(keeper);
    round_init(keeper);
    due_init(keeper);
    timer_init(loop, &keeper->tick, on_tick);
    timer_start(&keeper->tick, 0);
    return keeper;
}

void keeper_stop(struct keeper *keeper)
{
    if (!keeper || keeper->closing) return;
    if (keeper->leads) ledger_keeper_resign(keeper->ledger, &keeper->options.me, NULL, NULL);
    keeper->closing = true;
    keeper->leads = false;
    timer_close(&keeper->due, on_due_closed);
}

static void on_due_closed(struct timer *timer)
{
    timer_close(&container_of(timer, struct keeper, due)->tick, on_tick_closed);
}

static void on_tick_closed(struct timer *timer)
{
    struct keeper *keeper = container_of(timer, struct keeper, tick);
    keeper->closed = true;
    if (keeper->freed) free(keeper);
}

void keeper_free(struct keeper *keeper)
{
    if (!keeper) return;
    keeper_stop(keeper);
    pulse_close(&keeper->pulse);
    keeper->freed = true;
    if (keeper->closed) free(keeper);
}

bool keeper_leads(const struct keeper *keeper) { return keeper->leads; }

int64_t keeper_ledger_now_us(const struct keeper *keeper)
{
    return clock_boot_us() + keeper->skew_us;
}

/* ---- election ---- */

static void on_tick(struct timer *timer)
{
    struct keeper *keeper = container_of(timer, struct keeper, tick);
    if (keeper->closing) return;
    timer_start(timer, KEEPER_TICK_US);
    if (keeper->beating) return;
    int64_t still_us = clock_boot_us() - keeper->seen_since_us;
    bool stale = !keeper->leads && keeper->seen_counter >= 0 && still_us >= STILL_US;
    keeper->beating = true;
    ledger_keeper_beat(keeper->ledger, &keeper->options.me, stale ? keeper->seen_counter : -1,
                       on_beat, keeper);
}

static void on_beat(void *arg, const struct keeper_state *state, const struct err *err)
{
    struct keeper *keeper = arg;
    keeper->beating = false;
    if (keeper->closing) return;
    if (err) {
        pulse_forget(keeper); /* what Postgres did not answer proves nothing */
        keeper->seen_counter = -1;
        return;
    }
    if (!state->is_me) {
        watch_leader(keeper, state);
        return;
    }
    if (!keeper->leads) lead(keeper);
    follow_clock(keeper, state->now_us);
    duties(keeper);
}

/* When Postgres' clock was set, what waits may be due. */
static void follow_clock(struct keeper *keeper, int64_t now_us)
{
    int64_t step_us = now_us - keeper_ledger_now_us(keeper);
    if (step_us > -STEP_US && step_us < STEP_US) return;
    keeper->skew_us += step_us;
    keeper_wake(keeper, 0);
}

static void watch_leader(struct keeper *keeper, const struct keeper_state *state)
{
    if (keeper->leads) log_warn("another keeper leads now");
    keeper->leads = false;
    if (keeper->seen_counter != state->counter) {
        bool moves = keeper->seen_counter >= 0; /* it lives: what it says of Redis holds */
        keeper->seen_counter = state->counter;
        keeper->seen_since_us = clock_boot_us();
        if (moves && !keeper->told) epoch_ask(keeper);
    }
    int64_t left_us = keeper->seen_since_us + STILL_US - clock_boot_us();
    if (left_us < KEEPER_TICK_US) timer_start(&keeper->tick, left_us);
}

static void lead(struct keeper *keeper)
{
    log_debug("keeper: leading");
    keeper->leads = true;
    keeper->epoch[0] = '\0';
    keeper->round_us = keeper->hour_us = 0;
    pulse_forget(keeper);
    ledger_keeper_limit(keeper->ledger, keeper->options.max_params, NULL, NULL);
    keeper_wake(keeper, 0);
}

static void duties(struct keeper *keeper)
{
    int64_t now_us = clock_boot_us();
    pulse_beat(keeper);
    epoch_ask(keeper);
    bool up = broker_is_up(keeper->broker);
    bool is_back = up && !keeper->broker_was_up; /* what was submitted meanwhile has no hint */
    keeper->broker_was_up = up;
    if (is_back || now_us - keeper->round_us >= ROUND_US) {
        keeper->round_us = now_us;
        round_begin(keeper);
    }
    if (now_us - keeper->hour_us >= KEEPER_HOUR_US || !keeper->hour_us) {
        keeper->hour_us = now_us;
        round_hourly(keeper);
    }
}

void keeper_push(struct keeper *keeper, const struct ledger_hints *hints)
{
    if (keeper->closing) return;
    if (hints->count) broker_push(keeper->broker, hints->hints, hints->count, NULL, NULL);
    if (hints->next_run_at_us) keeper_wake(keeper, hints->next_run_at_us);
}
