/* supervisor.c: life of a worker.
 *
 *   supervisor_prepare -> serve: runners -> [SIGHUP: reload]* -> SIGTERM: drain -> all gone: leave
 *
 * The start reads downwards (prepare.c); from then on everything is news on the loop. */
#include "worker/supervisor.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "lifecycle/await.h"
#include "worker/supervisor_private.h"

#define TICK_US         1000000
#define LEAVE_US        7000000 /* over the grace: then the runners are killed */
#define REMOVALS_US     2000000 /* for what ended runs have left */
#define LAST_WORDS_US   3000000 /* for the deaths of runners that have left */
#define BACK_OFF_US     250000
#define BACK_OFF_MAX_US 10000000
#define NO_GRACE_US     (INT64_C(3650) * 86400 * 1000000) /* a burst waits for what it started */

static void watch_signals(struct supervisor *supervisor);
static void raise_descriptor_limit(void);
static void serve(struct supervisor *supervisor);
static void judge_redis(struct supervisor *supervisor);
static void on_redis_judged(void *arg, const struct err *err);
static void on_signal(void *arg, int number);
static void on_tick(struct timer *timer);
static int32_t count_runners(const struct supervisor *supervisor);
static void on_respawn(struct timer *timer);
static void drain(struct supervisor *supervisor, int64_t grace_us);
static void on_leave(struct timer *timer);
static void close_down(struct supervisor *supervisor);
static void sign_off(struct supervisor *supervisor);
static void await_removals(struct supervisor *supervisor);

