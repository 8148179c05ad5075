/* legacy.c: GET /api/tasks/workers/status, in the shape of the system before: everything that an
 * overview needs in one answer. Three questions, joined here. */
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "http/api.h"

struct joining {
    struct exchange *exchange;
    json_t *workers, *queues, *running;
    int open;
    struct err err;
};

static void on_workers(void *arg, const char *json, size_t len, const struct err *err);
static void on_queues(void *arg, const char *json, size_t len, const struct err *err);
static void on_running(void *arg, const char *json, size_t len, const struct err *err);
static void took(struct joining *joining, json_t **out, const char *json, size_t len,
                 const struct err *err);
static void answer_joined(struct joining *joining);

void handle_workers_status(struct exchange *exchange)
{
    static const struct task_filter running = { .statuses = "STARTED", .limit = 1000 };
    struct joining *joining = xcalloc(1, sizeof *joining);
    joining->exchange = exchange;
    joining->open = 3;
    ledger_workers(exchange->api->lists, on_workers, joining);
    ledger_queues(exchange->api->lists, on_queues, joining);
    ledger_list(exchange->api->lists, &running, on_running, joining);
}

static void on_workers(void *arg, const char *json, size_t len, const struct err *err)
{
    struct joining *joining = arg;
    took(joining, &joining->workers, json, len, err);
}

static void on_queues(void *arg, const char *json, size_t len, const struct err *err)
{
    struct joining *joining = arg;
    took(joining, &joining->queues, json, len, err);
}

static void on_running(void *arg, const char *json, size_t len, const struct err *err)
{
    struct joining *joining = arg;
    took(joining, &joining->running, json, len, err);
}

static void took(struct joining *joining, json_t **out, const char *json, size_t len,
                 const struct err *err)
{
    if (err)
        joining->err = *err;
    else
        *out = params_load(json, len);
    if (--joining->open > 0) return;
    if (joining->err.code)
        answer_err(joining->exchange, &joining->err);
    else
        answer_joined(joining);
    json_decref(joining->workers);
    json_decref(joining->queues);
    json_decref(joining->running);
    free(joining);
}

static void answer_joined(struct joining *joining)
{
    const json_t *workers = json_object_get(joining->workers, "workers"), *item;
    const json_t *tasks = json_object_get(joining->running, "tasks");
    json_t *by_name = json_object(), *queues = json_object();
    size_t index;
    json_array_foreach((json_t *)(uintptr_t)workers, index, item) json_object_set_new(
        by_name, json_string_value(json_object_get(item, "name")), json_array());
    json_array_foreach((json_t *)(uintptr_t)tasks, index, item)
    {
        json_t *list = json_object_get(by_name, json_string_value(json_object_get(item, "worker")));
        json_array_append(list, (json_t *)(uintptr_t)item);
    }
    json_array_foreach(json_object_get(joining->queues, "queues"), index, item) json_object_set(
        queues, json_string_value(json_object_get(item, "name")), json_object_get(item, "waiting"));
    char *shown = config_redis_shown(joining->exchange->api->config);
    json_t *root = json_pack("{s{sIso}sossss}", "workers", "active_count",
                             (json_int_t)json_array_size(workers), "workers", by_name, "queues",
                             queues, "broker_url", shown, "status",
                             json_array_size(workers) ? "healthy" : "no workers");
    struct buf out = BUF_EMPTY;
    params_write(&out, root);
    answer_json(joining->exchange, 200, &out);
    json_decref(root);
    free(shown);
}
