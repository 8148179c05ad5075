/* runner.c: life of a runner.
 *
 *   SETUP -> stores connect -> register -> first GENERATION -> READY: claim and run -> DRAIN: no
 * claims, runs end or are given back -> exit 0
 * An isolated one claims nothing: it starts the one hint that it was made for, and leaves when that
 * is settled. A slot that becomes free, a hint that comes and a
 * store that returns all lead to runner_changed or claimer_wake; nothing polls faster than once a
 * second. Fencing (guard.h) ends the process from any state. */
#include "worker/runner.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/proc.h"
#include "script/interrupt.h"
#include "script/snapshot.h"
#include "worker/guard.h"
#include "worker/machine.h"
#include "worker/runner_private.h"

#define PENDING_BYTES_MAX (64u << 20) /* results that wait for Postgres */
#define FLUSH_US          5000000     /* after the grace: for Postgres to take what is left */
#define LAST_WORDS_US     1000000     /* for Redis to take what was announced last */

static void on_message(void *arg, enum message kind, const char *payload, size_t len);
static void on_channel_closed(void *arg);
static void set_up(struct runner *runner, const char *json, size_t len);
static void read_hint(struct runner *runner, const json_t *json);
static void open_stores(struct runner *runner, const struct redis_target *redis,
                        const char *postgres);
static void on_ledger_up(void *arg);
static void on_store_up(void *arg);
static void on_registered(void *arg, int64_t count, bool unknown, const struct err *err);
static void take_generation(struct runner *runner, const char *payload, size_t len);
static void tell_carried(struct runner *runner);
static void serve(struct runner *runner);
static void on_hint(void *arg, const char *queue);
static void on_cancel(void *arg, const struct ident *id);
static int32_t on_free_slots(void *arg);
static void on_started(void *arg, const struct ident *id, const struct ident *claim,
                       const struct started *started);
static void on_fenced(void *arg);
static void on_epoch(void *arg, const char *epoch);
static bool is_idle(const struct runner *runner);
static void on_idle(void *arg);
static void on_stuck(void *arg);
static void on_quiet(void *arg);
static void on_words_sent(void *arg, const char *epoch, const struct err *err);
static void on_grace(struct timer *timer);

int runner_main(const struct binding *bindings, size_t binding_count)
{
    struct runner *runner = xcalloc(1, sizeof *runner);
    struct err err;
    fault_set_role(FAULT_RUNNER);
    signal(SIGHUP, SIG_IGN); /* signals of the group are the supervisor's to hear */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_NAME, "ctutor-run");
    log_init(LOG_INFO, false, "runner");
    fcntl(RUNNER_CHANNEL_FD, F_SETFD, FD_CLOEXEC);
    if (!shared_map(RUNNER_SHARED_FD, &runner->shared, &err)) {
        log_error("%s: a runner is started by `ctutor-run worker start`", err.text);
        return RUNNER_FAILED;
    }
    close(RUNNER_SHARED_FD);
    loop_init(&runner->loop);
    proc_init(&runner->loop, true);
    list_init(&runner->open_slots);
    runner->slots_by_id = map_new();
    runner->host.loop = &runner->loop;
    runner->host.bindings = bindings;
    runner->host.binding_count = binding_count;
    long seed = 0;
    if (getrandom(&seed, sizeof seed, 0) < 0) seed = getpid();
    srand48(seed);
    channel_open(&runner->channel, &runner->loop, RUNNER_CHANNEL_FD, runner, on_message,
                 on_channel_closed);
    loop_run(&runner->loop);
    if (runner->isolated || run_has_removals())
        _exit(runner->exit_status); /* what its tasks left goes with it */
    return runner->exit_status;
}

static void on_channel_closed(void *arg)
{
    (void)arg;
    guard_fence("the supervisor is gone");
}

