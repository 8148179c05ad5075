/* server.c: the daemon on our loop, its connections and their deadlines. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/server_private.h"

#define SECOND_US        INT64_C(1000000)
#define HEAD_US          (15 * SECOND_US) /* for a whole header, also the first of a connection */
#define IDLE_US          (75 * SECOND_US) /* between two requests; nginx' keepalive_timeout */
#define BODY_US          (30 * SECOND_US) /* it, or an answer, may stall that long in total, */
#define BODY_BYTE_US     60               /* beyond what 16 KiB a second take */
#define SILENCE_S        60u              /* of a client that does not read its answer */
#define DESCRIPTORS_KEPT 256              /* for stores, files, standard streams */
#define CONNECTIONS_MIN  64

static bool open_socket(const char *address, int port, int *out, struct err *err);
static bool start_daemon(struct http_server *server, int fd, struct err *err);
static unsigned connections_most(void);
static void on_ready(uv_poll_t *handle, int status, int events);
static void on_wake(uv_timer_t *handle);
static void turn(struct http_server *server);
static void on_resumed(struct defer *defer);
static void on_reap(uv_timer_t *handle);
static bool has_left(const struct peer *peer);
static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code);
static void *on_target(void *cls, const char *target, struct MHD_Connection *connection);
static enum MHD_Result on_access(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *len, void **context);
static enum MHD_Result head(struct http_request *request, const char *url, const char *method);
static enum MHD_Result body(struct http_request *request, const char *data, size_t len);
static enum MHD_Result whole(struct http_request *request);
static void say_and_close(struct http_request *request, const char *status);
static enum MHD_Result handed_back(struct http_request *request);
static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code);
static void on_daemon_says(void *cls, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));
static void on_handle_closed(uv_handle_t *handle);

bool http_server_new(struct loop *loop, const char *address, int port,
                     const struct http_handlers *handlers, struct http_server **out,
                     struct err *err)
{
    struct http_server *server = xcalloc(1, sizeof *server);
    int fd = -1;
    server->loop = loop;
    server->handlers = *handlers;
    list_init(&server->peers);
    list_init(&server->requests);
    loop_defer_init(&server->resumed, on_resumed);
    if (!open_socket(address, port, &fd, err) || !start_daemon(server, fd, err)) {
        if (fd >= 0) close(fd);
        free(server);
        return false;
    }
    struct sockaddr_storage bound = { 0 };
    socklen_t len = sizeof bound;
    getsockname(fd, (struct sockaddr *)&bound, &len);
    server->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                     : ((struct sockaddr_in *)&bound)->sin_port);
    int epoll = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    uv_poll_init(&loop->uv, &server->poll, epoll);
    uv_timer_init(&loop->uv, &server->wake);
    uv_timer_init(&loop->uv, &server->reap);
    server->poll.data = server->wake.data = server->reap.data = server;
    server->open_handles = 3;
    uv_poll_start(&server->poll, UV_READABLE, on_ready);
    *out = server;
    return true;
}

static bool open_socket(const char *address, int port, int *out, struct err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE };
    struct addrinfo *found = NULL;
    char service[8];
    int one = 1;
    snprintf(service, sizeof service, "%d", port);
    const char *numeric = strcmp(address, "localhost") == 0 ? "127.0.0.1" : address;
    if (getaddrinfo(numeric, service, &hints, &found) != 0)
        return err_set(err, ERR_INPUT, "'%s' is no address to listen on: say 127.0.0.1:8000",
                       address);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool good = fd >= 0;
    if (good) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    good = good && bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0;
    if (!good) {
        err_set(err, ERR_IO, "cannot listen on %s:%d: %s", address, port, strerror(errno));
        if (fd >= 0) close(fd);
    }
    freeaddrinfo(found);
    *out = good ? fd : -1;
    return good;
}

static bool start_daemon(struct http_server *server, int fd, struct err *err)
{
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_access,
        server, MHD_OPTION_EXTERNAL_LOGGER, on_daemon_says, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_HEAD_MAX,
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)1024, MHD_OPTION_CONNECTION_LIMIT,
        connections_most(), MHD_OPTION_CONNECTION_TIMEOUT, SILENCE_S, MHD_OPTION_STRICT_FOR_CLIENT,
        1, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, server, MHD_OPTION_URI_LOG_CALLBACK, on_target, server, MHD_OPTION_END);
    return server->daemon ||
           err_set(err, ERR_IO, "the HTTP server does not start: %s", strerror(errno));
}

