/* app.c: opens and closes what a command works with, and says what went wrong. */
#include "cli/app.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "lifecycle/error_json.h"

#define LEDGER_WAIT_US INT64_C(5000000)

static void on_late(struct timer *timer);
static bool is_ledger_up(const struct app *app);
static bool is_broker_up(const struct app *app);
static void on_ledger_lost(void *arg, const struct err *why);
static void on_control(void *arg);
static void on_event(void *arg, const char *line, size_t len);
static void on_wake(void *arg, const char *queue);
static void on_epoch(void *arg, const char *epoch, const struct err *err);

void app_init(struct app *app)
{
    *app = (struct app){ 0 };
    const char *no_color = getenv("NO_COLOR");
    app->terminal_out = isatty(STDOUT_FILENO) == 1;
    app->terminal_err = isatty(STDERR_FILENO) == 1;
    app->colour = app->terminal_out && !(no_color && *no_color);
    loop_init(&app->loop);
    timer_init(&app->loop, &app->deadline, on_late);
}

void app_close(struct app *app)
{
    if (app->remote) remote_free(app->remote);
    if (app->broker) broker_free(app->broker);
    if (app->ledger) ledger_free(app->ledger);
    timer_close(&app->deadline, NULL); /* lives as long as the loop */
    loop_close(&app->loop);
    config_free(app->config);
}

bool app_wait_until(struct app *app, bool (*is_true)(const struct app *app), int64_t at_most_us)
{
    app->is_late = false;
    timer_start(&app->deadline, at_most_us);
    while (!is_true(app) && !app->is_late) loop_turn(&app->loop, true);
    timer_stop(&app->deadline);
    return is_true(app);
}

static void on_late(struct timer *timer)
{
    container_of(timer, struct app, deadline)->is_late = true;
}

bool app_open_ledger(struct app *app, struct err *err)
{
    char *conninfo = NULL;
    if (!config_postgres_conninfo(app->config, &conninfo, err)) return false;
    const struct ledger_hooks hooks = { .arg = app, .lost = on_ledger_lost, .control = on_control };
    app->ledger = ledger_new(&app->loop, conninfo, config_text(app->config, SET_NAMESPACE),
                             "ctutor-run", &hooks);
    explicit_bzero(conninfo, strlen(conninfo));
    free(conninfo);
    if (app_wait_until(app, is_ledger_up, LEDGER_WAIT_US)) return true;
    char *shown = config_postgres_shown(app->config);
    err_set(err, ERR_STORE,
            "Postgres (%s) does not answer%s%s. DATABASE_URL says where it is, `ctutor-run up` "
            "starts one",
            shown, app->ledger_why.code ? ": " : "", app->ledger_why.text);
    free(shown);
    return false;
}

static bool is_ledger_up(const struct app *app) { return ledger_is_up(app->ledger); }

static void on_ledger_lost(void *arg, const struct err *why)
{
    struct app *app = arg;
    if (why) app->ledger_why = *why;
}

static void on_control(void *arg)
{
    struct app *app = arg;
    if (app->news.control) app->news.control(app->news.arg);
}

bool app_open_broker(struct app *app, struct err *err)
{
    struct redis_target target;
    if (!config_redis_target(app->config, &target, err)) return false;
    const struct broker_hooks hooks = { .arg = app, .event = on_event, .wake = on_wake };
    app->broker = broker_new(&app->loop, &target, config_text(app->config, SET_NAMESPACE), &hooks);
    redis_target_close(&target);
    return true;
}

static void on_event(void *arg, const char *line, size_t len)
{
    struct app *app = arg;
    if (app->news.event) app->news.event(app->news.arg, line, len);
}

static void on_wake(void *arg, const char *queue)
{
    struct app *app = arg;
    if (app->news.wake) app->news.wake(app->news.arg, queue);
}

bool app_open_stores(struct app *app, struct err *err)
{
    return app_use_stores(app, err) && app_open_broker(app, err) && app_open_ledger(app, err) &&
           app_check_schema(app, err);
}

bool app_use_stores(struct app *app, struct err *err)
{
    bool is_json = strcmp(config_text(app->config, SET_LOG_FORMAT), "json") == 0;
    if (config_origin(app->config, SET_LOG) == ORIGIN_DEFAULT) log_init(LOG_ERROR, is_json, "");
    return app_refuse_api(app, err);
}

