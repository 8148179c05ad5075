/* api.c: a request's way to its handler. */
#include "http/api.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/access.h"

#define SMALL_MAX (INT64_C(1) << 20)
#define BULK_MAX  (INT64_C(64) << 20)
#define TASK_REST (INT64_C(64) << 10) /* of a submission besides its parameters */

static int64_t head(void *arg, struct http_request *request);
static bool is_plain_page(const struct exchange *exchange);
static bool is_of_type(const struct http_request *request, const char *wanted);
static bool is_our_form(struct exchange *exchange);
static int64_t body_max(const struct api *api, enum body_kind kind);
static void handle(void *arg, struct http_request *request);
static void on_visible(void *arg, const char *json, size_t len, const struct err *err);
static void refuse(void *arg, struct http_request *request, const struct err *why);
static void abandoned(void *arg, struct http_request *request);
static struct exchange *exchange_of(struct api *api, struct http_request *request);
static bool is_query_known(struct exchange *exchange);

/* A page may hold what comes from us, and nobody may frame it. */
static const struct http_field security[] = {
    { "Content-Security-Policy", "default-src 'self'; object-src 'none'; base-uri 'none'; "
                                 "form-action 'self'; frame-ancestors 'none'" },
    { "X-Content-Type-Options", "nosniff" },
    { "X-Frame-Options", "DENY" },
    { "Referrer-Policy", "same-origin" }, /* with less, a form of ours has no Origin */
    { "Cross-Origin-Resource-Policy", "same-origin" },
    { 0 }
};
const struct http_handlers api_handlers = {
    .fields = security, .head = head, .handle = handle, .refuse = refuse, .abandoned = abandoned
};

static int64_t head(void *arg, struct http_request *request)
{
    struct api *api = arg;
    struct exchange *exchange = exchange_of(api, request);
    struct err err;
    char allow[64];
    exchange->route =
        route_find(http_method(request), http_path(request), &exchange->word, allow, &err);
    if (!exchange->route) {
        bool is_known = err.code == ERR_INPUT;
        if (is_known) http_set_header(request, "Allow", allow);
        answer_status(exchange, is_known ? 405 : 404, is_known ? "method" : "not_found", "%s",
                      err.text);
        return 0;
    }
    int refused = access_check(exchange, &err);
    if (refused == 401 && is_plain_page(exchange)) {
        answer_redirect(exchange, "/plain/login");
        return 0;
    }
    if (refused) {
        access_refuse(exchange, refused, &err);
        return 0;
    }
    if (exchange->route->body == BODY_FORM) {
        if (!is_our_form(exchange)) return 0;
    } else if (exchange->route->body != BODY_NONE && !is_of_type(request, "application/json")) {
        answer_status(exchange, 415, "media_type",
                      "the body must be application/json (Content-Type)");
        return 0;
    }
    return body_max(api, exchange->route->body);
}

/* What a person opened who needs no script: tells by itself where the way in is. */
static bool is_plain_page(const struct exchange *exchange)
{
    return strncmp(exchange->route->path, "/plain", strlen("/plain")) == 0 &&
           exchange->route->body == BODY_NONE;
}

static bool is_of_type(const struct http_request *request, const char *wanted)
{
    const char *type = http_header(request, "Content-Type");
    size_t len = strlen(wanted);
    return type && strncasecmp(type, wanted, len) == 0 &&
           (type[len] == '\0' || type[len] == ';' || type[len] == ' ');
}

/* Any page may send a form here without asking, so that it must say where it comes from: browsers
 * do; that it comes from us, access_check has seen. false: it has been answered. */
static bool is_our_form(struct exchange *exchange)
{
    bool is_form = is_of_type(exchange->request, "application/x-www-form-urlencoded");
    if (!is_form)
        answer_status(exchange, 415, "media_type",
                      "the body must be application/x-www-form-urlencoded (Content-Type)");
    else if (!http_header(exchange->request, "Origin"))
        answer_status(exchange, 403, "forbidden", "a form must come from a page of this server");
    else
        return true;
    return false;
}

static int64_t body_max(const struct api *api, enum body_kind kind)
{
    switch (kind) {
    case BODY_NONE: return 0;
    case BODY_SMALL: return SMALL_MAX;
    case BODY_FORM:
    case BODY_TASK: return config_int(api->config, SET_MAX_PARAMS) + TASK_REST;
    case BODY_BULK: return BULK_MAX;
    }
    return 0;
}

static void handle(void *arg, struct http_request *request)
{
    struct api *api = arg;
    struct exchange *exchange = http_context(request);
    if (api->is_leaving) {
        answer_status(exchange, 503, "leaving", "this server is stopping");
        return;
    }
    bool has_id = strstr(exchange->route->path, "{id}") != NULL;
    const struct grant *grant = exchange->grant;
    if (has_id && !ident_parse(exchange->word, &exchange->id))
        answer_no_task(exchange);
    else if (!is_query_known(exchange))
        return; /* answered */
    else if (has_id && grant && grant_is_limited(grant))
        ledger_visible(api->ledger, &exchange->id, 1, grant->like, grant_owner(grant), on_visible,
                       exchange);
    else
        exchange->route->handle(exchange);
}

/* Of tasks that a limited token does not reach, it hears nothing. */
static void on_visible(void *arg, const char *json, size_t len, const struct err *err)
{
    struct exchange *exchange = arg;
    (void)json;
    if (err)
        answer_err(exchange, err);
    else if (len <= strlen("[]"))
        answer_no_task(exchange);
    else
        exchange->route->handle(exchange);
}

static void refuse(void *arg, struct http_request *request, const struct err *why)
{
    struct exchange *exchange = http_context(request);
    if (!exchange) exchange = exchange_of(arg, request);
    if (why->code == ERR_TOO_LARGE)
        answer_err(exchange, why);
    else
        answer_status(exchange, 400, "invalid", "%s", why->text);
}

static void abandoned(void *arg, struct http_request *request)
{
    (void)arg;
    exchange_drop(http_context(request));
}

static struct exchange *exchange_of(struct api *api, struct http_request *request)
{
    struct exchange *exchange = xcalloc(1, sizeof *exchange);
    *exchange = (struct exchange){ .api = api, .request = request };
    http_set_context(request, exchange);
    return exchange;
}

struct query_check {
    const struct route_param *known;
    char unknown[64];
};

static bool check_query(void *arg, const char *name, const char *value)
{
    struct query_check *check = arg;
    (void)value;
    for (const struct route_param *param = check->known; param && param->name; param++)
        if (strcmp(param->name, name) == 0) return true;
    strncat(check->unknown, *name ? name : "?", sizeof check->unknown - 1);
    return false;
}

/* A mistyped filter must not pass for none. */
static bool is_query_known(struct exchange *exchange)
{
    struct query_check check = { .known = exchange->route->query };
    http_each_query(exchange->request, check_query, &check);
    if (!check.unknown[0]) return true;
    answer_field(exchange, check.unknown, "is no parameter of %s %s", exchange->route->method,
                 exchange->route->path);
    return false;
}
