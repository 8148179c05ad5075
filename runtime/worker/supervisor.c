/* supervisor.c: life of a worker.
 *
 *   prepare: schema, Redis' settings, own row, corpses -> first load of tasks.d -> runners ->
 * [SIGHUP: reload]* -> SIGTERM: drain -> all gone: leave The start reads downwards (it waits for
 * each answer); from then on everything is news on the loop. */
#include "worker/supervisor.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/tree.h"
#include "lifecycle/await.h"
#include "worker/machine.h"
#include "worker/supervisor_private.h"

#define TICK_US       1000000
#define LEAVE_US      7000000 /* over the grace: then the runners are killed */
#define LAST_WORDS_US 3000000 /* for the deaths of runners that have left */

static bool prepare(struct supervisor *supervisor, const struct supervisor_options *options,
                    struct err *err);
static bool open_stores(struct supervisor *supervisor, struct err *err);
static bool check_schema(struct supervisor *supervisor, struct err *err);
static bool check_redis(struct supervisor *supervisor, struct err *err);
static bool make_base_directory(struct supervisor *supervisor, struct err *err);
static bool register_self(struct supervisor *supervisor, struct err *err);
static bool load_tasks(struct supervisor *supervisor, struct err *err);
static void raise_descriptor_limit(void);
static void serve(struct supervisor *supervisor);
static void on_control(void *arg);
static void on_keeper_news(void *arg, int64_t run_at_us);
static void on_reconciled(void *arg);
static void on_signal(uv_signal_t *handle, int number);
static void on_tick(struct timer *timer);
static void on_respawn(struct timer *timer);
static void on_leave(struct timer *timer);
static void close_down(struct supervisor *supervisor);
static void on_signal_closed(uv_handle_t *handle);

int supervisor_main(const struct supervisor_options *options)
{
    struct supervisor *supervisor = xcalloc(1, sizeof *supervisor);
    struct err err;
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    loop_init(&supervisor->loop);
    proc_init(&supervisor->loop, true);
    list_init(&supervisor->children);
    if (prepare(supervisor, options, &err) && load_tasks(supervisor, &err)) {
        serve(supervisor);
        loop_run(&supervisor->loop);
    } else {
        log_error("%s", err.text);
        supervisor->exit_status = err_exit_status(err.code);
    }
    int status = supervisor->exit_status;
    close_down(supervisor);
    return status;
}

/* ---- the start ---- */

static bool prepare(struct supervisor *supervisor, const struct supervisor_options *options,
                    struct err *err)
{
    char host[200] = "localhost", self[PATH_MAX] = "";
    supervisor->config = options->config;
    supervisor->burst = options->burst;
    supervisor->incarnation = ident_random();
    gethostname(host, sizeof host - 1);
    supervisor->name = options->name && options->name[0] ? xstrdup(options->name)
                                                         : xasprintf("%s-%d", host, (int)getpid());
    supervisor->processes = (int32_t)config_int(options->config, SET_PROCESSES);
    supervisor->slots = (int32_t)config_int(options->config, SET_CONCURRENCY);
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) {
        return err_set(err, ERR_IO, "/proc/self/exe: %s", strerror(errno));
    }
    supervisor->self_path = xstrdup(self);
    reload_init(supervisor);
    timer_init(&supervisor->loop, &supervisor->tick, on_tick);
    timer_init(&supervisor->loop, &supervisor->respawn, on_respawn);
    timer_init(&supervisor->loop, &supervisor->leave, on_leave);
    return config_queues(options->config, &supervisor->queues, err) &&
           make_base_directory(supervisor, err) && open_stores(supervisor, err) &&
           check_schema(supervisor, err) && check_redis(supervisor, err) &&
           register_self(supervisor, err);
}

static bool open_stores(struct supervisor *supervisor, struct err *err)
{
    const char *namespace = config_text(supervisor->config, SET_NAMESPACE);
    struct redis_target redis;
    char *postgres;
    if (!config_redis_target(supervisor->config, &redis, err)) return false;
    if (!config_postgres_conninfo(supervisor->config, &postgres, err)) {
        redis_target_close(&redis);
        return false;
    }
    struct broker_hooks hooks = { .arg = supervisor, .keeper = on_keeper_news };
    struct ledger_hooks control = { .arg = supervisor, .control = on_control };
    struct keeper_options options = {
        .me = supervisor->incarnation,
        .lease_us = config_duration_us(supervisor->config, SET_LEASE),
        .unknown_grace_us = config_duration_us(supervisor->config, SET_UNKNOWN_GRACE),
        .max_waiting = config_int(supervisor->config, SET_MAX_WAITING),
        .result_ttl_us = config_duration_us(supervisor->config, SET_RESULT_TTL),
        .arg = supervisor,
        .reconciled = on_reconciled,
    };
    supervisor->broker = broker_new(&supervisor->loop, &redis, namespace, &hooks);
    broker_listen(supervisor->broker, BROKER_KEEPER);
    supervisor->ledger =
        ledger_new(&supervisor->loop, postgres, namespace, "ctutor-run supervisor", &control);
    supervisor->keeper_ledger =
        ledger_new(&supervisor->loop, postgres, namespace, "ctutor-run keeper", NULL);
    supervisor->keeper_options = options;
    redis_target_close(&redis);
    free(postgres);
    return true;
}

