/* sse.c: see sse.h. */
#include "http/sse.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

#define PING_US     INT64_C(15000000) /* proxies end what is silent for 30 s and more */
#define BACKLOG_MAX ((size_t)256 << 10)
#define STREAMS_MAX 20000

struct streams {
    struct list all;
    size_t count;
    struct timer ping;
    bool is_leaving;
};

static void on_ping(struct timer *timer);
static void on_ping_closed(struct timer *timer);
static void on_gone(void *arg);
static void on_drained(void *arg);

struct streams *streams_new(struct api *api)
{
    struct streams *streams = xcalloc(1, sizeof *streams);
    list_init(&streams->all);
    timer_init(api->loop, &streams->ping, on_ping);
    return streams;
}

static void on_ping(struct timer *timer)
{
    static const char comment[] = ":\n\n";
    struct streams *streams = container_of(timer, struct streams, ping);
    LIST_EACH (node, &streams->all) {
        struct sse *sse = container_of(node, struct sse, node);
        if (http_stream_backlog(sse->stream) == 0)
            http_stream_write(sse->stream, comment, sizeof comment - 1);
    }
    if (streams->count) timer_start(&streams->ping, PING_US);
}

void streams_end(struct streams *streams)
{
    streams->is_leaving = true;
    LIST_EACH (node, &streams->all) sse_end(container_of(node, struct sse, node));
}

void streams_free(struct streams *streams)
{
    if (streams) timer_close(&streams->ping, on_ping_closed);
}

static void on_ping_closed(struct timer *timer) { free(container_of(timer, struct streams, ping)); }

bool sse_start(struct sse *sse, struct exchange *exchange)
{
    static const char greeting[] = "retry: 1000\n\n";
    struct streams *streams = exchange->api->streams;
    if (streams->count >= STREAMS_MAX) {
        http_set_header(exchange->request, "Retry-After", "10");
        answer_status(exchange, 503, "full", "%d streams are open, more there may not be",
                      STREAMS_MAX);
        return false;
    }
    const struct http_stream_hooks hooks = { sse, on_gone, on_drained };
    sse->streams = streams;
    sse->stream = answer_stream(exchange, "text/event-stream", &hooks);
    /* Also: MHD sends a header only with the first piece of its body. */
    http_stream_write(sse->stream, greeting, sizeof greeting - 1);
    list_push_back(&streams->all, &sse->node);
    if (streams->count++ == 0) timer_start(&streams->ping, PING_US);
    if (streams->is_leaving) sse_end(sse);
    return true;
}

static void on_gone(void *arg)
{
    struct sse *sse = arg;
    list_del(&sse->node);
    sse->streams->count--;
    sse->gone(sse);
}

static void on_drained(void *arg)
{
    struct sse *sse = arg;
    if (sse->drained) sse->drained(sse);
}

void sse_write(struct sse *sse, const struct buf *events)
{
    if (http_stream_backlog(sse->stream) > BACKLOG_MAX) {
        log_debug("http: a client does not read its events");
        http_stream_abort(sse->stream);
    } else if (events->len) {
        http_stream_write(sse->stream, events->data, events->len);
    }
}

size_t sse_backlog(const struct sse *sse) { return http_stream_backlog(sse->stream); }

void sse_end(struct sse *sse) { http_stream_end(sse->stream); }

void sse_event(struct buf *out, const char *kind, const char *id, const char *data, size_t len)
{
    buf_add_text(out, "event: ");
    buf_add_text(out, kind);
    buf_add_text(out, "\nid: ");
    buf_add_text(out, id);
    buf_add_text(out, "\ndata: ");
    buf_add(out, data, len);
    buf_add_text(out, "\n\n");
}

/* The parameter is for clients that cannot set a header. */
const char *sse_last_id(const struct exchange *exchange)
{
    const char *id = http_header(exchange->request, "Last-Event-ID");
    if (!id) id = http_query(exchange->request, "last_event_id");
    return id && *id ? id : NULL;
}
