/* up.c: everything on this machine: private Redis and Postgres (unless configured), the schema, a
 * worker, the REST API and its dashboard, in the foreground.
 *
 *   place -> servers -> run.json -> schema -> worker, API -> [signal or somebody ends] -> both
 * drain
 * -> Postgres, Redis end
 *
 * The start reads downwards; afterwards one state, `leaving`, and what is
 * still running decide. Ctrl-C reaches only this process (the others have sessions of their own),
 * so the order of the end is ours; a second one hurries the worker. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/up_place.h"
#include "cli/up_servers.h"
#include "lifecycle/await.h"
#include "loop/signals.h"

#define READY_US  INT64_C(60000000)
#define UP_QUEUES "high_priority,default,low_priority,testing"

struct up {
    struct app *app;
    struct place place;
    struct proc *redis, *postgres, *worker, *serve;
    const char *port; /* of the API */
    bool has_place, leaving, had_terminal;
    int status;
    struct signals signals;
};

static int run(struct app *app, const struct cli_args *args);
static bool start_servers(struct up *up, struct err *err);
static bool is_private(const struct config *config, enum setting first, enum setting last);
static bool goes_on(const struct up *up, struct err *err);
static bool make_schema(struct up *up, struct err *err);
static bool open_ledger(struct up *up, struct err *err);
static bool start_worker(struct up *up, struct err *err);
static bool start_serve(struct up *up, struct err *err);
static bool start_part(struct up *up, const char **argv, struct proc **out, struct err *err);
static void say_what_runs(const struct up *up);
static void on_signal(void *arg, int number);
static void on_end(void *arg, struct proc *proc, struct proc_exit how);
static void leave(struct up *up);

static const struct cli_option options[] = {
    { "port", "P", "of the REST API on 127.0.0.1; 0: any that is free; default: CTUTOR_LISTEN",
      false },
    { 0 }
};

const struct command command_up = {
    .name = "up",
    .usage = "[--port P]",
    .summary = "everything on this machine: private Redis and Postgres, worker, dashboard",
    .details =
        "Servers are private to this folder: their data lie under .ctutor/ (or where run.json\n"
        "there says), they listen on unix sockets only, and commands in this folder and below\n"
        "find them. A Redis or Postgres that is configured is used instead. Ctrl-C stops all;\n"
        "the next `up` starts again on the old data.\n\n"
        "Examples:\n"
        "  ctutor-run up\n"
        "  ctutor-run up --port 8080\n",
    .options = options,
    .run = run,
};

static int run(struct app *app, const struct cli_args *args)
{
    struct up up = { .app = app, .had_terminal = proc_has_terminal() };
    struct err err;
    int64_t port;
    if (!cli_expect_words(&command_up, args, 0, 0, &err) ||
        !cli_int(args, "port", 0, 65535, &port, &err) || !app_refuse_api(app, &err))
        return app_fail(app, &err);
    up.port = cli_value(args, "port");
    /* While Postgres comes up it does not answer: that is no news. The others have logs of their
     * own. */
    bool is_json = strcmp(config_text(app->config, SET_LOG_FORMAT), "json") == 0;
    if (config_origin(app->config, SET_LOG) == ORIGIN_DEFAULT) log_init(LOG_ERROR, is_json, "");
    signal(SIGPIPE, SIG_IGN);
    proc_init(&app->loop, true);
    signals_watch(&up.signals, &app->loop, on_signal, &up);
    if (start_servers(&up, &err) && goes_on(&up, &err) && make_schema(&up, &err) &&
        goes_on(&up, &err) && start_worker(&up, &err) && start_serve(&up, &err)) {
        say_what_runs(&up);
    } else {
        if (up.status == 0) up.status = app_fail(app, &err); /* else on_end has told it */
        leave(&up);
    }
    while (up.redis || up.postgres || up.worker || up.serve) loop_turn(&app->loop, true);
    if (up.has_place) output_note("everything is stopped; the data are kept in %s", up.place.base);
    signals_close(&up.signals);
    loop_turn(&app->loop, false);
    proc_close();
    if (up.has_place) place_close(&up.place);
    return up.status;
}

static bool start_servers(struct up *up, struct err *err)
{
    struct app *app = up->app;
    bool redis = is_private(app->config, SET_REDIS_URL, SET_REDIS_DB);
    bool postgres = is_private(app->config, SET_DATABASE_URL, SET_POSTGRES_DB);
    if (!redis && !postgres) return true;
    if (!place_open(&up->place, err)) {
        place_close(&up->place);
        return false;
    }
    up->has_place = true;
    if ((redis && !redis_server_start(&up->place, on_end, up, &up->redis, err)) ||
        (postgres &&
         !postgres_server_start(&app->loop, &up->place, on_end, up, &up->postgres, err)) ||
        !place_tell(&up->place, redis, postgres, err)) {
        return false;
    }
    config_free(app->config); /* read again: run.json counts now */
    app->config = NULL;
    return config_load(&app->config, err);
}

/* No setting of the group comes from a person. */
static bool is_private(const struct config *config, enum setting first, enum setting last)
{
    for (int i = (int)first; i <= (int)last; i++) {
        enum setting_origin origin = config_origin(config, (enum setting)i);
        if (origin != ORIGIN_DEFAULT && origin != ORIGIN_CTUTOR_DIR) return false;
    }
    return true;
}

