/* stream.c: answers without end. MHD asks for bytes; when there are none the connection is
 * suspended, and the next write resumes it. */
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "http/server_private.h"

#define BLOCK 128 /* MHD keeps that much for each stream; pieces go into its own memory */

static ssize_t on_wanted(void *cls, uint64_t at, char *out, size_t most);

static struct http_request *request_of(const struct http_stream *stream)
{
    return container_of((struct http_stream *)(uintptr_t)stream, struct http_request, stream);
}

struct http_stream *http_stream_start(struct http_request *request, const char *content_type,
                                      const struct http_stream_hooks *hooks)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, on_wanted, request, NULL);
    MHD_add_response_header(response, "Content-Type", content_type);
    request->is_stream = true;
    request->stream = (struct http_stream){ .hooks = *hooks };
    request_send(request, MHD_HTTP_OK, response);
    request_watch(request);
    return &request->stream;
}

static ssize_t on_wanted(void *cls, uint64_t at, char *out, size_t most)
{
    struct http_request *request = cls;
    struct http_stream *stream = &request->stream;
    size_t left = stream->backlog.len - stream->taken;
    (void)at;
    if (stream->is_aborted) return MHD_CONTENT_READER_END_WITH_ERROR;
    if (left == 0 && stream->is_ended) return MHD_CONTENT_READER_END_OF_STREAM;
    if (left == 0) {
        connection_suspend(request);
        return 0;
    }
    size_t len = left < most ? left : most;
    memcpy(out, stream->backlog.data + stream->taken, len);
    stream->taken += len;
    if (stream->taken == stream->backlog.len) {
        buf_close(&stream->backlog); /* ten thousand idle streams hold nothing */
        stream->taken = 0;
        if (stream->hooks.drained) stream->hooks.drained(stream->hooks.arg);
    }
    return (ssize_t)len;
}

size_t http_stream_backlog(const struct http_stream *stream)
{
    return stream->backlog.len - stream->taken;
}

void http_stream_write(struct http_stream *stream, const void *data, size_t len)
{
    if (stream->is_ended || stream->is_aborted) return;
    buf_add(&stream->backlog, data, len);
    connection_resume(request_of(stream));
}

void http_stream_end(struct http_stream *stream)
{
    stream->is_ended = true;
    connection_resume(request_of(stream));
}

void http_stream_abort(struct http_stream *stream)
{
    struct http_request *request = request_of(stream);
    stream->is_aborted = true;
    shutdown(request->peer->fd, SHUT_RDWR); /* it may stand in the middle of a write */
    connection_resume(request);
}

void stream_client_gone(struct http_request *request)
{
    request->stream.is_aborted = true;
    connection_resume(request);
}
