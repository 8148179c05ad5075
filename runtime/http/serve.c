/* serve.c: life of a server.
 *
 *   stores -> schema -> keeper -> listen -> [SIGTERM: no more connections, everybody is answered]
 * -> leave */
#include "http/serve.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/entries.h"
#include "http/events.h"
#include "http/follow.h"
#include "http/login.h"
#include "http/reload.h"
#include "http/served.h"
#include "http/sse.h"
#include "http/waits.h"
#include "keeper/keeper.h"
#include "lifecycle/await.h"
#include "loop/signals.h"

#define STORE_US INT64_C(30000000) /* to come up in */
#define LEAVE_US INT64_C(10000000) /* for what is being answered */

struct serve {
    struct loop loop;
    struct api api;
    struct ledger *keeper_ledger;
    struct keeper *keeper;
    struct signals signals;
    struct timer patience; /* until the stores are up; until all have left */
    bool is_late, is_told;
    int status;
    char *address; /* that it listens on */
};

static bool prepare(struct serve *serve, struct err *err);
static bool open_stores(struct serve *serve, struct err *err);
static bool wait_for_postgres(struct serve *serve, struct err *err);
static bool check_schema(struct serve *serve, struct err *err);
static bool listen_at(struct serve *serve, struct err *err);
static bool load_grants(struct serve *serve, struct err *err);
static void on_grants(void *arg);
static void show_link(struct serve *serve);
static void on_signal(void *arg, int number);
static void on_patience(struct timer *timer);
static void answer_everybody(struct serve *serve);
static void close_down(struct serve *serve);
static void on_redis_up(void *arg);
static void on_redis_lost(void *arg, const struct err *why);
static void on_event(void *arg, const char *line, size_t len);
static void on_keeper_news(void *arg, int64_t run_at_us);
static void on_ledger_up(void *arg);
static void on_ledger_lost(void *arg, const struct err *why);
static void on_notify(void *arg);
static void on_changed(void *arg);

int serve_main(const struct config *config)
{
    struct serve *serve = xcalloc(1, sizeof *serve);
    struct err err;
    signal(SIGPIPE, SIG_IGN);
    loop_init(&serve->loop);
    serve->api.loop = &serve->loop;
    serve->api.config = config;
    timer_init(&serve->loop, &serve->patience, on_patience);
    signals_watch(&serve->signals, &serve->loop, on_signal, serve);
    if (prepare(serve, &err)) {
        while (!serve->is_told) loop_turn(&serve->loop, true);
        answer_everybody(serve);
        log_info("everybody is answered");
    } else if (!serve->is_told) {
        log_error("%s", err.text);
        serve->status = err_exit_status(err.code);
    }
    int status = serve->status;
    close_down(serve);
    return status;
}

static bool prepare(struct serve *serve, struct err *err)
{
    struct api *api = &serve->api;
    if (!open_stores(serve, err) || !wait_for_postgres(serve, err) || !check_schema(serve, err))
        return false;
    const struct keeper_options keeper = {
        .me = ident_random(),
        .lease_us = config_duration_us(api->config, SET_LEASE),
        .unknown_grace_us = config_duration_us(api->config, SET_UNKNOWN_GRACE),
        .max_waiting = config_int(api->config, SET_MAX_WAITING),
        .max_params = config_int(api->config, SET_MAX_PARAMS),
        .result_ttl_us = config_duration_us(api->config, SET_RESULT_TTL),
    };
    serve->keeper =
        keeper_new(&serve->loop, api->ledger, serve->keeper_ledger, api->broker, &keeper);
    api->submitter = submitter_new(&serve->loop, api->inserts, api->broker);
    api->entries = entries_new(api->ledger);
    api->served = served_new(api->ledger);
    api->waits = waits_new(api);
    api->streams = streams_new(api);
    api->follows = follows_new(api);
    api->events = events_new(api);
    api->reloads = reloads_new(api);
    return logins_new(api, &api->logins, err) && load_grants(serve, err) && listen_at(serve, err);
}

