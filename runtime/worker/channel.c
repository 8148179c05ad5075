/* channel.c: see channel.h. Messages are small but for snapshots; each is written from one owned
 * block. */
#include "worker/channel.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define HEADER 5

struct outgoing {
    uv_write_t request;
    uv_buf_t bytes;
};

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *out);
static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *bytes);
static void on_written(uv_write_t *request, int status);
static void take_messages(struct channel *channel);
static void on_closed(uv_handle_t *handle);

void channel_open(struct channel *channel, struct loop *loop, int fd, void *arg,
                  void (*received)(void *, enum message, const char *, size_t),
                  void (*closed)(void *))
{
    memset(channel, 0, sizeof *channel);
    channel->loop = loop;
    channel->arg = arg;
    channel->received = received;
    channel->closed = closed;
    uv_pipe_init(&loop->uv, &channel->pipe, 0);
    uv_pipe_open(&channel->pipe, fd);
    uv_read_start((uv_stream_t *)&channel->pipe, on_allocate, on_read);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct channel *channel = container_of((uv_pipe_t *)handle, struct channel, pipe);
    *out = uv_buf_init(buf_reserve(&channel->input, suggested), (unsigned)suggested);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *bytes)
{
    struct channel *channel = container_of((uv_pipe_t *)stream, struct channel, pipe);
    (void)bytes;
    if (channel->closing) return;
    if (count < 0) {
        uv_read_stop(stream);
        channel->closed(channel->arg);
        return;
    }
    channel->input.len += (size_t)count;
    take_messages(channel);
}

static void take_messages(struct channel *channel)
{
    size_t at = 0;
    while (!channel->closing && channel->input.len - at >= HEADER) {
        uint32_t len;
        memcpy(&len, channel->input.data + at, sizeof len);
        if (channel->input.len - at - HEADER < len) break;
        const char *payload = channel->input.data + at + HEADER;
        channel->received(channel->arg, (enum message)channel->input.data[at + 4], payload, len);
        at += HEADER + len;
    }
    buf_drop_front(&channel->input, at);
}

void channel_send(struct channel *channel, enum message kind, const void *payload, size_t len)
{
    if (channel->closing) return;
    struct outgoing *out = xcalloc(1, sizeof *out);
    uint32_t length = (uint32_t)len;
    out->bytes = uv_buf_init(xmalloc(HEADER + len), (unsigned)(HEADER + len));
    memcpy(out->bytes.base, &length, sizeof length);
    out->bytes.base[4] = (char)kind;
    if (len) memcpy(out->bytes.base + HEADER, payload, len);
    if (uv_write(&out->request, (uv_stream_t *)&channel->pipe, &out->bytes, 1, on_written) != 0) {
        free(out->bytes.base);
        free(out);
    }
}

static void on_written(uv_write_t *request, int status)
{
    struct outgoing *out = container_of(request, struct outgoing, request);
    (void)status; /* a peer that is gone shows in on_read */
    free(out->bytes.base);
    free(out);
}

void channel_close(struct channel *channel, void (*on_freed)(struct channel *channel))
{
    if (channel->closing) return;
    channel->closing = true;
    channel->on_freed = on_freed;
    uv_close((uv_handle_t *)&channel->pipe, on_closed);
}

static void on_closed(uv_handle_t *handle)
{
    struct channel *channel = container_of((uv_pipe_t *)handle, struct channel, pipe);
    buf_close(&channel->input);
    if (channel->on_freed) channel->on_freed(channel);
}