static bool check_schema(struct supervisor *supervisor, struct err *err)
{
    struct await await = { 0 };
    ledger_schema_version(supervisor->ledger, await_done, &await);
    if (!await_run(&supervisor->loop, &await, err)) return err_wrap(err, "Postgres");
    if (await.count == 0) {
        ledger_migrate(supervisor->ledger, await_done, &await);
        return await_run(&supervisor->loop, &await, err) || err_wrap(err, "schema");
    }
    if (await.count < LEDGER_SCHEMA_VERSION) {
        return err_set(
            err, ERR_INPUT,
            "the schema has version %lld, this program needs %d: run `ctutor-run migrate`",
            (long long)await.count, LEDGER_SCHEMA_VERSION);
    }
    if (await.count > LEDGER_SCHEMA_VERSION) {
        return err_set(
            err, ERR_INPUT,
            "the schema has version %lld, this program knows only %d: install the newer program",
            (long long)await.count, LEDGER_SCHEMA_VERSION);
    }
    return true;
}

/* An absent Redis is no reason not to start: the broker goes on trying. One that would lose hints
 * by its settings is. */
static bool check_redis(struct supervisor *supervisor, struct err *err)
{
    struct await await = { 0 };
    broker_check_server(supervisor->broker, await_broker, &await);
    if (await_run(&supervisor->loop, &await, err)) return true;
    if (err->code != ERR_STORE) return err_wrap(err, "Redis");
    log_warn("Redis cannot be reached yet: %s", err->text);
    return true;
}

static bool make_base_directory(struct supervisor *supervisor, struct err *err)
{
    const char *root = getenv("TMPDIR");
    struct stat about;
    supervisor->base_directory =
        xasprintf("%s/ctutor-run-%d", root && root[0] ? root : "/tmp", (int)geteuid());
    if (mkdir(supervisor->base_directory, 0700) != 0 && errno != EEXIST) {
        return err_set(err, ERR_INPUT,
                       "cannot make %s for the directories of runs: %s (set TMPDIR)",
                       supervisor->base_directory, strerror(errno));
    }
    if (lstat(supervisor->base_directory, &about) != 0 || !S_ISDIR(about.st_mode) ||
        about.st_uid != geteuid() || (about.st_mode & 022)) {
        return err_set(
            err, ERR_INPUT,
            "%s must be a directory of this user that nobody else may write (set TMPDIR)",
            supervisor->base_directory);
    }
    return true;
}

static bool register_self(struct supervisor *supervisor, struct err *err)
{
    struct await await = { 0 };
    struct machine machine;
    machine_read(&machine);
    run_directories_sweep(supervisor->base_directory);
    corpses_bury(supervisor);
    struct worker_row row = { .incarnation = supervisor->incarnation,
                              .name = supervisor->name,
                              .host = machine.host,
                              .boot_id = machine.boot_id,
                              .pid = getpid(),
                              .pid_start = (int64_t)proc_start_ticks(getpid()),
                              .queues = (const char *const *)supervisor->queues,
                              .slots = supervisor->slots * supervisor->processes };
    while (supervisor->deaths) loop_turn(&supervisor->loop, true); /* a corpse may hold my name */
    ledger_worker_register(supervisor->ledger, &row, await_done, &await);
    if (!await_run(&supervisor->loop, &await, err)) {
        if (err->code != ERR_CONFLICT) return err_wrap(err, "cannot register");
        return err_set(err, ERR_INPUT,
                       "a living worker is called %s already: choose another --name",
                       supervisor->name);
    }
    ledger_listen(supervisor->ledger);
    supervisor->registered = true;
    supervisor->keeper = keeper_new(&supervisor->loop, supervisor->keeper_ledger,
                                    supervisor->broker, &supervisor->keeper_options);
    beat_start(supervisor);
    return true;
}

static bool load_tasks(struct supervisor *supervisor, struct err *err)
{
    reload_start(supervisor, NULL);
    while (supervisor->checker) loop_turn(&supervisor->loop, true);
    if (supervisor->generation) return true;
    return err_set(err, ERR_INPUT, "%s",
                   supervisor->checked.error ? supervisor->checked.error
                                             : "the tasks cannot be loaded");
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- serving ---- */

static void serve(struct supervisor *supervisor)
{
    static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        uv_signal_init(&supervisor->loop.uv, &supervisor->signals[i]);
        supervisor->signals[i].data = supervisor;
        uv_signal_start(&supervisor->signals[i], on_signal, numbers[i]);
    }
    supervisor->had_terminal = proc_has_terminal();
    supervisor->serving = true;
    timer_start(&supervisor->tick, 0);
    supervisor_changed(supervisor);
    log_info("worker %s: %d runners of %d slots, pid %d", supervisor->name, supervisor->processes,
             supervisor->slots, (int)getpid());
}

