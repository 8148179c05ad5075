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
        { "tag", "strings", "with this label; may be repeated (then all of them)" },               \
        { "worker", "string", "run by this worker" },                                              \
        { "text", "string", "with this text in the parameters as they are shown" },                \
        { "parent", "string", "submitted by this task" },                                          \
        { "since", "time", "submitted then or later; a duration counts back from now" },           \
    {                                                                                              \
        "until", "time", "submitted before then"                                                   \
    }

static const struct route_param list_query[] = {
    FILTER_PARAMS,
    { "sort", "string", "created_at: oldest first; -created_at (default): newest first" },
    { "limit", "integer", "1 to 1000; default 100" },
    { "offset", "integer", "how many to pass over; default 0" },
    { 0 }
};
#define LAST_EVENT_PARAM                                                                           \
    {                                                                                              \
        "last_event_id", "string", "what came behind it; the header Last-Event-ID counts more"     \
    }

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

static const struct route_param reload_query[] = {
    { "name", "string", "this worker; may be repeated. Without name and host: all" },
    { "host", "string", "the workers of this machine" },
    { 0 }
};
static const struct route_param login_query[] = {
    { "code", "string", "of the link that `serve` shows on its terminal" }, { 0 }
};
static const struct route_param audit_query[] = { { "limit", "integer", "1 to 1000; default 100" },
                                                  { "offset", "integer",
                                                    "how many to pass over; default 0" },
                                                  { 0 } };
static const struct route_param stats_query[] = { { "since", "duration",
                                                    "how far back: 1m to 8d; default 1h" },
                                                  { "name", "string", "tasks of this name" },
                                                  { "queue", "string", "in this queue" },
                                                  { 0 } };

