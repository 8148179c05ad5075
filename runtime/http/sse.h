/* sse.h: Server-Sent Events: what all streams share. Each is pinged, bounded and ended here.
 *
 * A client that does not read what it is sent is dropped: it comes back with its Last-Event-ID. */
#pragma once
#include "http/api.h"

struct streams; /* opaque: all of this process */
struct streams *streams_new(struct api *api);
void streams_end(struct streams *streams); /* the server leaves: all end, and new ones at once */
void streams_free(struct streams *streams);

/* One client's, embedded in what serves it. */
struct sse {
    void (*gone)(struct sse *sse);    /* once: it may be freed now */
    void (*drained)(struct sse *sse); /* see server.h; may be NULL */
    /* private */
    struct list node;
    struct streams *streams;
    struct http_stream *stream;
};
/* Answers the exchange: true, it streams; false: there are too many, 503, and gone is not called.
 */
MUSTUSE bool sse_start(struct sse *sse, struct exchange *exchange);
void sse_write(struct sse *sse, const struct buf *events); /* drops the client if it lags */
size_t sse_backlog(const struct sse *sse);
void sse_end(struct sse *sse); /* after what is written */

/* Adds an event; data is one line. */
void sse_event(struct buf *out, const char *kind, const char *id, const char *data, size_t len);
/* Where a client that comes back was; NULL: it is new. */
const char *sse_last_id(const struct exchange *exchange);