/* Whoever asks for the API must not be served from some stores that happen to be found. Commands
 * that an API can answer do not come here (source.h). */
bool app_refuse_api(const struct app *app, struct err *err)
{
    if (!config_wants_api(app->config)) return true;
    return err_set(err, ERR_INPUT,
                   "this needs Redis and Postgres themselves, and CTUTOR_API_URL with CTUTOR_TOKEN "
                   "(from %s) names a REST API: unset them where the stores can be reached",
                   config_origin_text(app->config, SET_API_URL));
}

bool app_check_schema(struct app *app, struct err *err)
{
    struct await await = { 0 };
    ledger_schema_version(app->ledger, await_done, &await);
    if (!await_run(&app->loop, &await, err)) return false;
    const char *namespace = config_text(app->config, SET_NAMESPACE);
    if (await.count == 0)
        return err_set(err, ERR_INPUT,
                       "Postgres has no schema %s yet: a worker makes it when it starts, or run "
                       "ctutor-run migrate",
                       namespace);
    if (await.count < LEDGER_SCHEMA_VERSION)
        return err_set(err, ERR_INPUT,
                       "the schema %s is of an older version: run ctutor-run migrate", namespace);
    if (await.count > LEDGER_SCHEMA_VERSION)
        return err_set(err, ERR_INPUT, "the schema %s is newer than this program: update it",
                       namespace);
    return true;
}

bool app_wait_broker(struct app *app, int64_t at_most_us)
{
    return app_wait_until(app, is_broker_up, at_most_us);
}

static bool is_broker_up(const struct app *app) { return broker_is_up(app->broker); }

/* What is sent while it is away comes back at once, with the reason. */
bool app_need_broker(struct app *app, int64_t at_most_us, struct err *err)
{
    struct await await = { 0 };
    if (app_wait_broker(app, at_most_us)) return true;
    broker_epoch_get(app->broker, on_epoch, &await);
    return await_run(&app->loop, &await, err);
}

/* Redis answers in order. Twice, for a script that Redis does not know yet is sent again when it
 * says so. */
void app_flush_broker(struct app *app)
{
    for (int i = 0; i < 2 && broker_is_up(app->broker); i++) {
        struct await await = { 0 };
        broker_epoch_get(app->broker, on_epoch, &await);
        if (!await_run(&app->loop, &await, NULL)) return;
    }
}

static void on_epoch(void *arg, const char *epoch, const struct err *err)
{
    (void)epoch;
    await_broker(arg, err);
}

const char *app_actor(void)
{
    static char actor[sizeof "cli:@" + 64 + 256];
    const struct passwd *user = getpwuid(geteuid());
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    if (user)
        snprintf(actor, sizeof actor, "cli:%.64s@%s", user->pw_name, host);
    else
        snprintf(actor, sizeof actor, "cli:%ld@%s", (long)geteuid(), host);
    return actor;
}

const char *app_error_code(enum err_code code)
{
    switch (code) {
    case ERR_INPUT: return "invalid";
    case ERR_DENIED: return "forbidden";
    case ERR_CONFLICT: return "conflict";
    case ERR_TOO_LARGE: return "too_large";
    case ERR_STORE: return "unavailable";
    case ERR_NOT_FOUND: return "not_found";
    case ERR_NOT_FINAL: return "not_final";
    case ERR_STATE: return "refused";
    case ERR_DEADLINE: return "timeout";
    case ERR_INTERRUPTED: return "interrupted";
    case ERR_FULL: return "full";
    case ERR_NONE:
    case ERR_CANCELLED:
    case ERR_DATA:
    case ERR_RETRY:
    case ERR_NOMEM:
    case ERR_IO:
    case ERR_INTERNAL: break;
    }
    return "failed";
}

int app_fail(struct app *app, const struct err *err) { return app_fail_fields(app, err, NULL, 0); }

int app_fail_fields(struct app *app, const struct err *err, const struct params_error *fields,
                    size_t count)
{
    if (!count) output_note("%s", err->text);
    for (size_t i = 0; i < count; i++) output_note("%s: %s", fields[i].field, fields[i].message);
    if (app->json) {
        struct buf out = BUF_EMPTY;
        error_json(&out, err->text, app_error_code(err->code), fields, count);
        output_line(&out);
        buf_close(&out);
    }
    return err_exit_status(err->code);
}