static bool open_stores(struct serve *serve, struct err *err)
{
    struct api *api = &serve->api;
    const char *namespace = config_text(api->config, SET_NAMESPACE);
    struct redis_target redis;
    char *postgres;
    const struct broker_hooks broker = { .arg = serve,
                                         .connected = on_redis_up,
                                         .lost = on_redis_lost,
                                         .event = on_event,
                                         .keeper = on_keeper_news };
    const struct ledger_hooks news = {
        .arg = serve,
        .connected = on_ledger_up,
        .lost = on_ledger_lost,
        .control = on_notify,
        .submitted = on_keeper_news,
        .changed = on_changed,
    };
    if (!config_redis_target(api->config, &redis, err)) return false;
    if (!config_postgres_conninfo(api->config, &postgres, err)) {
        redis_target_close(&redis);
        return false;
    }
    api->broker = broker_new(&serve->loop, &redis, namespace, &broker);
    broker_listen(api->broker, BROKER_EVENTS | BROKER_KEEPER);
    api->ledger = ledger_new(&serve->loop, postgres, namespace, "ctutor-run serve", &news);
    api->lists = ledger_new(&serve->loop, postgres, namespace, "ctutor-run serve lists", NULL);
    api->inserts = ledger_new(&serve->loop, postgres, namespace, "ctutor-run serve submit", NULL);
    serve->keeper_ledger = ledger_new(&serve->loop, postgres, namespace, "ctutor-run keeper", NULL);
    redis_target_close(&redis);
    explicit_bzero(postgres, strlen(postgres));
    free(postgres);
    return true;
}

/* It may start with its stores: a server that gives up at once would have to be started again. */
static bool wait_for_postgres(struct serve *serve, struct err *err)
{
    timer_start(&serve->patience, STORE_US);
    while (!ledger_is_up(serve->api.ledger) && !serve->is_late && !serve->is_told)
        loop_turn(&serve->loop, true);
    timer_stop(&serve->patience);
    if (serve->is_told) return err_set(err, ERR_INTERRUPTED, "told to leave before it served");
    if (!serve->is_late) return true;
    char *shown = config_postgres_shown(serve->api.config);
    err_set(err, ERR_STORE, "Postgres (%s) does not answer. DATABASE_URL says where it is", shown);
    free(shown);
    return false;
}

static bool check_schema(struct serve *serve, struct err *err)
{
    struct await await = { 0 };
    ledger_schema_version(serve->api.ledger, await_done, &await);
    if (!await_run(&serve->loop, &await, err)) return err_wrap(err, "Postgres");
    if (await.count == 0) {
        ledger_migrate(serve->api.ledger, await_done, &await);
        return await_run(&serve->loop, &await, err) || err_wrap(err, "schema");
    }
    if (await.count == LEDGER_SCHEMA_VERSION) return true;
    return err_set(err, ERR_INPUT, "the schema has version %lld, this program needs %d: %s",
                   (long long)await.count, LEDGER_SCHEMA_VERSION,
                   await.count < LEDGER_SCHEMA_VERSION ? "run `ctutor-run migrate`"
                                                       : "install the newer program");
}

static bool load_grants(struct serve *serve, struct err *err)
{
    struct api *api = &serve->api;
    struct await await = { 0 };
    api->grants = grants_new(&serve->loop, api->ledger);
    grants_load(api->grants, on_grants, &await);
    if (!await_run(&serve->loop, &await, err)) return false;
    return grants_are_known(api->grants) || err_set(err, ERR_STORE, "tokens cannot be read");
}

static void on_grants(void *arg) { await_done(arg, 0, false, NULL); }

static bool listen_at(struct serve *serve, struct err *err)
{
    struct api *api = &serve->api;
    struct http_handlers handlers = api_handlers;
    char *address;
    int port;
    handlers.arg = api;
    if (!config_listen(api->config, &address, &port, err)) return false;
    serve->address = address;
    api->hosts = (struct hosts){ address, config_text(api->config, SET_HOSTS) };
    if (!http_server_new(&serve->loop, address, port, &handlers, &api->server, err)) return false;
    if (!address_is_loopback(address) && !grants_any(api->grants))
        return err_set(err, ERR_INPUT,
                       "on %s others can come in, and there is no token yet: make one with "
                       "`ctutor-run token create NAME --scope admin`, or listen on 127.0.0.1",
                       address);
    bool is_six = strchr(address, ':') != NULL;
    log_info("serving http://%s%s%s:%d", is_six ? "[" : "", address, is_six ? "]" : "",
             http_server_port(api->server));
    show_link(serve);
    return true;
}

