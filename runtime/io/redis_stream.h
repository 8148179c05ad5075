/* redis_stream.h: one connection attempt and, if it stands, the connection: bytes out once a turn,
 * answers in. Private to the redis_* files.
 *
 * A stream is used once: it opens or fails, later it fails or is closed. Hooks come from libuv or
 * deferred work, never from within a call. After `failed` the owner closes it; after
 * redis_stream_close no hook comes and the memory goes when libuv lets go. */
#pragma once
#include <stddef.h>

#include "base/err.h"
#include "io/redis_reply.h"
#include "loop/loop.h"

struct redis_stream; /* opaque */

struct redis_stream_hooks {
    void *arg;
    void (*open)(void *arg);
    void (*answer)(void *arg, const struct redis_answer *answer); /* borrowed for the call */
    void (*failed)(void *arg, const struct err *why);
};
struct redis_address {
    const char *unix_path; /* or NULL, then host and port */
    const char *host;
    int port;
    unsigned attempt; /* begins with another address of the host each time */
};

struct redis_stream *
redis_stream_new(struct loop *loop, const struct redis_address *address,
                 const struct redis_stream_hooks *hooks); /* hooks are copied */
void redis_stream_close(struct redis_stream *stream);
/* What goes out with the next write: append only, then say so. */
struct buf *redis_stream_out(struct redis_stream *stream);
void redis_stream_flush_soon(struct redis_stream *stream);
