/* answer.c: answers, in the words of the contract. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "http/api.h"
#include "lifecycle/error_json.h"

static void end(struct exchange *exchange, int status, const char *type, struct buf *takes_body);
static void set_headers(struct http_request *request);
static void exchange_free(struct exchange *exchange);

struct edge {
    enum err_code code;
    int status;
    const char *word;
};
static const struct edge edges[] = {
    { ERR_INPUT, 422, "invalid" },       { ERR_CONFLICT, 409, "conflict" },
    { ERR_TOO_LARGE, 413, "too_large" }, { ERR_STORE, 503, "unavailable" },
    { ERR_NOT_FOUND, 404, "not_found" }, { ERR_STATE, 409, "refused" },
    { ERR_DEADLINE, 504, "timeout" },    { ERR_DATA, 422, "invalid" },
    { ERR_FULL, 503, "full" },           { ERR_DENIED, 403, "forbidden" },
};

static const struct edge *edge_of(enum err_code code)
{
    static const struct edge other = { ERR_INTERNAL, 500, "failed" };
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        if (edges[i].code == code) return &edges[i];
    return &other;
}

void answer_json(struct exchange *exchange, int status, struct buf *takes_json)
{
    end(exchange, status, "application/json", takes_json);
}

void answer_bytes(struct exchange *exchange, int status, const char *type, struct buf *takes_body)
{
    end(exchange, status, type, takes_body);
}

void answer_text(struct exchange *exchange, int status, const char *json, size_t len)
{
    struct buf out = BUF_EMPTY;
    buf_add(&out, json, len);
    answer_json(exchange, status, &out);
}

void answer_shared(struct exchange *exchange, int status, struct http_bytes *json)
{
    set_headers(exchange->request);
    http_answer_bytes(exchange->request, status, "application/json", json);
    exchange_free(exchange);
}

void answer_err(struct exchange *exchange, const struct err *err)
{
    answer_fields(exchange, err, NULL, 0);
}

void answer_fields(struct exchange *exchange, const struct err *err,
                   const struct params_error *fields, size_t count)
{
    const struct edge *edge = edge_of(err->code);
    struct buf out = BUF_EMPTY;
    if (edge->status == 500)
        log_error("%s %s: %s", exchange->route->method, exchange->route->path, err->text);
    if (edge->status == 503) http_set_header(exchange->request, "Retry-After", "1");
    error_json(&out, err->text, edge->word, fields, count);
    answer_json(exchange, edge->status, &out);
}

void answer_error_json(struct buf *out, const struct err *err, const struct params_error *fields,
                       size_t count)
{
    error_json(out, err->text, edge_of(err->code)->word, fields, count);
}

void answer_field(struct exchange *exchange, const char *field, const char *fmt, ...)
{
    struct params_error wrong = { 0 };
    struct err err;
    va_list args;
    snprintf(wrong.field, sizeof wrong.field, "%s", field);
    va_start(args, fmt);
    vsnprintf(wrong.message, sizeof wrong.message, fmt, args);
    va_end(args);
    err_set(&err, ERR_INPUT, "%s: %s", wrong.field, wrong.message);
    answer_fields(exchange, &err, &wrong, 1);
}

void answer_no_task(struct exchange *exchange)
{
    answer_status(exchange, 404, "not_found", "there is no task %s", exchange->word);
}

/* Not by a redirect: that would belong to whatever site the link was on, and the cookie that comes
 * with it would not be sent. */
void answer_go(struct exchange *exchange)
{
    static const char page[] = "<!doctype html><meta charset=utf-8><title>ctutor-run</title>"
                               "<meta http-equiv=refresh content=\"0;url=/\"><a href=/>go on</a>";
    struct buf out = BUF_EMPTY;
    buf_add_text(&out, page);
    end(exchange, 200, "text/html; charset=utf-8", &out);
}

void answer_status(struct exchange *exchange, int status, const char *code, const char *fmt, ...)
{
    struct buf out = BUF_EMPTY;
    char text[500];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    error_json(&out, text, code, NULL, 0);
    answer_json(exchange, status, &out);
}

void answer_from_ledger(void *arg, const char *json, size_t len, const struct err *err)
{
    struct exchange *exchange = arg;
    if (err)
        answer_err(exchange, err);
    else if (len == 0)
        answer_no_task(exchange);
    else
        answer_text(exchange, 200, json, len);
}

void answer_static(struct exchange *exchange, int status, const char *type, const void *body,
                   size_t len)
{
    http_answer_static(exchange->request, status, type, body, len);
    exchange_free(exchange);
}

void answer_file(struct exchange *exchange, int status, const char *type, struct buf *takes_body)
{
    http_answer(exchange->request, status, type, takes_body);
    exchange_free(exchange);
}

void answer_page(struct exchange *exchange, int status, struct buf *takes_html)
{
    end(exchange, status, "text/html; charset=utf-8", takes_html);
}

void answer_redirect(struct exchange *exchange, const char *to)
{
    http_set_header(exchange->request, "Location", to);
    end(exchange, 303, NULL, NULL);
}

static void exchange_free(struct exchange *exchange)
{
    grant_drop(exchange->grant);
    free(exchange->word);
    free(exchange);
}

void exchange_drop(struct exchange *exchange)
{
    http_drop(exchange->request);
    exchange_free(exchange);
}

void answer_nothing(struct exchange *exchange) { end(exchange, 204, NULL, NULL); }

struct http_stream *answer_stream(struct exchange *exchange, const char *type,
                                  const struct http_stream_hooks *hooks)
{
    struct http_request *request = exchange->request;
    set_headers(request);
    http_set_header(request, "X-Content-Type-Options", "nosniff");
    http_set_header(request, "X-Accel-Buffering", "no"); /* nginx must not hold it back */
    exchange_free(exchange);
    return http_stream_start(request, type, hooks);
}

static void set_headers(struct http_request *request)
{
    http_set_header(request, "Cache-Control", "no-store");
}

static void end(struct exchange *exchange, int status, const char *type, struct buf *takes_body)
{
    struct http_request *request = exchange->request;
    set_headers(request);
    http_answer(request, status, type, takes_body);
    exchange_free(exchange);
}

bool body_json(struct exchange *exchange, json_type type, json_t **out)
{
    size_t len;
    struct err err;
    const char *text = http_body(exchange->request, &len);
    if (!params_parse_body(text, len, "the body", out, &err)) {
        answer_field(exchange, "body", "%s", err.text);
        return false;
    }
    if (json_typeof(*out) == type) return true;
    json_decref(*out);
    *out = NULL;
    answer_field(exchange, "body", "must be a JSON %s", type == JSON_ARRAY ? "array" : "object");
    return false;
}

bool body_has_only(struct exchange *exchange, const json_t *body, const char *const *names)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)body, key, value)
    {
        bool is_known = false;
        for (size_t i = 0; names[i]; i++) is_known = is_known || strcmp(key, names[i]) == 0;
        if (is_known) continue;
        answer_field(exchange, key, "is not a field of this request");
        return false;
    }
    return true;
}
