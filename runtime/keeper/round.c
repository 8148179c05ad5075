/* round.c: every five seconds sweep and expire, absent hints, unknown tasks, paused queues,
 * figures; every hour partitions ahead and pruning. */
#include <jansson.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "keeper/keeper_private.h"
#include "task/params.h"

#define UNKNOWN_US    30000000
#define GIVE_THEM_US  1000000 /* time for the submitter to push its hint itself */
#define PAGES_A_ROUND 20

static void look_for_unknown(struct keeper *keeper);
static void on_swept(void *arg, const struct ledger_hints *hints, const struct err *err);
static void on_unknown(void *arg, int64_t count, bool unknown, const struct err *err);
static void on_paused(void *arg, const char *json, size_t len, const struct err *err);
static void on_absent_done(struct walk *walk, bool ok, bool exhausted);
static void on_recent_done(struct walk *walk, bool ok, bool exhausted);
static void on_partitions(void *arg, int64_t count, bool unknown, const struct err *err);
static void on_pruned(void *arg, const char *json, size_t len, const struct err *err);

void round_init(struct keeper *keeper)
{
    struct ledger *ledger = keeper->ledger;
    keeper->absent_walk = (struct walk){ keeper, ledger, WALK_ABSENT, .done = on_absent_done };
    keeper->recent_walk = (struct walk){ keeper, ledger, WALK_ABSENT, .done = on_recent_done };
}

void round_begin(struct keeper *keeper)
{
    ledger_sweep(keeper->scans, on_swept, keeper);
    look_for_unknown(keeper);
    figures_roll(keeper);
    if (!broker_is_up(keeper->broker)) return;
    ledger_paused(keeper->ledger, on_paused, keeper);
    if (keeper->absent_walk.running) return;
    keeper->absent_walk.cursor.priority = -1;
    keeper->absent_walk.cursor.until_us = keeper_ledger_now_us(keeper) - GIVE_THEM_US;
    keeper->absent_walk.pages_left = PAGES_A_ROUND;
    walk_start(&keeper->absent_walk);
}

/* It reads all that waits, so with millions waiting not in every round: it may take a twentieth of
 * Postgres' time, unless the grace asks for more. */
static void look_for_unknown(struct keeper *keeper)
{
    int64_t every_us = keeper->unknown_took_us * 20, now_us = clock_boot_us();
    if (every_us > UNKNOWN_US || !every_us) every_us = UNKNOWN_US;
    if (every_us > keeper->options.unknown_grace_us / 4) {
        every_us = keeper->options.unknown_grace_us / 4;
    }
    if (now_us - keeper->unknown_us < every_us) return;
    keeper->unknown_us = now_us;
    keeper->unknown_took_us = 0;
    ledger_unknown(keeper->scans, keeper->options.unknown_grace_us, keeper->options.max_waiting,
                   on_unknown, keeper);
}

static void on_swept(void *arg, const struct ledger_hints *hints, const struct err *err)
{
    if (!err) keeper_push(arg, hints);
}

static void on_unknown(void *arg, int64_t count, bool unknown, const struct err *err)
{
    struct keeper *keeper = arg;
    (void)unknown;
    if (err || keeper->closing) return;
    keeper->unknown_took_us = clock_boot_us() - keeper->unknown_us + 1;
    if (count)
        log_warn("%lld tasks ended as unknown_task: no living worker carries them",
                 (long long)count);
}

static void on_paused(void *arg, const char *json, size_t len, const struct err *err)
{
    struct keeper *keeper = arg;
    if (!err && !keeper->closing) round_tell_paused(keeper, json, len);
}

void round_tell_paused(struct keeper *keeper, const char *json, size_t len)
{
    json_t *names = params_load(json, len);
    size_t count = json_array_size(names);
    const char **queues = xcalloc(count + 1, sizeof *queues);
    for (size_t i = 0; i < count; i++) queues[i] = json_string_value(json_array_get(names, i));
    broker_set_paused(keeper->broker, queues, count, NULL, NULL);
    free(queues);
    json_decref(names);
}

/* A long backlog is walked on from where the last round stopped; what is recent is looked at every
 * time. */
static void on_absent_done(struct walk *walk, bool ok, bool exhausted)
{
    struct keeper *keeper = walk->keeper;
    if (!ok || exhausted) {
        walk->cursor = (struct due_cursor){ 0 };
        return;
    }
    if (keeper->recent_walk.running) return;
    keeper->recent_walk.cursor =
        (struct due_cursor){ .run_at_us = keeper_ledger_now_us(keeper) - KEEPER_RECENT_US,
                             .priority = -1,
                             .until_us = walk->cursor.until_us };
    keeper->recent_walk.pages_left = PAGES_A_ROUND;
    walk_start(&keeper->recent_walk);
}

static void on_recent_done(struct walk *walk, bool ok, bool exhausted)
{
    (void)walk, (void)ok, (void)exhausted;
}

/* ---- every hour ---- */

void round_hourly(struct keeper *keeper)
{
    ledger_partitions(keeper->scans, on_partitions, keeper);
    if (keeper->options.result_ttl_us >= 0) {
        ledger_prune(keeper->scans, keeper->options.result_ttl_us, false, on_pruned, keeper);
    }
}

static void on_partitions(void *arg, int64_t count, bool unknown, const struct err *err)
{
    (void)arg, (void)count, (void)unknown;
    if (err && err->code != ERR_CANCELLED) log_warn("partitions: %s", err->text);
}

static void on_pruned(void *arg, const char *json, size_t len, const struct err *err)
{
    (void)arg;
    if (err && err->code != ERR_CANCELLED) log_warn("prune: %s", err->text);
    if (!err) log_info("pruned what is older than CTUTOR_RESULT_TTL: %.*s", (int)len, json);
}
