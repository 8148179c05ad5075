/* prepare.c: a worker before it serves. Reads downwards and waits for each answer:
 *
 *   settings -> own directory -> stores, schema, Redis' settings -> own row -> first load of
 * tasks.d
 *
 * A signal meanwhile is noted (supervisor.c) and looked at between two steps. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "lifecycle/await.h"
#include "worker/machine.h"
#include "worker/supervisor_private.h"

#define NAME_US   1000000  /* between two tries to get a name */
#define KEEPER_US 10000000 /* over the lease: to be elected and to see a counter stand still */

static void name_self(struct supervisor *supervisor, const char *given);
static bool goes_on(const struct supervisor *supervisor, struct err *err);
static bool open_stores(struct supervisor *supervisor, struct err *err);
static bool check_schema(struct supervisor *supervisor, struct err *err);
static bool check_redis(struct supervisor *supervisor, struct err *err);
static bool make_base_directory(struct supervisor *supervisor, struct err *err);
static bool register_self(struct supervisor *supervisor, struct err *err);
static bool take_name(struct supervisor *supervisor, struct err *err);
static void on_pause(struct timer *timer);
static bool write_row(struct supervisor *supervisor, struct err *err);
static bool load_tasks(struct supervisor *supervisor, struct err *err);

bool supervisor_prepare(struct supervisor *supervisor, const struct supervisor_options *options,
                        struct err *err)
{
    supervisor->config = options->config;
    supervisor->burst = options->burst;
    supervisor->incarnation = ident_random();
    supervisor->processes = (int32_t)config_int(options->config, SET_PROCESSES);
    supervisor->slots = (int32_t)config_int(options->config, SET_CONCURRENCY);
    name_self(supervisor, options->name);
    return config_queues(options->config, &supervisor->queues, err) &&
           make_base_directory(supervisor, err) && open_stores(supervisor, err) &&
           check_schema(supervisor, err) && goes_on(supervisor, err) &&
           check_redis(supervisor, err) && goes_on(supervisor, err) &&
           register_self(supervisor, err) && goes_on(supervisor, err) &&
           load_tasks(supervisor, err) && goes_on(supervisor, err);
}

static void name_self(struct supervisor *supervisor, const char *given)
{
    char host[200] = "localhost";
    gethostname(host, sizeof host - 1);
    supervisor->name = given && given[0] ? xstrdup(given) : xasprintf("%s-%d", host, (int)getpid());
}

static bool goes_on(const struct supervisor *supervisor, struct err *err)
{
    return !supervisor->draining || err_set(err, ERR_INTERRUPTED, "told to leave before it served");
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
    struct broker_hooks hooks = { .arg = supervisor,
                                  .connected = supervisor_store_up,
                                  .wake = supervisor_isolated_news,
                                  .keeper = supervisor_keeper_news };
    struct ledger_hooks news = { .arg = supervisor,
                                 .connected = supervisor_keeper_back,
                                 .control = supervisor_control,
                                 .submitted = supervisor_keeper_news };
    struct keeper_options options = {
        .me = supervisor->incarnation,
        .lease_us = config_duration_us(supervisor->config, SET_LEASE),
        .unknown_grace_us = config_duration_us(supervisor->config, SET_UNKNOWN_GRACE),
        .max_waiting = config_int(supervisor->config, SET_MAX_WAITING),
        .max_params = config_int(supervisor->config, SET_MAX_PARAMS),
        .result_ttl_us = config_duration_us(supervisor->config, SET_RESULT_TTL),
        .arg = supervisor,
        .reconciled = supervisor_reconciled,
    };
    supervisor->broker = broker_new(&supervisor->loop, &redis, namespace, &hooks);
    isolated_init(supervisor);
    broker_listen(supervisor->broker,
                  BROKER_KEEPER | (supervisor->isolated.slots ? BROKER_WAKE_ISOLATED : 0u));
    supervisor->ledger =
        ledger_new(&supervisor->loop, postgres, namespace, "ctutor-run supervisor", &news);
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

/* The empty one of our own says by its lock that we are there. */
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
    char id[IDENT_TEXT_SIZE];
    ident_text(&supervisor->incarnation, id);
    char *own = xasprintf("%s/%s", supervisor->base_directory, id);
    bool good = run_directory_make(own, &supervisor->directory_fd, err);
    free(own);
    return good;
}

static bool register_self(struct supervisor *supervisor, struct err *err)
{
    run_directories_sweep(supervisor->base_directory, supervisor);
    corpses_bury(supervisor);
    while (supervisor->deaths && !supervisor->draining) loop_turn(&supervisor->loop, true);
    supervisor->keeper =
        keeper_new(&supervisor->loop, supervisor->ledger, supervisor->keeper_ledger,
                   supervisor->broker, &supervisor->keeper_options);
    if (!take_name(supervisor, err)) return false;
    supervisor->registered = true;
    ledger_listen(supervisor->ledger);
    beat_start(supervisor);
    return true;
}

/* The name may still belong to one that died on another machine, and there may be nobody but our
 * own keeper to see that: it gets the time for it. */
static bool take_name(struct supervisor *supervisor, struct err *err)
{
    int64_t lease_us = config_duration_us(supervisor->config, SET_LEASE);
    int64_t until_us = clock_boot_us() + lease_us + KEEPER_US;
    while (!write_row(supervisor, err)) {
        if (err->code != ERR_CONFLICT) return err_wrap(err, "cannot register");
        if (clock_boot_us() > until_us || is_name_of_neighbour(supervisor)) {
            return err_set(err, ERR_INPUT,
                           "a living worker is called %s already: choose another --name",
                           supervisor->name);
        }
        if (!supervisor->waits_for_name) {
            log_warn("the name %s is taken: waiting whether its worker lives", supervisor->name);
            timer_init(&supervisor->loop, &supervisor->pause, on_pause);
        }
        supervisor->waits_for_name = true;
        timer_start(&supervisor->pause, NAME_US);
        while (uv_is_active((uv_handle_t *)&supervisor->pause.handle)) {
            if (!goes_on(supervisor, err)) return false;
            loop_turn(&supervisor->loop, true);
        }
    }
    return true;
}

static void on_pause(struct timer *timer) { (void)timer; /* it is not active any more */ }

static bool write_row(struct supervisor *supervisor, struct err *err)
{
    struct await await = { 0 };
    struct machine machine;
    machine_read(&machine);
    struct worker_row row = { .incarnation = supervisor->incarnation,
                              .name = supervisor->name,
                              .host = machine.host,
                              .boot_id = machine.boot_id,
                              .pid = getpid(),
                              .pid_start = (int64_t)proc_start_ticks(getpid()),
                              .queues = (const char *const *)supervisor->queues,
                              .slots = supervisor->slots * supervisor->processes };
    ledger_worker_register(supervisor->ledger, &row, await_done, &await);
    return await_run(&supervisor->loop, &await, err);
}

static bool load_tasks(struct supervisor *supervisor, struct err *err)
{
    reload_start(supervisor, NULL);
    while (supervisor->checker) loop_turn(&supervisor->loop, true);
    if (supervisor->generation) return true;
    return err_set(err, ERR_INPUT, "%s",
                   supervisor->first_error ? supervisor->first_error
                                           : "the tasks cannot be loaded");
}
