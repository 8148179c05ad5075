/* gauge.c: once a second a runner looks at itself: how late its loop is, how much it did, how large
 * it has grown. The supervisor puts it into the heartbeat; past CTUTOR_MEMORY the runner drains and
 * is replaced, which no leak of a task survives. */
#include <unistd.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/proc.h"
#include "worker/runner.h"
#include "worker/runner_private.h"

#define FULL_PERCENT 80

static void on_tick(struct timer *timer);
static void note_lag(struct runner *runner, int64_t now_us);
static void drain_if_full(struct runner *runner);
static void add_batches(struct jsonw *json, const struct runner *runner);
static void add_number(struct jsonw *json, const char *key, double value);

void gauge_start(struct runner *runner)
{
    timer_init(&runner->loop, &runner->tick, on_tick);
    runner->tick_due_us = clock_boot_us();
    on_tick(&runner->tick);
}

static void on_tick(struct timer *timer)
{
    struct runner *runner = container_of(timer, struct runner, tick);
    int64_t now_us = clock_boot_us();
    note_lag(runner, now_us);
    runner->tick_due_us = now_us + RUNNER_TURN_US;
    atomic_store(&runner->shared->runner_turn_us, now_us);
    timer_start(timer, RUNNER_TURN_US);
    if (!runner->settler) return; /* it is being set up */
    gauge_tell(runner);
    if (runner->draining || runner->isolated) {
        runner_changed(runner);
    } else {
        drain_if_full(runner);
    }
}

/* The worst of the last heartbeat or so: what is told more often is not seen by anybody. */
static void note_lag(struct runner *runner, int64_t now_us)
{
    int64_t lag_us = now_us - runner->tick_due_us;
    int64_t kept_us = runner->config ? config_duration_us(runner->config, SET_LEASE) / 5 : 0;
    bool is_old = now_us - runner->lag_at_us > kept_us + RUNNER_TURN_US;
    if (lag_us < runner->lag_us && !is_old) return;
    runner->lag_us = lag_us > 0 ? lag_us : 0;
    runner->lag_at_us = now_us;
}

static void drain_if_full(struct runner *runner)
{
    int64_t limit = config_int(runner->config, SET_MEMORY), used = proc_resident_bytes(getpid());
    if (limit < 0 || used <= limit / 100 * FULL_PERCENT) return;
    log_warn("%lld MiB in use, CTUTOR_MEMORY is %lld MiB: draining, to be replaced",
             (long long)(used >> 20), (long long)(limit >> 20));
    runner->exit_status = RUNNER_FULL;
    runner_drain(runner, config_duration_us(runner->config, SET_GRACE));
}

void gauge_tell(struct runner *runner)
{
    struct buf text = BUF_EMPTY;
    struct jsonw json;
    int64_t now_us = clock_boot_us();
    double seconds = (double)(now_us - runner->last_stats_us) / 1e6;
    double rate = runner->last_stats_us && seconds > 0.1
                      ? (double)(runner->done - runner->last_done) / seconds
                      : 0;
    runner->last_stats_us = now_us;
    runner->last_done = runner->done;
    jsonw_init(&json, &text);
    jsonw_object(&json);
    jsonw_key_int(&json, "running", runner->running);
    jsonw_key(&json, "rate");
    jsonw_number(&json, (double)(int64_t)(rate * 10) / 10);
    jsonw_key_int(&json, "done", runner->done);
    jsonw_key_int(&json, "memory", proc_resident_bytes(getpid()));
    jsonw_key(&json, "loop_lag");
    jsonw_number(&json, (double)(runner->lag_us / 1000) / 1000);
    jsonw_key_int(&json, "fenced", settler_fenced(runner->settler));
    jsonw_key_int(&json, "children", (int64_t)proc_live_count());
    add_batches(&json, runner);
    jsonw_object_end(&json);
    channel_send(&runner->channel, MESSAGE_STATS, text.data, text.len);
    buf_close(&text);
}

static void add_batches(struct jsonw *json, const struct runner *runner)
{
    struct claim_figures figures = claimer_figures(runner->claimer);
    add_number(json, "last_claim_ok_age", figures.ok_age);
    add_number(json, "claim_batch", figures.claim_batch);
    add_number(json, "start_batch", figures.start_batch);
    add_number(json, "finish_batch", settler_batch(runner->settler));
    add_number(json, "redis_trip", figures.claim_trip);
    add_number(json, "postgres_trip", figures.start_trip);
}

/* To the tenth of a millisecond. */
static void add_number(struct jsonw *json, const char *key, double value)
{
    jsonw_key(json, key);
    jsonw_number(json, (double)(int64_t)(value * 1e4 + 0.5) / 1e4);
}