/* A signal, or the end of a server, may have come while the last step was made. */
static bool goes_on(const struct up *up, struct err *err)
{
    return !up->leaving || err_set(err, ERR_INTERRUPTED, "interrupted");
}

static bool make_schema(struct up *up, struct err *err)
{
    struct await await = { 0 };
    if (!open_ledger(up, err)) return false;
    ledger_migrate(up->app->ledger, await_done, &await);
    bool good = await_run(&up->app->loop, &await, err) || err_wrap(err, "schema");
    ledger_free(up->app->ledger); /* the worker has its own */
    up->app->ledger = NULL;
    return good;
}

/* A Postgres of ours that recovers from a crash, or a machine with much to do, may need longer than
 * a command waits. */
static bool open_ledger(struct up *up, struct err *err)
{
    int64_t until_us = clock_boot_us() + READY_US;
    while (!app_open_ledger(up->app, err)) {
        if (!up->app->ledger || !up->postgres || clock_boot_us() > until_us) return false;
        ledger_free(up->app->ledger);
        up->app->ledger = NULL;
        if (!goes_on(up, err)) return false;
    }
    return true;
}

static bool start_worker(struct up *up, struct err *err)
{
    bool chosen = config_origin(up->app->config, SET_QUEUES) != ORIGIN_DEFAULT;
    const char *argv[] = { NULL, "worker", "start", chosen ? NULL : "--queues", UP_QUEUES, NULL };
    return start_part(up, argv, &up->worker, err);
}

static bool start_serve(struct up *up, struct err *err)
{
    char *listen = up->port ? xasprintf("127.0.0.1:%s", up->port) : NULL;
    const char *argv[] = { NULL, "serve", listen ? "--listen" : NULL, listen, NULL };
    bool good = start_part(up, argv, &up->serve, err);
    free(listen);
    return good;
}

/* One of our own commands; argv[0] is ours to fill in. */
static bool start_part(struct up *up, const char **argv, struct proc **out, struct err *err)
{
    char self[PATH_MAX] = "";
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) {
        return err_set(err, ERR_IO, "/proc/self/exe: %s", strerror(errno));
    }
    argv[0] = self;
    int fds[] = { -1, STDOUT_FILENO, STDERR_FILENO };
    struct proc_options part = PROC_OPTIONS;
    part.argv = argv;
    part.env = (const char *const *)
        environ; /* the user's own; the passwords of private servers lie in files */
    part.fds = fds;
    part.fd_count = COUNT_OF(fds);
    part.death_signal = SIGKILL; /* its stores end with us too: there is nothing to drain into */
    return proc_start(&part, on_end, up, out, err);
}

static void say_what_runs(const struct up *up)
{
    char *redis = config_redis_shown(up->app->config);
    char *postgres = config_postgres_shown(up->app->config);
    output_note("Redis     %s%s", redis, up->redis ? "" : " (configured)");
    output_note("Postgres  %s%s", postgres, up->postgres ? "" : " (configured)");
    output_note("worker    pid %d, tasks from %s", (int)proc_pid(up->worker),
                config_text(up->app->config, SET_TASKS_DIR));
    output_note("dashboard pid %d, with the REST API; its address follows",
                (int)proc_pid(up->serve));
    output_note("try       ctutor-run submit my_simple_task message=hello --wait   (in another "
                "terminal, this folder)");
    output_note("Ctrl-C stops everything, the data are kept");
    free(redis);
    free(postgres);
}

static void on_signal(void *arg, int number)
{
    struct up *up = arg;
    bool terminal_is_lost = up->had_terminal && !proc_has_terminal();
    if (number == SIGHUP && !terminal_is_lost) {
        if (up->worker) proc_signal(up->worker, SIGHUP);
        return;
    }
    if (up->leaving && up->worker) proc_signal(up->worker, SIGTERM);
    if (up->leaving && up->serve) proc_signal(up->serve, SIGTERM);
    leave(up);
}

/* Ends what may end now: worker and API first, then the servers they need. */
static void leave(struct up *up)
{
    bool first = !up->leaving;
    up->leaving = true;
    if (first && up->worker) proc_signal(up->worker, SIGTERM);
    if (first && up->serve) proc_signal(up->serve, SIGTERM);
    if (up->worker || up->serve) return;
    if (up->postgres) proc_signal(up->postgres, SIGINT);
    if (up->redis) proc_signal(up->redis, SIGTERM);
}

static void on_end(void *arg, struct proc *proc, struct proc_exit how)
{
    struct up *up = arg;
    const struct {
        struct proc **slot;
        const char *name;
    } parts[] = { { &up->worker, "the worker" },
                  { &up->serve, "the REST API" },
                  { &up->redis, "Redis" },
                  { &up->postgres, "Postgres" } };
    size_t which = 0;
    while (*parts[which].slot != proc) which++;
    *parts[which].slot = NULL;
    bool is_ours = which < 2; /* it may have been asked to end: worker stop */
    if (!up->leaving && is_ours && !how.signal && how.code == 0) {
        output_note("%s was stopped: stopping everything", parts[which].name);
    } else if (!up->leaving) {
        output_note("%s ended by itself (%s %d): stopping everything%s%s", parts[which].name,
                    how.signal ? "signal" : "status", how.signal ? how.signal : how.code,
                    up->has_place ? "; logs are in " : "", up->has_place ? up->place.ctutor : "");
        up->status = is_ours && how.code > 0 ? how.code : 1;
    }
    if (is_ours || !up->leaving) leave(up);
}