/* For whoever sees this terminal; never in a log. */
static void show_link(struct serve *serve)
{
    char code[TOKEN_TEXT_SIZE];
    const char *address = serve->address;
    bool is_any = strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
    bool is_six = strchr(address, ':') && !is_any;
    if (isatty(STDERR_FILENO) != 1) return;
    logins_make_code(serve->api.logins, code);
    fprintf(stderr, "log in (once, within 15 min): http://%s%s%s:%d/login?code=%s\n",
            is_six ? "[" : "", is_any ? "127.0.0.1" : address, is_six ? "]" : "",
            http_server_port(serve->api.server), code);
    explicit_bzero(code, sizeof code);
}

/* SIGHUP is for workers; a terminal that is lost takes this down by SIGTERM's way. */
static void on_signal(void *arg, int number)
{
    struct serve *serve = arg;
    if (number == SIGHUP) return;
    if (serve->is_told) serve->is_late = true; /* a second one: now */
    serve->is_told = true;
}

static void on_patience(struct timer *timer)
{
    container_of(timer, struct serve, patience)->is_late = true;
}

/* Nobody new; who waits hears what is known; what is being written is awaited. */
static void answer_everybody(struct serve *serve)
{
    struct api *api = &serve->api;
    log_info("told to leave");
    http_server_quiesce(api->server);
    api->is_leaving = true;
    waits_end(api->waits);
    reloads_end(api->reloads);
    streams_end(api->streams);
    timer_start(&serve->patience, LEAVE_US);
    while (http_server_is_busy(api->server) && !serve->is_late) loop_turn(&serve->loop, true);
    timer_stop(&serve->patience);
}

/* The stores go first: what they still owe comes back as an error and ends its request. */
static void close_down(struct serve *serve)
{
    struct api *api = &serve->api;
    if (serve->keeper) keeper_stop(serve->keeper);
    if (api->events) events_stop(api->events);
    if (api->follows) follows_stop(api->follows);
    if (api->waits) waits_stop(api->waits);
    if (api->ledger) ledger_free(api->ledger);
    if (api->lists) ledger_free(api->lists);
    if (api->inserts) ledger_free(api->inserts);
    if (serve->keeper_ledger) ledger_free(serve->keeper_ledger);
    if (api->broker) broker_free(api->broker);
    if (serve->keeper) keeper_free(serve->keeper);
    loop_turn(&serve->loop, false);
    if (api->server) http_server_free(api->server);
    if (api->reloads) reloads_free(api->reloads);
    if (api->waits) waits_free(api->waits);
    follows_free(api->follows);
    events_free(api->events);
    streams_free(api->streams);
    served_free(api->served);
    grants_free(api->grants);
    logins_free(api->logins);
    free(serve->address);
    entries_free(api->entries);
    submitter_free(api->submitter);
    signals_close(&serve->signals);
    timer_close(&serve->patience, NULL);
    loop_close(&serve->loop);
    free(serve);
}

/* ---- news ---- */

static void on_redis_up(void *arg)
{
    struct serve *serve = arg;
    if (serve->api.waits) waits_look(serve->api.waits); /* what was announced meanwhile is lost */
}

static void on_redis_lost(void *arg, const struct err *why)
{
    (void)why;
    on_event(arg, "", 0);
}

static void on_event(void *arg, const char *line, size_t len)
{
    struct serve *serve = arg;
    if (serve->api.events) events_line(serve->api.events, line, len);
}

static void on_keeper_news(void *arg, int64_t run_at_us)
{
    struct serve *serve = arg;
    if (serve->keeper) keeper_wake(serve->keeper, run_at_us);
}

static void on_ledger_up(void *arg)
{
    struct serve *serve = arg;
    ledger_listen(serve->api.ledger);
    if (serve->keeper) keeper_wake(serve->keeper, 0);
    if (serve->api.events) events_changed(serve->api.events);
    if (serve->api.entries) entries_forget(serve->api.entries);
    if (serve->api.grants) grants_load(serve->api.grants, NULL, NULL);
}

static void on_ledger_lost(void *arg, const struct err *why)
{
    struct serve *serve = arg;
    (void)why;
    if (serve->api.grants) grants_forget(serve->api.grants);
}

/* A load was published, a worker has answered, or a token changed: rare, and cheap to look at. */
static void on_notify(void *arg)
{
    struct serve *serve = arg;
    if (serve->api.entries) entries_forget(serve->api.entries);
    if (serve->api.reloads) reloads_news(serve->api.reloads);
    if (serve->api.grants) grants_load(serve->api.grants, NULL, NULL);
}

static void on_changed(void *arg)
{
    struct serve *serve = arg;
    if (serve->api.events) events_changed(serve->api.events);
}
