/* Journey: resolve (TCP) -> connect, address after address -> read and write -> close. libuv's own
 * descriptors are close-on-exec.
 *
 * Three things keep the memory: the handle, a name look-up on its way, and writes; the last two end
 * at the latest when the handle is closed, except the look-up, which runs on a thread. So `holds`
 * counts handle and look-up, and the last one frees. */
#include "io/redis_stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define READ_SIZE       (32 * 1024)
#define USER_TIMEOUT_MS 10000
#define KEEPALIVE_S     15

struct redis_stream {
    struct loop *loop;
    struct redis_stream_hooks hooks;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    uv_connect_t connect;
    uv_getaddrinfo_t lookup;
    struct addrinfo *addresses; /* owned, NULL for a unix socket */
    struct addrinfo *next;      /* to be tried after the present one */
    size_t addresses_left;
    unsigned attempt;
    struct redis_parser *parser; /* owned */
    struct buf out;              /* not yet written */
    struct defer flush;
    struct defer fail;
    struct err why; /* of a failure on its way through `fail` */
    int holds;
    bool is_open;
    bool is_closed; /* by the owner */
    char input[READ_SIZE];
};

struct write {
    uv_write_t req;
    struct redis_stream *stream;
    char *data; /* owned */
};

static void connect_pipe(struct redis_stream *stream, const char *path);
static void start_lookup(struct redis_stream *stream, const char *host, int port);
static void connect_next(struct redis_stream *stream);
static void on_connect(uv_connect_t *req, int status);
static void on_flush(struct defer *defer);
static void on_fail(struct defer *defer);
static void fail_soon(struct redis_stream *stream, const char *what, int status);
static void release(struct redis_stream *stream);

struct redis_stream *redis_stream_new(struct loop *loop, const struct redis_address *address,
                                      const struct redis_stream_hooks *hooks)
{
    struct redis_stream *stream = xcalloc(1, sizeof *stream);
    stream->loop = loop;
    stream->hooks = *hooks;
    stream->attempt = address->attempt;
    stream->parser = redis_parser_new();
    loop_defer_init(&stream->flush, on_flush);
    loop_defer_init(&stream->fail, on_fail);
    stream->holds = 1;
    if (address->unix_path)
        connect_pipe(stream, address->unix_path);
    else
        start_lookup(stream, address->host, address->port);
    return stream;
}

static void on_closed(uv_handle_t *handle) { release(handle->data); }

void redis_stream_close(struct redis_stream *stream)
{
    stream->is_closed = true;
    loop_defer_cancel(&stream->flush);
    loop_defer_cancel(&stream->fail);
    if (stream->holds > 1) uv_cancel((uv_req_t *)&stream->lookup); /* works if it has not begun */
    if (!uv_is_closing(&stream->uv.handle)) uv_close(&stream->uv.handle, on_closed);
}

struct buf *redis_stream_out(struct redis_stream *stream) { return &stream->out; }

void redis_stream_flush_soon(struct redis_stream *stream)
{
    loop_defer(stream->loop, &stream->flush);
}

static void release(struct redis_stream *stream)
{
    if (--stream->holds > 0) return;
    redis_parser_free(stream->parser);
    uv_freeaddrinfo(stream->addresses);
    buf_close(&stream->out);
    loop_bury(stream->loop, stream);
}

static void connect_pipe(struct redis_stream *stream, const char *path)
{
    uv_pipe_init(&stream->loop->uv, &stream->uv.pipe, 0);
    stream->uv.handle.data = stream;
    uv_pipe_connect(&stream->connect, &stream->uv.pipe, path, on_connect);
}

static void on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct redis_stream *stream = container_of(req, struct redis_stream, lookup);
    stream->addresses = found;
    if (!stream->is_closed && status) fail_soon(stream, "cannot find the address", status);
    if (!stream->is_closed && !status) {
        for (struct addrinfo *at = found; at; at = at->ai_next) stream->addresses_left++;
        stream->next = found;
        for (size_t i = stream->attempt % stream->addresses_left; i > 0; i--)
            stream->next = stream->next->ai_next;
        connect_next(stream);
    }
    release(stream);
}

static void start_lookup(struct redis_stream *stream, const char *host, int port)
{
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    struct addrinfo wanted = { .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP };
    uv_tcp_init(&stream->loop->uv, &stream->uv.tcp);
    stream->uv.handle.data = stream;
    int status =
        uv_getaddrinfo(&stream->loop->uv, &stream->lookup, on_lookup, host, service, &wanted);
    if (status)
        fail_soon(stream, "cannot find the address", status);
    else
        stream->holds++;
}