/* As many as there may be descriptors, which we raise as far as we may. */
static unsigned connections_most(void)
{
    struct rlimit limit = { 1024, 1024 };
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t most = limit.rlim_cur > 1u << 20 ? 1u << 20 : limit.rlim_cur;
    return most > DESCRIPTORS_KEPT + CONNECTIONS_MIN ? (unsigned)most - DESCRIPTORS_KEPT
                                                     : CONNECTIONS_MIN;
}

int http_server_port(const struct http_server *server) { return server->port; }

size_t http_server_connections(const struct http_server *server) { return server->peer_count; }

bool http_server_is_busy(const struct http_server *server)
{
    return !list_is_empty(&server->requests);
}

void http_server_quiesce(struct http_server *server)
{
    int fd = MHD_quiesce_daemon(server->daemon);
    if (fd >= 0) close(fd);
}

void http_server_free(struct http_server *server)
{
    LIST_EACH (node, &server->requests) {
        struct http_request *request = container_of(node, struct http_request, node);
        if (request->is_stream)
            http_stream_abort(&request->stream);
        else if (request->phase == PHASE_HANDLED)
            http_drop(request);
    }
    loop_defer_cancel(&server->resumed);
    turn(server); /* what was suspended is closed here */
    uv_poll_stop(&server->poll);
    MHD_stop_daemon(server->daemon);
    uv_close((uv_handle_t *)&server->poll, on_handle_closed);
    uv_close((uv_handle_t *)&server->wake, on_handle_closed);
    uv_close((uv_handle_t *)&server->reap, on_handle_closed);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct http_server *server = handle->data;
    if (--server->open_handles == 0) free(server);
}

/* ---- turns ---- */

static void on_ready(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    turn(handle->data);
}

static void on_wake(uv_timer_t *handle) { turn(handle->data); }

/* MHD does not see by itself that something was resumed. */
static void on_resumed(struct defer *defer)
{
    turn(container_of(defer, struct http_server, resumed));
}

static void turn(struct http_server *server)
{
    MHD_UNSIGNED_LONG_LONG after_ms = 0;
    do {
        server->has_room = false;
        MHD_run(server->daemon);
    } while (server->has_room); /* MHD accepts again only when it looks before it waits */
    if (MHD_get_timeout(server->daemon, &after_ms) == MHD_YES)
        uv_timer_start(&server->wake, on_wake, after_ms, 0);
    else
        uv_timer_stop(&server->wake);
}

/* MHD bounds silence; this bounds those who say one byte a second. And MHD does not see an end that
 * came together with the last bytes. */
static void on_reap(uv_timer_t *handle)
{
    struct http_server *server = handle->data;
    int64_t now_us = clock_boot_us();
    LIST_EACH (node, &server->peers) {
        struct peer *peer = container_of(node, struct peer, node);
        if (!peer->until_us || (peer->until_us > now_us && !has_left(peer))) continue;
        peer->until_us = 0;
        shutdown(peer->fd, SHUT_RDWR); /* MHD sees it and closes */
    }
}

static bool has_left(const struct peer *peer)
{
    char byte;
    return !peer->is_answering && recv(peer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        struct peer *peer = xcalloc(1, sizeof *peer);
        int one = 1;
        peer->server = server;
        peer->fd =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        peer->until_us = clock_boot_us() + HEAD_US;
        setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        list_push_back(&server->peers, &peer->node);
        if (server->peer_count++ == 0) uv_timer_start(&server->reap, on_reap, 1000, 1000);
        *context = peer;
    } else if (*context) {
        struct peer *peer = *context;
        list_del(&peer->node);
        if (--server->peer_count == 0) uv_timer_stop(&server->reap);
        server->has_room = true;
        free(peer);
        *context = NULL;
    }
}

/* ---- one request ---- */