static void on_message(void *arg, enum message kind, const char *payload, size_t len)
{
    struct runner *runner = arg;
    struct ident pair[2];
    struct slot *slot;
    switch (kind) {
    case MESSAGE_SETUP: set_up(runner, payload, len); break;
    case MESSAGE_GENERATION: take_generation(runner, payload, len); break;
    case MESSAGE_CANCEL:
        memcpy(pair, payload, sizeof pair);
        slot = slot_find(runner, &pair[0], &pair[1]);
        if (slot && slot->run) run_cancel(slot->run);
        break;
    case MESSAGE_DRAIN: {
        int64_t grace_us;
        memcpy(&grace_us, payload, sizeof grace_us);
        runner_drain(runner, grace_us);
        break;
    }
    case MESSAGE_HOOKS:
        if (runner->generation && !runner->draining) hooks_take(runner);
        break;
    case MESSAGE_RECONCILED:
        runner->reconciled = true;
        runner->idle_said = false;
        if (runner->claimer) claimer_wake(runner->claimer);
        break;
    case MESSAGE_READY:
    case MESSAGE_LOADED:
    case MESSAGE_FAILED:
    case MESSAGE_EPOCH:
    case MESSAGE_IDLE:
    case MESSAGE_BUSY:
    case MESSAGE_STATS: break; /* ours to send */
    }
}

/* ---- setting up ---- */

static void set_up(struct runner *runner, const char *json, size_t len)
{
    struct err err;
    json_t *setup = json_loadb(json, len, 0, NULL);
    char *config = json_dumps(json_object_get(setup, "config"), JSON_COMPACT);
    struct redis_target redis;
    char *postgres = NULL;
    if (!config || !config_deserialize(config, strlen(config), &runner->config, &err) ||
        !config_redis_target(runner->config, &redis, &err) ||
        !config_postgres_conninfo(runner->config, &postgres, &err) ||
        !config_queues(runner->config, &runner->queues, &err)) {
        log_error("set-up: %s", config ? err.text : "unreadable");
        exit(RUNNER_FAILED);
    }
    enum log_level level = LOG_INFO;
    log_level_parse(config_text(runner->config, SET_LOG), &level);
    log_init(level, strcmp(config_text(runner->config, SET_LOG_FORMAT), "json") == 0, "runner");
    ident_parse(json_string_value(json_object_get(setup, "incarnation")), &runner->incarnation);
    ident_parse(json_string_value(json_object_get(setup, "supervisor")), &runner->supervisor);
    runner->name = xstrdup(json_string_value(json_object_get(setup, "name")));
    runner->run_directory = xstrdup(json_string_value(json_object_get(setup, "run_directory")));
    runner->slots = (int32_t)json_integer_value(json_object_get(setup, "slots"));
    runner->burst = json_is_true(json_object_get(setup, "burst"));
    read_hint(runner, json_object_get(setup, "isolated"));
    runner->host.run_directory = runner->run_directory;
    char id[IDENT_TEXT_SIZE];
    ident_text(&runner->incarnation, id);
    runner->host.worker_marker = xasprintf("CTUTOR_WORKER=%s", id);
    runner->host.max_result = (size_t)config_int(runner->config, SET_MAX_RESULT);
    json_decref(setup);
    free(config);
    guard_start(runner->shared, getppid(), config_duration_us(runner->config, SET_LEASE));
    interrupt_start(&runner->shared->slice);
    report_init(runner);
    progress_init(runner);
    timer_init(&runner->loop, &runner->grace, on_grace);
    gauge_start(runner);
    open_stores(runner, &redis, postgres);
    unclaimed_init(runner);
    redis_target_close(&redis);
    free(postgres);
}

static void read_hint(struct runner *runner, const json_t *json)
{
    if (!json) return;
    runner->isolated = runner->host.is_isolated = true;
    fault_set_role(FAULT_ISOLATED);
    ident_parse(json_string_value(json_object_get(json, "id")), &runner->hint.id);
    ident_parse(json_string_value(json_object_get(json, "token")), &runner->hint.token);
    runner->hint.starts = (int32_t)json_integer_value(json_object_get(json, "starts"));
}

