/* request.c: what the application asks of a request, and answers it. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/server_private.h"

static void on_hangup(uv_poll_t *handle, int status, int events);
static void on_watch_closed(uv_handle_t *handle);

const char *http_method(const struct http_request *request) { return request->method; }

const char *http_path(const struct http_request *request) { return request->path; }

const char *http_query(const struct http_request *request, const char *name)
{
    const char *value = NULL;
    enum MHD_Result found = MHD_lookup_connection_value_n(
        request->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value, NULL);
    return found == MHD_YES && !value ? "" : value;
}

struct query_visit {
    bool (*visit)(void *arg, const char *name, const char *value);
    void *arg;
};

static enum MHD_Result visit_query(void *cls, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct query_visit *visit = cls;
    (void)kind;
    return visit->visit(visit->arg, name, value ? value : "") ? MHD_YES : MHD_NO;
}

void http_each_query(struct http_request *request,
                     bool (*visit)(void *arg, const char *name, const char *value), void *arg)
{
    struct query_visit each = { visit, arg };
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, visit_query, &each);
}

const char *http_header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *http_cookie(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_COOKIE_KIND, name);
}

const char *http_body(const struct http_request *request, size_t *len)
{
    *len = request->body.len;
    return buf_text(&request->body);
}

const struct sockaddr *http_peer(const struct http_request *request)
{
    return MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)
        ->client_addr;
}

bool http_peer_is_loopback(const struct http_request *request)
{
    const struct sockaddr *peer = http_peer(request);
    if (peer->sa_family == AF_INET) {
        uint32_t address = ntohl(((const struct sockaddr_in *)(const void *)peer)->sin_addr.s_addr);
        return address >> 24 == 127;
    }
    const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
    return peer->sa_family == AF_INET6 &&
           (IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127));
}

void http_set_context(struct http_request *request, void *context) { request->context = context; }

void *http_context(const struct http_request *request) { return request->context; }

void http_set_header(struct http_request *request, const char *name, const char *value)
{
    struct header *header = xcalloc(1, sizeof *header);
    *header = (struct header){ request->headers, xstrdup(name), xstrdup(value) };
    request->headers = header;
}

static void answer(struct http_request *request, int status, const char *content_type, size_t len,
                   struct MHD_Response *takes_response)
{
    request->answer_len = (int64_t)len;
    if (content_type) MHD_add_response_header(takes_response, "Content-Type", content_type);
    request_send(request, status, takes_response);
}

void http_answer(struct http_request *request, int status, const char *content_type,
                 struct buf *takes_body)
{
    size_t len = takes_body ? takes_body->len : 0;
    char *body = takes_body ? buf_take(takes_body) : NULL;
    answer(request, status, content_type, len,
           MHD_create_response_from_buffer(len, body, MHD_RESPMEM_MUST_FREE));
}

void http_answer_static(struct http_request *request, int status, const char *content_type,
                        const void *body, size_t len)
{
    answer(request, status, content_type, len,
           MHD_create_response_from_buffer(len, (void *)(uintptr_t)body, MHD_RESPMEM_PERSISTENT));
}

struct http_bytes {
    size_t holders, len;
    char data[];
};

struct http_bytes *http_bytes_new(const void *data, size_t len)
{
    struct http_bytes *bytes = xmalloc(sizeof *bytes + len);
    bytes->holders = 1;
    bytes->len = len;
    memcpy(bytes->data, data, len);
    return bytes;
}

void http_bytes_drop(struct http_bytes *bytes)
{
    if (--bytes->holders == 0) free(bytes);
}

static void on_sent(void *bytes) { http_bytes_drop(bytes); }

void http_answer_bytes(struct http_request *request, int status, const char *content_type,
                       struct http_bytes *bytes)
{
    bytes->holders++;
    answer(request, status, content_type, bytes->len,
           MHD_create_response_from_buffer_with_free_callback_cls(bytes->len, bytes->data, on_sent,
                                                                  bytes));
}

static void headers_free(struct http_request *request)
{
    for (struct header *header = request->headers, *next; header; header = next) {
        next = header->next;
        free(header->name);
        free(header->value);
        free(header);
    }
    request->headers = NULL;
}

void request_send(struct http_request *request, int status, struct MHD_Response *takes_response)
{
    const struct http_field *field = request->server->handlers.fields;
    /* A stream is no page, and thousands of them would each hold these. */
    for (; !request->is_stream && field && field->name; field++)
        MHD_add_response_header(takes_response, field->name, field->value);
    for (const struct header *header = request->headers; header; header = header->next)
        MHD_add_response_header(takes_response, header->name, header->value);
    headers_free(request); /* a stream lives long */
    http_unwatch(request);
    request->status = status;
    request->response = takes_response;
    request->phase = PHASE_ANSWERED;
    connection_resume(request);
}

void http_drop(struct http_request *request)
{
    http_unwatch(request);
    request->phase = PHASE_DROPPED;
    connection_resume(request);
}

void connection_suspend(struct http_request *request)
{
    request->is_suspended = true;
    MHD_suspend_connection(request->connection);
}

/* Within a callback of MHD nothing is suspended: the callback hands over what there is. */
void connection_resume(struct http_request *request)
{
    if (!request->is_suspended) return;
    request->is_suspended = false;
    MHD_resume_connection(request->connection);
    loop_defer(request->server->loop, &request->server->resumed);
}

/* ---- has the client gone? While a connection is suspended, MHD does not look. ---- */

void http_watch(struct http_request *request, void (*gone)(void *arg, struct http_request *request),
                void *arg)
{
    request->gone = gone;
    request->gone_arg = arg;
    request_watch(request);
}

void request_watch(struct http_request *request)
{
    struct watch *watch = xcalloc(1, sizeof *watch);
    watch->request = request;
    watch->poll.data = watch;
    request->watch = watch;
    uv_poll_init(&request->server->loop->uv, &watch->poll, request->peer->fd);
    uv_poll_start(&watch->poll, UV_DISCONNECT, on_hangup);
}

void http_unwatch(struct http_request *request)
{
    struct watch *watch = request->watch;
    if (!watch) return;
    request->watch = NULL;
    watch->request = NULL;
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

static void on_hangup(uv_poll_t *handle, int status, int events)
{
    struct watch *watch = handle->data;
    struct http_request *request = watch->request;
    (void)status;
    (void)events;
    http_unwatch(request);
    if (request->is_stream)
        stream_client_gone(request);
    else
        request->gone(request->gone_arg, request);
}

static void on_watch_closed(uv_handle_t *handle) { free(handle->data); }

void request_free(struct http_request *request)
{
    http_unwatch(request);
    list_del(&request->node);
    if (request->is_stream) {
        buf_close(&request->stream.backlog);
        request->stream.hooks.gone(request->stream.hooks.arg);
    }
    if (request->response) MHD_destroy_response(request->response);
    headers_free(request);
    buf_close(&request->body);
    free(request->method);
    free(request->path);
    free(request);
}