static void connect_next(struct redis_stream *stream)
{
    struct addrinfo *at = stream->next;
    stream->next = at->ai_next ? at->ai_next : stream->addresses;
    stream->addresses_left--;
    int status = uv_tcp_connect(&stream->connect, &stream->uv.tcp, at->ai_addr, on_connect);
    if (status) fail_soon(stream, "cannot connect", status);
}

/* A TCP handle that failed to connect cannot be used again. */
static void on_closed_to_try_next(uv_handle_t *handle)
{
    struct redis_stream *stream = handle->data;
    if (stream->is_closed) {
        release(stream);
        return;
    }
    uv_tcp_init(&stream->loop->uv, &stream->uv.tcp);
    stream->uv.handle.data = stream;
    connect_next(stream);
}

static void prepare_tcp(struct redis_stream *stream)
{
    int fd;
    unsigned timeout_ms = USER_TIMEOUT_MS;
    uv_tcp_nodelay(&stream->uv.tcp, 1);
    uv_tcp_keepalive(&stream->uv.tcp, 1, KEEPALIVE_S);
    if (uv_fileno(&stream->uv.handle, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

static void on_read_space(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    (void)wanted;
    struct redis_stream *stream = handle->data;
    *out = uv_buf_init(stream->input, sizeof stream->input);
}

static void take_answers(struct redis_stream *stream)
{
    struct err err;
    struct redis_answer *answer;
    while (!stream->is_closed) {
        if (!redis_parser_next(stream->parser, &answer, &err)) {
            stream->hooks.failed(stream->hooks.arg, &err);
            return;
        }
        if (!answer) return;
        stream->hooks.answer(stream->hooks.arg, answer);
        redis_answer_free(answer);
    }
}

static void on_read(uv_stream_t *handle, ssize_t len, const uv_buf_t *input)
{
    struct redis_stream *stream = handle->data;
    struct err err;
    if (len < 0) {
        err_set(&err, ERR_STORE, "%s",
                len == UV_EOF ? "the server closed the connection" : uv_strerror((int)len));
        stream->hooks.failed(stream->hooks.arg, &err);
    } else if (!redis_parser_feed(stream->parser, input->base, (size_t)len, &err)) {
        stream->hooks.failed(stream->hooks.arg, &err);
    } else {
        take_answers(stream);
    }
}

static void on_connect(uv_connect_t *req, int status)
{
    struct redis_stream *stream = container_of(req, struct redis_stream, connect);
    if (stream->is_closed) return;
    if (status && stream->addresses_left > 0) {
        uv_close(&stream->uv.handle, on_closed_to_try_next);
        return;
    }
    if (!status) status = uv_read_start(&stream->uv.stream, on_read_space, on_read);
    if (status) {
        fail_soon(stream, "cannot connect", status);
        return;
    }
    if (stream->addresses) prepare_tcp(stream);
    stream->is_open = true;
    stream->hooks.open(stream->hooks.arg);
}

static void on_written(uv_write_t *req, int status)
{
    struct write *write = container_of(req, struct write, req);
    struct redis_stream *stream = write->stream;
    free(write->data);
    free(write);
    if (!status || stream->is_closed) return;
    fail_soon(stream, "cannot write", status);
}

/* Everything of one turn in one write. */
static void on_flush(struct defer *defer)
{
    struct redis_stream *stream = container_of(defer, struct redis_stream, flush);
    if (!stream->is_open || stream->out.len == 0) return;
    struct write *write = xcalloc(1, sizeof *write);
    write->stream = stream;
    uv_buf_t bytes = uv_buf_init(stream->out.data, (unsigned)stream->out.len);
    write->data = buf_take(&stream->out);
    int status = uv_write(&write->req, &stream->uv.stream, &bytes, 1, on_written);
    if (status == 0) return;
    free(write->data);
    free(write);
    fail_soon(stream, "cannot write", status);
}

static void fail_soon(struct redis_stream *stream, const char *what, int status)
{
    err_set(&stream->why, ERR_STORE, "%s: %s", what, uv_strerror(status));
    loop_defer(stream->loop, &stream->fail);
}

static void on_fail(struct defer *defer)
{
    struct redis_stream *stream = container_of(defer, struct redis_stream, fail);
    stream->hooks.failed(stream->hooks.arg, &stream->why);
}