static void on_control(void *arg)
{
    struct supervisor *supervisor = arg;
    if (supervisor->serving) controls_take(supervisor);
}

static void on_keeper_news(void *arg, int64_t run_at_us)
{
    struct supervisor *supervisor = arg;
    if (supervisor->keeper) keeper_wake(supervisor->keeper, run_at_us);
}

static void on_reconciled(void *arg)
{
    struct supervisor *supervisor = arg;
    supervisor->reconciled = true;
    LIST_EACH (node, &supervisor->children) {
        struct child *child = container_of(node, struct child, node);
        if (child->channel_open) channel_send(&child->channel, MESSAGE_RECONCILED, NULL, 0);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct supervisor *supervisor = handle->data;
    bool terminal_is_lost = supervisor->had_terminal && !proc_has_terminal();
    if (number == SIGHUP && !terminal_is_lost) {
        log_info("SIGHUP: reloading %s", config_text(supervisor->config, SET_TASKS_DIR));
        if (!supervisor->draining) reload_start(supervisor, NULL);
        return;
    }
    if (supervisor->draining) {
        log_info("second signal: giving everything back now");
        supervisor_drain(supervisor, 0);
        return;
    }
    log_info("draining: no new tasks, running ones have %lld s",
             (long long)(config_duration_us(supervisor->config, SET_GRACE) / 1000000));
    supervisor_drain(supervisor, config_duration_us(supervisor->config, SET_GRACE));
}

static void on_tick(struct timer *timer)
{
    struct supervisor *supervisor = container_of(timer, struct supervisor, tick);
    timer_start(timer, TICK_US);
    LIST_EACH (node, &supervisor->children) {
        struct child *child = container_of(node, struct child, node);
        if (!child->shared) continue;
        atomic_store(&child->shared->supervisor_tick_us, clock_boot_us());
        child_watch(child);
    }
}

/* ---- respawn, drain, leave ---- */

void supervisor_changed(struct supervisor *supervisor)
{
    int32_t living = 0, idle = 0;
    if (!supervisor->serving) return;
    LIST_EACH (node, &supervisor->children) {
        struct child *child = container_of(node, struct child, node);
        living += child->proc != NULL;
        idle += child->proc != NULL && child->idle;
    }
    if (supervisor->draining) {
        if (living > 0) return;
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
    } else if (supervisor->burst && idle == living) {
        supervisor_drain(supervisor, config_duration_us(supervisor->config, SET_GRACE));
    }
}

static void on_respawn(struct timer *timer)
{
    struct supervisor *supervisor = container_of(timer, struct supervisor, respawn);
    int32_t living = 0;
    if (supervisor->draining) return;
    LIST_EACH (node, &supervisor->children) {
        living += container_of(node, struct child, node)->proc != NULL;
    }
    for (; living < supervisor->processes; living++) child_start(supervisor);
}

void supervisor_drain(struct supervisor *supervisor, int64_t grace_us)
{
    supervisor->draining = true;
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
    LIST_EACH (node, &supervisor->children) child_kill(container_of(node, struct child, node));
    timer_start(timer, LEAVE_US);
}

static void close_down(struct supervisor *supervisor)
{
    struct await await = { 0 };
    struct err err;
    if (supervisor->keeper) keeper_stop(supervisor->keeper);
    if (supervisor->registered && ledger_is_up(supervisor->ledger)) {
        ledger_worker_gone(supervisor->ledger, &supervisor->incarnation, await_done, &await);
        if (!await_run(&supervisor->loop, &await, &err)) log_warn("signing off: %s", err.text);
    }
    if (supervisor->serving) log_info("worker %s has left", supervisor->name);
    if (supervisor->ledger) ledger_free(supervisor->ledger);
    if (supervisor->keeper_ledger) ledger_free(supervisor->keeper_ledger);
    if (supervisor->broker) broker_free(supervisor->broker);
    if (supervisor->serving) run_directories_sweep(supervisor->base_directory);
    if (supervisor->base_directory) rmdir(supervisor->base_directory); /* only when empty */
    for (size_t i = 0; supervisor->serving && i < COUNT_OF(supervisor->signals); i++) {
        uv_close((uv_handle_t *)&supervisor->signals[i], on_signal_closed);
    }
}

static void on_signal_closed(uv_handle_t *handle) { (void)handle; }
