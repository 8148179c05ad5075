/* source.c: see source.h: the questions. */
#include "cli/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/remote.h"
#include "cli/remote_paths.h"
#include "io/web.h"

bool source_open(struct app *app, struct err *err)
{
    if (!config_wants_api(app->config)) return app_open_stores(app, err);
    return remote_new(&app->loop, app->config, &app->remote, err);
}

void source_info(struct app *app, const struct ident *id, ledger_json_fn *done, void *arg)
{
    char path[REMOTE_PATH_SIZE];
    if (!app->remote) {
        ledger_info(app->ledger, id, done, arg);
        return;
    }
    remote_task_path(path, id, "");
    remote_get(app->remote, path, done, arg);
}

/* Status 202 brings the TaskInfo of what is not final. */
void source_result(struct app *app, const struct ident *id, ledger_json_fn *done, void *arg)
{
    char path[REMOTE_PATH_SIZE];
    if (!app->remote) {
        ledger_result(app->ledger, id, done, arg);
        return;
    }
    remote_task_path(path, id, "/result?timeout=0");
    remote_get(app->remote, path, done, arg);
}

void source_logs(struct app *app, const struct ident *id, int64_t after_seq, int32_t limit,
                 ledger_json_fn *done, void *arg)
{
    char path[REMOTE_PATH_SIZE], what[80];
    if (!app->remote) {
        ledger_logs(app->ledger, id, after_seq, limit, done, arg);
        return;
    }
    snprintf(what, sizeof what, "/logs?after=%lld&limit=%d", (long long)after_seq, (int)limit);
    remote_task_path(path, id, what);
    remote_get(app->remote, path, done, arg);
}

void source_list(struct app *app, const struct task_filter *filter, ledger_json_fn *done, void *arg)
{
    struct buf path = BUF_EMPTY;
    if (!app->remote) {
        ledger_list(app->ledger, filter, done, arg);
        return;
    }
    buf_addf(&path, "/tasks?limit=%lld&offset=%lld", (long long)filter->limit,
             (long long)filter->offset);
    remote_add_filter(&path, filter);
    remote_get(app->remote, buf_text(&path), done, arg);
    buf_close(&path);
}

void source_queues(struct app *app, ledger_json_fn *done, void *arg)
{
    if (app->remote)
        remote_get(app->remote, "/queues", done, arg);
    else
        ledger_queues(app->ledger, done, arg);
}

void source_workers(struct app *app, ledger_json_fn *done, void *arg)
{
    if (app->remote)
        remote_get(app->remote, "/workers", done, arg);
    else
        ledger_workers(app->ledger, done, arg);
}

struct type_search {
    ledger_json_fn *done;
    void *arg;
};

/* One becomes an array of one, nothing an empty array. */
static void on_type(void *arg, const char *json, size_t len, const struct err *err)
{
    struct type_search *search = arg;
    struct buf array = BUF_EMPTY;
    buf_add_char(&array, '[');
    buf_add(&array, json, len);
    buf_add_char(&array, ']');
    search->done(search->arg, buf_text(&array), array.len, err);
    buf_close(&array);
    free(search);
}

void source_types(struct app *app, const char *name, ledger_json_fn *done, void *arg)
{
    struct buf path = BUF_EMPTY;
    if (!app->remote) {
        ledger_catalogue_list(app->ledger, name, done, arg);
        return;
    }
    buf_add_text(&path, "/tasks/types");
    if (name) {
        struct type_search *search = xcalloc(1, sizeof *search);
        *search = (struct type_search){ done, arg };
        buf_add_char(&path, '/');
        web_add_escaped(&path, name);
        remote_get(app->remote, buf_text(&path), on_type, search);
    } else {
        remote_get(app->remote, buf_text(&path), done, arg);
    }
    buf_close(&path);
}

/* ---- what happens to a task ---- */

static void on_event(void *arg, const char *line, size_t len)
{
    struct app *app = arg;
    if (app->news.event) app->news.event(app->news.arg, line, len);
}

void source_follow(struct app *app, const struct ident *id)
{
    if (app->remote)
        remote_follow(app->remote, id, on_event, app);
    else if (app->broker)
        broker_listen(app->broker, BROKER_EVENTS);
}

void source_unfollow(struct app *app)
{
    if (app->remote) remote_unfollow(app->remote);
}
