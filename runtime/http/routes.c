/* routes.c: the one table of routes: dispatch and documentation come from it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/api.h"

#define FILTER_PARAMS                                                                              \
    { "status", "string",                                                                          \
      "PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED; several with commas" },                 \
        { "name", "string", "tasks of this name" }, { "queue", "string", "in this queue" },        \
        { "tag", "string", "with this label; may be repeated (then all of them)" },                \
        { "worker", "string", "run by this worker" },                                              \
        { "since", "time", "submitted then or later; a duration counts back from now" },           \
    {                                                                                              \
        "until", "time", "submitted before then"                                                   \
    }

#define LAST_EVENT_PARAM                                                                           \
    {                                                                                              \
        "last_event_id", "string", "what came behind it; the header Last-Event-ID counts more"     \
    }

static const struct route_param list_query[] = { FILTER_PARAMS,
                                                 { "limit", "integer", "1 to 1000; default 100" },
                                                 { "offset", "integer",
                                                   "how many to pass over; default 0" },
                                                 { 0 } };
static const struct route_param result_query[] = {
    { "timeout", "duration", "how long to wait until it is final: 0 to 300 s; default 30" }, { 0 }
};
static const struct route_param logs_query[] = {
    { "after", "integer", "the seq of the last line that is known; default 0" },
    { "limit", "integer", "1 to 1000; default 1000" },
    { "follow", "boolean", "true: a stream of its log lines (SSE) until it is final" },
    LAST_EVENT_PARAM,
    { 0 }
};
static const struct route_param events_query[] = { LAST_EVENT_PARAM, { 0 } };

/* Of two that fit, the earlier one counts. */
const struct route route_table[] = {
    { "POST", "/api/tasks/submit", SCOPE_SUBMIT, BODY_TASK, handle_submit, "submit a task", NULL },
    { "POST", "/api/tasks/submit/bulk", SCOPE_SUBMIT, BODY_BULK, handle_submit_bulk,
      "submit up to 10,000 tasks", NULL },
    { "POST", "/api/tasks/cancel", SCOPE_SUBMIT, BODY_SMALL, handle_cancel_many,
      "cancel tasks by id or filter", NULL },
    { "POST", "/api/tasks/retry", SCOPE_SUBMIT, BODY_SMALL, handle_retry_many,
      "run failed or cancelled tasks again", NULL },
    { "POST", "/api/tasks/delete", SCOPE_ADMIN, BODY_SMALL, handle_delete_many,
      "forget final tasks", NULL },
    { "GET", "/api/tasks", SCOPE_READ, BODY_NONE, handle_list, "list tasks, newest first",
      list_query },
    { "GET", "/api/tasks/types", SCOPE_READ, BODY_NONE, handle_types, "the catalogue", NULL },
    { "GET", "/api/tasks/types/{name}", SCOPE_READ, BODY_NONE, handle_type,
      "one task of the catalogue", NULL },
    { "GET", "/api/tasks/workers/status", SCOPE_READ, BODY_NONE, handle_workers_status,
      "workers, their tasks and queues in one answer", NULL },
    { "GET", "/api/tasks/{id}", SCOPE_READ, BODY_NONE, handle_info, "one task", NULL },
    { "GET", "/api/tasks/{id}/status", SCOPE_READ, BODY_NONE, handle_info, "one task", NULL },
    { "GET", "/api/tasks/{id}/result", SCOPE_READ, BODY_NONE, handle_result,
      "wait until a task is final", result_query },
    { "GET", "/api/tasks/{id}/logs", SCOPE_READ, BODY_NONE, handle_logs, "what a task logged",
      logs_query },
    { "GET", "/api/tasks/{id}/events", SCOPE_READ, BODY_NONE, handle_task_events,
      "what happens to a task, until it is final (SSE)", events_query },
    { "DELETE", "/api/tasks/{id}/cancel", SCOPE_SUBMIT, BODY_NONE, handle_cancel, "cancel a task",
      NULL },
    { "POST", "/api/tasks/{id}/cancel", SCOPE_SUBMIT, BODY_NONE, handle_cancel, "cancel a task",
      NULL },
    { "POST", "/api/tasks/{id}/retry", SCOPE_SUBMIT, BODY_NONE, handle_retry,
      "run a failed or cancelled task again", NULL },
    { "DELETE", "/api/tasks/{id}", SCOPE_ADMIN, BODY_NONE, handle_delete, "forget a final task",
      NULL },
    { "GET", "/api/events", SCOPE_READ, BODY_NONE, handle_events, "what happens to all tasks (SSE)",
      events_query },
    { "GET", "/api/workers", SCOPE_READ, BODY_NONE, handle_workers, "the living workers", NULL },
    { "POST", "/api/workers/reload", SCOPE_ADMIN, BODY_NONE, handle_reload,
      "let all workers load their task files anew", NULL },
    { "GET", "/api/queues", SCOPE_READ, BODY_NONE, handle_queues, "the queues", NULL },
    { "POST", "/api/queues/{name}/pause", SCOPE_ADMIN, BODY_NONE, handle_pause,
      "start nothing more from a queue", NULL },
    { "POST", "/api/queues/{name}/resume", SCOPE_ADMIN, BODY_NONE, handle_resume,
      "go on with a paused queue", NULL },
    { "GET", "/healthz", SCOPE_OPEN, BODY_NONE, handle_healthz, "this process lives", NULL },
    { "GET", "/readyz", SCOPE_OPEN, BODY_NONE, handle_readyz, "stores and schema are there", NULL },
    { 0 }
};

static bool fits(const char *pattern, const char *path, const char **word, size_t *len);

const struct route *route_find(const char *method, const char *path, char **word, char allow[64],
                               struct err *err)
{
    if (strcmp(method, "HEAD") == 0) method = "GET";
    allow[0] = '\0';
    for (const struct route *route = route_table; route->method; route++) {
        const char *found = NULL;
        size_t len = 0;
        if (!fits(route->path, path, &found, &len)) continue;
        if (strcmp(route->method, method) == 0) {
            *word = found ? xstrndup(found, len) : NULL;
            return route;
        }
        snprintf(allow + strlen(allow), 64 - strlen(allow), "%s%s", allow[0] ? ", " : "",
                 route->method);
    }
    if (allow[0])
        err_set(err, ERR_INPUT, "%.200s takes %s", path, allow);
    else
        err_set(err, ERR_NOT_FOUND, "there is nothing at %.200s", path);
    return NULL;
}

/* {...} stands for one segment that is not empty. */
static bool fits(const char *pattern, const char *path, const char **word, size_t *len)
{
    while (*pattern && *pattern != '{') {
        if (*pattern++ != *path++) return false;
    }
    if (!*pattern) return !*path;
    *word = path;
    *len = strcspn(path, "/");
    pattern = strchr(pattern, '}') + 1;
    return *len > 0 && strcmp(pattern, path + *len) == 0;
}