static void open_stores(struct runner *runner, const struct redis_target *redis,
                        const char *postgres)
{
    const char *namespace = config_text(runner->config, SET_NAMESPACE);
    struct broker_hooks broker_hooks = {
        .arg = runner, .connected = on_store_up, .wake = on_hint, .cancel = on_cancel
    };
    struct ledger_hooks start_hooks = { .arg = runner, .connected = on_ledger_up };
    struct ledger_hooks finish_hooks = { .arg = runner, .connected = on_store_up };
    struct claimer_owner owner = { runner,   on_free_slots, on_started, on_fenced,
                                   on_epoch, on_idle,       on_stuck,   on_quiet };
    runner->broker = broker_new(&runner->loop, redis, namespace, &broker_hooks);
    broker_listen(runner->broker, BROKER_CANCEL | (runner->isolated ? 0u : BROKER_WAKE));
    runner->starts =
        ledger_new(&runner->loop, postgres, namespace, "ctutor-run starts", &start_hooks);
    /* One connection is enough for one task, and quicker to open. */
    runner->finishes = runner->isolated ? runner->starts
                                        : ledger_new(&runner->loop, postgres, namespace,
                                                     "ctutor-run finishes", &finish_hooks);
    runner->announcer = announcer_new(&runner->loop, runner->broker);
    runner->settler =
        settler_new(&runner->loop, runner->broker, runner->finishes, &runner->incarnation);
    runner->claimer =
        claimer_new(&runner->loop, runner->broker, runner->starts, &runner->incarnation,
                    (const char *const *)runner->queues, &owner);
    if (runner->isolated) claimer_isolate(runner->claimer);
}

/* The row must stand before the first start: a start asks whether its owner is alive. */
static void on_ledger_up(void *arg)
{
    struct runner *runner = arg;
    if (runner->registered) {
        runner_changed(runner);
        return;
    }
    struct machine machine;
    machine_read(&machine);
    struct worker_row row = { .incarnation = runner->incarnation,
                              .supervisor = runner->supervisor,
                              .name = runner->name,
                              .host = machine.host,
                              .boot_id = machine.boot_id,
                              .pid = getpid(),
                              .pid_start = (int64_t)proc_start_ticks(getpid()),
                              .queues = (const char *const *)runner->queues,
                              .slots = runner->slots,
                              .isolated = runner->isolated };
    ledger_worker_register(runner->starts, &row, on_registered, runner);
}

static void on_registered(void *arg, int64_t count, bool unknown, const struct err *err)
{
    struct runner *runner = arg;
    (void)count, (void)unknown;
    if (err && err->code == ERR_CANCELLED) return;
    if (err && err->code == ERR_STORE) {
        log_warn("cannot register yet: %s", err->text);
        on_ledger_up(runner); /* waits for the connection inside */
        return;
    }
    if (err) {
        log_error("cannot register: %s", err->text);
        exit(RUNNER_FAILED);
    }
    runner->registered = true;
    serve(runner);
}

static void on_store_up(void *arg)
{
    struct runner *runner = arg;
    runner_changed(runner);
}

/* ---- code ---- */

static void take_generation(struct runner *runner, const char *payload, size_t len)
{
    struct snapshot snapshot = { 0 };
    struct generation *fresh;
    struct err err;
    uint32_t number;
    memcpy(&number, payload, sizeof number);
    bool is_broken =
        fault_here("generation_load") && !err_set(&err, ERR_NOMEM, "the fault that was ordered");
    if (is_broken ||
        !snapshot_decode(payload + sizeof number, len - sizeof number, &snapshot, &err) ||
        !generation_new(&runner->host, &snapshot, &fresh, &err)) {
        log_error("generation %u cannot be built: %s", number, err.text);
        if (!runner->generation) exit(RUNNER_FAILED); /* nothing to serve: the next one tries */
        channel_send(&runner->channel, MESSAGE_FAILED, err.text, strlen(err.text));
        snapshot_close(&snapshot);
        return;
    }
    snapshot_close(&snapshot);
    struct generation *old = runner->generation;
    runner->generation = fresh;
    if (old) generation_retire(old);
    tell_carried(runner);
    channel_send(&runner->channel, MESSAGE_LOADED, &number, sizeof number);
    serve(runner);
}

static void tell_carried(struct runner *runner)
{
    size_t count = generation_count(runner->generation);
    struct carried *carried = xcalloc(count ? count : 1, sizeof *carried);
    for (size_t i = 0; i < count; i++) {
        const struct definition *definition = generation_at(runner->generation, i);
        carried[i] = (struct carried){ definition->name, definition->version };
    }
    claimer_set_carried(runner->claimer, carried, count);
    free(carried);
}

static void serve(struct runner *runner)
{
    if (!runner->registered || !runner->generation) return;
    if (!runner->serving) channel_send(&runner->channel, MESSAGE_READY, NULL, 0);
    runner->serving = true;
    if (runner->isolated && !runner->taken && !runner->draining) {
        runner->taken = true;
        claimer_take(runner->claimer, &runner->hint);
    }
    claimer_wake(runner->claimer);
}