/* Of two that fit, the earlier one counts. */
const struct route route_table[] = {
    { "POST", "/api/tasks/submit", SCOPE_SUBMIT, BODY_TASK, handle_submit, "submit a task", NULL,
      true },
    { "POST", "/api/tasks/submit/bulk", SCOPE_SUBMIT, BODY_BULK, handle_submit_bulk,
      "submit up to 10,000 tasks", NULL, true },
    { "POST", "/api/tasks/cancel", SCOPE_SUBMIT, BODY_SMALL, handle_cancel_many,
      "cancel tasks by id or filter", NULL, true },
    { "POST", "/api/tasks/retry", SCOPE_SUBMIT, BODY_SMALL, handle_retry_many,
      "run failed or cancelled tasks again", NULL, true },
    { "POST", "/api/tasks/delete", SCOPE_ADMIN, BODY_SMALL, handle_delete_many,
      "forget final tasks", NULL, true },
    { "GET", "/api/tasks", SCOPE_READ, BODY_NONE, handle_list, "list tasks", list_query, true },
    { "GET", "/api/tasks/types", SCOPE_READ, BODY_NONE, handle_types, "the catalogue", NULL, true },
    { "GET", "/api/tasks/types/{name}", SCOPE_READ, BODY_NONE, handle_type,
      "one task of the catalogue", NULL, true },
    { "GET", "/api/tasks/workers/status", SCOPE_READ, BODY_NONE, handle_workers_status,
      "workers, their tasks and queues in one answer", NULL, false },
    { "GET", "/api/tasks/{id}", SCOPE_READ, BODY_NONE, handle_info, "one task", NULL, true },
    { "GET", "/api/tasks/{id}/status", SCOPE_READ, BODY_NONE, handle_info, "one task", NULL, true },
    { "GET", "/api/tasks/{id}/result", SCOPE_READ, BODY_NONE, handle_result,
      "wait until a task is final", result_query, true },
    { "GET", "/api/tasks/{id}/logs", SCOPE_READ, BODY_NONE, handle_logs, "what a task logged",
      logs_query, true },
    { "GET", "/api/tasks/{id}/events", SCOPE_READ, BODY_NONE, handle_task_events,
      "what happens to a task, until it is final (SSE)", events_query, true },
    { "DELETE", "/api/tasks/{id}/cancel", SCOPE_SUBMIT, BODY_NONE, handle_cancel, "cancel a task",
      NULL, true },
    { "POST", "/api/tasks/{id}/cancel", SCOPE_SUBMIT, BODY_NONE, handle_cancel, "cancel a task",
      NULL, true },
    { "POST", "/api/tasks/{id}/retry", SCOPE_SUBMIT, BODY_NONE, handle_retry,
      "run a failed or cancelled task again", NULL, true },
    { "DELETE", "/api/tasks/{id}", SCOPE_ADMIN, BODY_NONE, handle_delete, "forget a final task",
      NULL, true },
    { "GET", "/api/events", SCOPE_READ, BODY_NONE, handle_events, "what happens to all tasks (SSE)",
      events_query, false },
    { "GET", "/api/workers", SCOPE_READ, BODY_NONE, handle_workers, "the living workers", NULL,
      true },
    { "POST", "/api/workers/reload", SCOPE_ADMIN, BODY_NONE, handle_reload,
      "let workers load their task files anew", reload_query, false },
    { "GET", "/api/queues", SCOPE_READ, BODY_NONE, handle_queues, "the queues", NULL, true },
    { "POST", "/api/queues/{name}/pause", SCOPE_ADMIN, BODY_NONE, handle_pause,
      "start nothing more from a queue", NULL, false },
    { "POST", "/api/queues/{name}/resume", SCOPE_ADMIN, BODY_NONE, handle_resume,
      "go on with a paused queue", NULL, false },
    { "GET", "/api/tokens", SCOPE_ADMIN, BODY_NONE, handle_tokens, "the tokens, without secrets",
      NULL, false },
    { "POST", "/api/tokens", SCOPE_ADMIN, BODY_SMALL, handle_token_create,
      "make a token; its secret is told once", NULL, false },
    { "DELETE", "/api/tokens/{token}", SCOPE_ADMIN, BODY_NONE, handle_token_revoke,
      "revoke a token, or a session", NULL, false },
    { "GET", "/api/audit", SCOPE_ADMIN, BODY_NONE, handle_audit, "what operators did, newest first",
      audit_query, false },
    { "GET", "/api/session", SCOPE_READ, BODY_NONE, handle_session, "who is asking, and may what",
      NULL, true },
    { "POST", "/login", SCOPE_PAGE, BODY_SMALL, handle_login,
      "open a session: {token}, or {user, password}", NULL, false },
    { "GET", "/login", SCOPE_PAGE, BODY_NONE, handle_login_link, "open a session by a link",
      login_query, false },
    { "POST", "/logout", SCOPE_PAGE, BODY_NONE, handle_logout, "end the session", NULL, false },
    { "GET", "/api/openapi.json", SCOPE_READ, BODY_NONE, handle_openapi,
      "this document: OpenAPI 3.1 with a schema for each task", NULL, true },
    { "GET", "/api/stats", SCOPE_READ, BODY_NONE, handle_stats, "what was done, step by step",
      stats_query, false },
    { "GET", "/metrics", SCOPE_READ, BODY_NONE, handle_metrics, "figures for Prometheus", NULL,
      false },
    { "GET", "/", SCOPE_OPEN, BODY_NONE, handle_dashboard, "the dashboard", NULL, false },
    { "GET", "/assets/{name}", SCOPE_OPEN, BODY_NONE, handle_asset, "a file of the dashboard", NULL,
      false },
    { "GET", "/plain", SCOPE_READ, BODY_NONE, handle_plain_list, "tasks, as a page without scripts",
      list_query, false },
    { "GET", "/plain/tasks/{id}", SCOPE_READ, BODY_NONE, handle_plain_task,
      "one task, as a page without scripts", NULL, false },
    { "GET", "/plain/run", SCOPE_READ, BODY_NONE, handle_plain_types,
      "the catalogue, as a page without scripts", NULL, false },
    { "GET", "/plain/run/{name}", SCOPE_READ, BODY_NONE, handle_plain_form,
      "a form that submits a task", NULL, false },
    { "POST", "/plain/run/{name}", SCOPE_SUBMIT, BODY_FORM, handle_plain_run,
      "submit a task by its form", NULL, false },
    { "GET", "/plain/login", SCOPE_OPEN, BODY_NONE, handle_plain_login,
      "a form that opens a session", NULL, false },
    { "POST", "/plain/login", SCOPE_PAGE, BODY_FORM, handle_plain_login_sent,
      "open a session by its form", NULL, false },
    { "GET", "/healthz", SCOPE_OPEN, BODY_NONE, handle_healthz, "this process lives", NULL, false },
    { "GET", "/readyz", SCOPE_OPEN, BODY_NONE, handle_readyz, "stores and schema are there", NULL,
      false },
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