/* Its first line is there. What this gives is *context of the calls that follow. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct http_server *server = cls;
    struct http_request *request = xcalloc(1, sizeof *request);
    request->server = server;
    request->connection = connection;
    request->peer =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    request->has_nul = strstr(target, "%00") != NULL;
    request->peer->until_us = clock_boot_us() + HEAD_US;
    list_push_back(&server->requests, &request->node);
    if (!framing_target_fits(target)) say_and_close(request, "414 URI Too Long");
    return request;
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *len, void **context)
{
    struct http_request *request = *context;
    enum MHD_Result result = MHD_YES;
    (void)cls;
    (void)connection;
    (void)version;
    if (!request->is_seen) {
        result = head(request, url, method);
    } else if (*len > 0) {
        result = body(request, data, *len);
        *len = 0;
    } else if (request->phase == PHASE_BODY) {
        result = whole(request);
    } else {
        result = handed_back(request);
    }
    return result;
}

static enum MHD_Result head(struct http_request *request, const char *url, const char *method)
{
    struct http_server *server = request->server;
    struct err why;
    request->is_seen = true;
    request->method = xstrdup(method);
    request->path = xstrdup(url);
    request->phase = PHASE_HEAD;
    request->peer->until_us = clock_boot_us() + BODY_US;
    if (!framing_leaves_room(request)) {
        say_and_close(request, "431 Request Header Fields Too Large");
        return MHD_NO;
    }
    if (!framing_is_sane(request, &why)) {
        server->handlers.refuse(server->handlers.arg, request, &why);
        return handed_back(request); /* who knows where its body ends */
    }
    request->body_max = server->handlers.head(server->handlers.arg, request);
    if (request->phase == PHASE_HEAD && framing_length(request) > request->body_max) {
        err_set(&why, ERR_TOO_LARGE, "the body takes %lld bytes, %lld are allowed here",
                (long long)framing_length(request), (long long)request->body_max);
        server->handlers.refuse(server->handlers.arg, request, &why);
    }
    if (request->phase == PHASE_HEAD)
        request->phase = PHASE_BODY;
    else if (!framing_may_be_awaited(request))
        return handed_back(request);
    return MHD_YES;
}

/* What MHD would do in silence, having no room for the head of an answer. */
static void say_and_close(struct http_request *request, const char *status)
{
    char text[100];
    int len = snprintf(text, sizeof text,
                       "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", status);
    (void)!send(request->peer->fd, text, (size_t)len, MSG_NOSIGNAL);
    shutdown(request->peer->fd, SHUT_RDWR);
}

static enum MHD_Result body(struct http_request *request, const char *data, size_t len)
{
    int64_t now_us = clock_boot_us();
    int64_t until_us = request->peer->until_us + (int64_t)len * BODY_BYTE_US;
    request->peer->until_us = until_us < now_us + BODY_US ? until_us : now_us + BODY_US;
    bool is_refused = request->phase != PHASE_BODY || request->discarded;
    if (is_refused || (int64_t)(request->body.len + len) > request->body_max) {
        request->discarded += (int64_t)len;
        return request->discarded > DISCARD_MAX ? MHD_NO : MHD_YES;
    }
    buf_add(&request->body, data, len);
    return MHD_YES;
}

static enum MHD_Result whole(struct http_request *request)
{
    struct http_server *server = request->server;
    request->phase = PHASE_HANDLED;
    request->peer->until_us = 0; /* it waits for us */
    if (request->discarded) {
        struct err why;
        err_set(&why, ERR_TOO_LARGE, "the body is longer than the %lld bytes that are allowed here",
                (long long)request->body_max);
        server->handlers.refuse(server->handlers.arg, request, &why);
    } else {
        server->handlers.handle(server->handlers.arg, request);
    }
    return handed_back(request);
}

/* Gives MHD what there is, or stops it. */
static enum MHD_Result handed_back(struct http_request *request)
{
    if (request->phase == PHASE_DROPPED) return MHD_NO;
    if (!request->response) {
        if (request->phase == PHASE_HANDLED) connection_suspend(request);
        return MHD_YES;
    }
    /* MHD minds silence, we who takes a byte a minute; a stream minds its backlog. */
    request->peer->is_answering = true;
    request->peer->until_us =
        request->is_stream ? 0 : clock_boot_us() + BODY_US + request->answer_len * BODY_BYTE_US;
    enum MHD_Result result =
        MHD_queue_response(request->connection, (unsigned)request->status, request->response);
    MHD_destroy_response(request->response);
    request->response = NULL;
    return result;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct http_request *request = *context;
    (void)cls;
    (void)connection;
    (void)code;
    if (!request) return;
    *context = NULL;
    if (request->phase == PHASE_BODY)
        request->server->handlers.abandoned(request->server->handlers.arg, request);
    request->peer->is_answering = false;
    request->peer->until_us = clock_boot_us() + IDLE_US;
    request_free(request);
}

static void on_daemon_says(void *cls, const char *fmt, va_list args)
{
    char text[400];
    (void)cls;
    vsnprintf(text, sizeof text, fmt, args);
    text[strcspn(text, "\r\n")] = '\0';
    log_debug("http: %s", text);
}