/* ---- work ---- */

static void on_hint(void *arg, const char *queue)
{
    struct runner *runner = arg;
    for (size_t i = 0; queue && runner->queues[i]; i++) {
        if (strcmp(queue, runner->queues[i]) == 0) queue = NULL;
    }
    if (!queue && runner->serving) claimer_wake(runner->claimer);
}

static void on_cancel(void *arg, const struct ident *id)
{
    struct slot *slot = slot_find(arg, id, NULL);
    if (slot && slot->run) run_cancel(slot->run);
}

static int32_t on_free_slots(void *arg)
{
    struct runner *runner = arg;
    if (!runner->serving || runner->draining) return 0;
    if (settler_pending_bytes(runner->settler) > PENDING_BYTES_MAX) return 0;
    return runner->slots - runner->running;
}

static void on_started(void *arg, const struct ident *id, const struct ident *claim,
                       const struct started *started)
{
    struct runner *runner = arg;
    if (runner->idle_said) channel_send(&runner->channel, MESSAGE_BUSY, NULL, 0);
    runner->idle_said = false;
    slot_open(runner, id, claim, started);
}

static void on_fenced(void *arg)
{
    (void)arg;
    guard_fence("this incarnation was declared dead");
}

static void on_epoch(void *arg, const char *epoch)
{
    struct runner *runner = arg;
    channel_send(&runner->channel, MESSAGE_EPOCH, epoch, strlen(epoch));
}

/* A slot is open until its end is written, also while its log lines are on their way. */
static bool is_idle(const struct runner *runner)
{
    return list_is_empty(&runner->open_slots) && runner->hooks == 0 &&
           settler_pending(runner->settler) == 0;
}

static void on_idle(void *arg)
{
    struct runner *runner = arg;
    if (!runner->burst || !runner->reconciled || !is_idle(runner) || runner->idle_said) return;
    runner->idle_said = true;
    channel_send(&runner->channel, MESSAGE_IDLE, NULL, 0);
}

static void on_stuck(void *arg)
{
    struct runner *runner = arg;
    log_error("connected but no claim is answered: draining, to be replaced");
    runner->exit_status = RUNNER_STUCK;
    runner_drain(runner, config_duration_us(runner->config, SET_GRACE));
}

static void on_quiet(void *arg) { runner_changed(arg); }

void runner_changed(struct runner *runner)
{
    if (!runner->draining && !runner->taken) {
        if (runner->claimer) claimer_wake(runner->claimer);
        return;
    }
    if (runner->finished || !is_idle(runner) || !claimer_is_quiet(runner->claimer)) return;
    runner->finished = true;
    gauge_tell(runner);
    if (!runner->isolated) log_info("drained: %lld starts in this life", (long long)runner->done);
    timer_start(&runner->grace, LAST_WORDS_US);
    if (broker_is_up(runner->broker))
        broker_epoch_get(runner->broker, on_words_sent, runner);
    else
        loop_stop(&runner->loop);
}

/* What was published and pushed before went over the same connection. */
static void on_words_sent(void *arg, const char *epoch, const struct err *err)
{
    struct runner *runner = arg;
    (void)epoch, (void)err;
    loop_stop(&runner->loop);
}

/* ---- leaving ---- */

void runner_drain(struct runner *runner, int64_t grace_us)
{
    if (!runner->claimer) exit(runner->exit_status); /* nothing was set up */
    runner->draining = true;
    claimer_stop(runner->claimer);
    if (!runner->released && !runner->finished) timer_start(&runner->grace, grace_us);
    runner_changed(runner);
}

/* First the grace, then the time that Postgres gets to take what is left. */
static void on_grace(struct timer *timer)
{
    struct runner *runner = container_of(timer, struct runner, grace);
    if (runner->finished) {
        loop_stop(&runner->loop);
        return;
    }
    if (runner->released) {
        log_warn("leaving with ends unwritten: Postgres did not take them in time");
        loop_stop(&runner->loop);
        return;
    }
    runner->released = true;
    (void)fault_here("grace_over");
    LIST_EACH (node, &runner->open_slots) {
        struct slot *slot = container_of(node, struct slot, node);
        if (slot->run) run_end(slot->run, END_RELEASED);
    }
    timer_start(&runner->grace, FLUSH_US);
    runner_changed(runner);
}