int supervisor_main(const struct supervisor_options *options)
{
    struct supervisor *supervisor = xcalloc(1, sizeof *supervisor);
    struct err err;
    fault_set_role(FAULT_SUPERVISOR);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    loop_init(&supervisor->loop);
    proc_init(&supervisor->loop, true);
    list_init(&supervisor->children);
    supervisor->directory_fd = -1;
    reload_init(supervisor);
    timer_init(&supervisor->loop, &supervisor->tick, on_tick);
    timer_init(&supervisor->loop, &supervisor->respawn, on_respawn);
    timer_init(&supervisor->loop, &supervisor->leave, on_leave);
    watch_signals(supervisor);
    if (supervisor_prepare(supervisor, options, &err)) {
        serve(supervisor);
        loop_run(&supervisor->loop);
    } else if (supervisor->draining) {
        log_info("told to leave before it served");
    } else {
        log_error("%s", err.text);
        supervisor->exit_status = err_exit_status(err.code);
    }
    int status = supervisor->exit_status;
    close_down(supervisor);
    if (supervisor->removals) _exit(status); /* exit() would wait for their threads */
    return status;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- serving ---- */

/* With SIGHUP ignored (nohup), losing the terminal is no news. */
static void watch_signals(struct supervisor *supervisor)
{
    struct sigaction before = { 0 };
    sigaction(SIGHUP, NULL, &before);
    supervisor->had_terminal = before.sa_handler != SIG_IGN && proc_has_terminal();
    signals_watch(&supervisor->signals, &supervisor->loop, on_signal, supervisor);
}

static void serve(struct supervisor *supervisor)
{
    supervisor->serving = true;
    timer_start(&supervisor->tick, 0);
    supervisor_changed(supervisor);
    judge_redis(supervisor); /* it may have come after the start looked for it */
    log_info("worker %s: %d runners of %d slots, pid %d", supervisor->name, supervisor->processes,
             supervisor->slots, (int)getpid());
}

void supervisor_control(void *arg)
{
    struct supervisor *supervisor = arg;
    if (supervisor->serving) controls_take(supervisor);
}

void supervisor_keeper_news(void *arg, int64_t run_at_us)
{
    struct supervisor *supervisor = arg;
    if (supervisor->keeper) keeper_wake(supervisor->keeper, run_at_us);
}

/* What was submitted meanwhile told nobody. */
void supervisor_keeper_back(void *arg) { supervisor_keeper_news(arg, 0); }

void supervisor_reconciled(void *arg)
{
    struct supervisor *supervisor = arg;
    supervisor->reconciled = true;
    LIST_EACH (node, &supervisor->children) {
        struct child *child = container_of(node, struct child, node);
        if (child->channel_open) channel_send(&child->channel, MESSAGE_RECONCILED, NULL, 0);
    }
}

void supervisor_store_up(void *arg)
{
    struct supervisor *supervisor = arg;
    if (supervisor->serving) judge_redis(supervisor);
    isolated_look(supervisor);
}

/* Each time it comes, or comes back: it may be another server. */
static void judge_redis(struct supervisor *supervisor)
{
    broker_check_server(supervisor->broker, on_redis_judged, supervisor);
}

/* What the start refuses is refused later too, but what runs may end. */
static void on_redis_judged(void *arg, const struct err *err)
{
    struct supervisor *supervisor = arg;
    if (!err || err->code != ERR_INPUT || supervisor->told_to_leave) return;
    log_error("Redis: %s", err->text);
    supervisor->exit_status = err_exit_status(err->code);
    supervisor_leave(supervisor);
}

void supervisor_isolated_news(void *arg, const char *queue)
{
    struct supervisor *supervisor = arg;
    for (char **list = supervisor->isolated.lists; queue && *list; list++) {
        if (strcmp(queue, *list) == 0) queue = NULL;
    }
    if (!queue) isolated_look(supervisor);
}

static void on_signal(void *arg, int number)
{
    struct supervisor *supervisor = arg;
    bool terminal_is_lost = supervisor->had_terminal && !proc_has_terminal();
    if (number == SIGHUP && !terminal_is_lost) {
        if (supervisor->draining) return;
        log_info("SIGHUP: reloading %s", config_text(supervisor->config, SET_TASKS_DIR));
        if (supervisor->serving || supervisor->checker) reload_start(supervisor, NULL);
    } else if (supervisor->told_to_leave && !supervisor->serving) {
        _exit(128 + number); /* nothing runs yet */
    } else if (supervisor->told_to_leave) {
        log_info("second signal: giving everything back now");
        drain(supervisor, 0);
    } else {
        supervisor_leave(supervisor);
    }
}

static void on_tick(struct timer *timer)
{
    struct supervisor *supervisor = container_of(timer, struct supervisor, tick);
    int64_t next_us = TICK_US;
    LIST_EACH (node, &supervisor->children) {
        struct child *child = container_of(node, struct child, node);
        if (!child->shared) continue;
        atomic_store(&child->shared->supervisor_tick_us, clock_boot_us());
        int64_t wait_us = child_watch(child);
        if (wait_us < next_us) next_us = wait_us;
    }
    timer_start(timer, next_us);
}

/* ---- respawn, drain, leave ---- */

void supervisor_changed(struct supervisor *supervisor)
{
    int32_t living = count_runners(supervisor);
    if (!supervisor->serving) return;
    if (supervisor->draining) {
        if (living > 0 || !isolated_is_quiet(supervisor)) return;
        if (supervisor->deaths == 0) {
            loop_stop(&supervisor->loop);
        } else { /* Postgres may be away; if so the keeper of another worker finds the rows */
            timer_start(&supervisor->leave, LAST_WORDS_US);
        }
        return;
    }
    if (living < supervisor->processes) {
        if (!uv_is_active((uv_handle_t *)&supervisor->respawn.handle)) {
            timer_start(&supervisor->respawn, supervisor->respawn_us);
        }
    } else if (supervisor_is_idle(supervisor) && isolated_is_quiet(supervisor)) {
        if (isolated_found_nothing(supervisor))
            drain(supervisor, NO_GRACE_US); /* a start may be on its way */
        else
            isolated_look(supervisor);
    }
}

static int32_t count_runners(const struct supervisor *supervisor)
{
    int32_t living = 0;
    LIST_EACH (node, &supervisor->children) {
        const struct child *child = container_of(node, struct child, node);
        living += child->proc && !child->isolated;
    }
    return living;
}

bool supervisor_is_idle(const struct supervisor *supervisor)
{
    int32_t idle = 0;
    LIST_EACH (node, &supervisor->children) {
        const struct child *child = container_of(node, struct child, node);
        idle += child->proc && !child->isolated && child->idle;
    }
    return supervisor->burst && idle == supervisor->processes;
}

static void on_respawn(struct timer *timer)
{
    struct supervisor *supervisor = container_of(timer, struct supervisor, respawn);
    if (supervisor->draining) return;
    for (int32_t living = count_runners(supervisor); living < supervisor->processes; living++) {
        if (child_start(supervisor, NULL)) continue;
        supervisor_back_off(supervisor);
        supervisor_changed(supervisor);
        return;
    }
}

void supervisor_back_off(struct supervisor *supervisor)
{
    supervisor->respawn_us = supervisor->respawn_us ? supervisor->respawn_us * 2 : BACK_OFF_US;
    if (supervisor->respawn_us > BACK_OFF_MAX_US) supervisor->respawn_us = BACK_OFF_MAX_US;
}

void supervisor_leave(struct supervisor *supervisor)
{
    int64_t grace_us = config_duration_us(supervisor->config, SET_GRACE);
    if (supervisor->told_to_leave) return;
    supervisor->told_to_leave = true;
    log_info("draining: no new tasks, running ones have %.3g s", (double)grace_us / 1e6);
    drain(supervisor, grace_us);
}

static void drain(struct supervisor *supervisor, int64_t grace_us)
{
    (void)fault_here("drain");
    supervisor->draining = true;
    if (!supervisor->serving) { /* supervisor_prepare looks at it */
        if (supervisor->checker) proc_signal(supervisor->checker, SIGKILL);
        return;
    }
    LIST_EACH (node, &supervisor->children)
        child_drain(container_of(node, struct child, node), grace_us);
    timer_start(&supervisor->leave, grace_us + LEAVE_US);
    supervisor_changed(supervisor);
}

static void on_leave(struct timer *timer)
{
    struct supervisor *supervisor = container_of(timer, struct supervisor, leave);
    if (list_is_empty(&supervisor->children)) {
        loop_stop(&supervisor->loop);
        return;
    }
    log_warn("runners did not leave within the grace: killing them");
    LIST_EACH (node, &supervisor->children) {
        struct child *child = container_of(node, struct child, node);
        child->dismissed = true;
        child_kill(child);
    }
    timer_start(timer, LEAVE_US);
}

/* Whatever falls due meanwhile still finds its stores. Once these are freed the loop does not turn
 * again: nobody is left who could ask them for anything. */
static void close_down(struct supervisor *supervisor)
{
    if (supervisor->keeper) keeper_stop(supervisor->keeper);
    if (supervisor->checker) proc_signal(supervisor->checker, SIGKILL);
    while (supervisor->checker) loop_turn(&supervisor->loop, true);
    await_removals(supervisor);
    if (supervisor->registered) sign_off(supervisor);
    if (supervisor->serving) log_info("worker %s has left", supervisor->name);
    if (supervisor->ledger) ledger_free(supervisor->ledger);
    if (supervisor->keeper_ledger) ledger_free(supervisor->keeper_ledger);
    if (supervisor->broker) broker_free(supervisor->broker);
    if (supervisor->directory_fd >= 0) close(supervisor->directory_fd);
    if (supervisor->directory_fd >= 0 && !supervisor->removals)
        run_directories_sweep(supervisor->base_directory, NULL);
    if (supervisor->base_directory) rmdir(supervisor->base_directory); /* only when empty */
    signals_close(&supervisor->signals);
}

/* A heartbeat behind it would be told that this worker is dead, and so may one under way. */
static void sign_off(struct supervisor *supervisor)
{
    struct await await = { 0 };
    struct err err;
    supervisor->registered = false;
    timer_stop(&supervisor->beat);
    if (!ledger_is_up(supervisor->ledger)) return;
    ledger_worker_gone(supervisor->ledger, &supervisor->incarnation, await_done, &await);
    if (!await_run(&supervisor->loop, &await, &err)) log_warn("signing off: %s", err.text);
}

/* What hangs, or is very large, is left to the next worker of this machine. */
static void await_removals(struct supervisor *supervisor)
{
    int64_t until_us = clock_boot_us() + REMOVALS_US;
    if (supervisor->removals) timer_start(&supervisor->leave, REMOVALS_US); /* to end a turn */
    while (supervisor->removals && clock_boot_us() < until_us) loop_turn(&supervisor->loop, true);
    timer_stop(&supervisor->leave);
    if (supervisor->removals) log_warn("directories of ended runs are not removed yet: leaving");
}
