/* server.h: HTTP: bytes in, requests out. The only includer of libmicrohttpd; knows no task words.
 *
 * head -> [body] -> handle -> http_answer | http_stream_start | http_drop, exactly once, now or
 * later. Until then the connection stands still: no thread, no timer, no polling. Everything of a
 * client is bounded: its header (some 4 KiB of HTTP_HEAD_MAX), its body (what `head` allows), the
 * time for both, what it does not read, and how many there are. Who closes its half of a connection
 * before the answer has come is taken for gone.
 *
 * Loop thread only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "loop/loop.h"

/* Memory of a connection: its header and a piece of body lie in it. Ten thousand that wait hold all
 * of it. */
#define HTTP_HEAD_MAX (5 * 1024 + 512)

struct http_server;  /* opaque */
struct http_request; /* opaque: one exchange; lives until it is answered */

struct http_field {
    const char *name, *value;
};
struct http_handlers {
    void *arg;
    const struct http_field
        *fields; /* in the header of every answer that ends; ends with name NULL */
    /* The header is there. How long may the body be? It may answer at once instead; then nothing
     * more of the request is read, and what it gives does not count. */
    int64_t (*head)(void *arg, struct http_request *request);
    void (*handle)(void *arg, struct http_request *request);
    /* What is refused before `head` could look at it, or while the body came: answers it in the
     * words of the application. */
    void (*refuse)(void *arg, struct http_request *request, const struct err *why);
    /* After `head`, instead of `handle`: the client left before its body had come. Drops it. */
    void (*abandoned)(void *arg, struct http_request *request);
};
/* Listens. address: IPv4, IPv6 without brackets, or "localhost" (both loopbacks' first). port 0:
 * any. ERR_INPUT: the address is none; ERR_IO: it cannot be had. gives */
MUSTUSE bool http_server_new(struct loop *loop, const char *address, int port,
                             const struct http_handlers *handlers, struct http_server **out,
                             struct err *err);
/* The port that it listens on. */
int http_server_port(const struct http_server *server);
size_t http_server_connections(const struct http_server *server);
/* Accepts nobody any more. What is being handled may be answered still. */
void http_server_quiesce(struct http_server *server);
/* Somebody's request is there and not yet answered to the end. */
bool http_server_is_busy(const struct http_server *server);
/* Drops what is not answered yet. */
void http_server_free(struct http_server *server);

/* ---- a request: all borrowed, as long as it lives ---- */
const char *http_method(const struct http_request *request);
const char *http_path(const struct http_request *request); /* decoded, without the query */
/* NULL when absent; the first of several. A parameter without = is "". */
const char *http_query(const struct http_request *request, const char *name);
/* Each parameter of the query in turn. visit false: enough. */
void http_each_query(struct http_request *request,
                     bool (*visit)(void *arg, const char *name, const char *value), void *arg);
const char *http_header(const struct http_request *request, const char *name);
const char *http_cookie(const struct http_request *request, const char *name);
const char *http_body(const struct http_request *request, size_t *len);
const struct sockaddr *http_peer(const struct http_request *request);
bool http_peer_is_loopback(const struct http_request *request);

/* The application's own memory of a request. */
void http_set_context(struct http_request *request, void *context);
void *http_context(const struct http_request *request);

/* ---- its answer ---- */
/* Before the answer; texts are copied. A line break in a value is refused by dropping the header.
 */
void http_set_header(struct http_request *request, const char *name, const char *value);
/* content_type NULL: none, and no body. */
void http_answer(struct http_request *request, int status, const char *content_type,
                 struct buf *takes_body);
/* Bytes that live as long as the program. */
void http_answer_static(struct http_request *request, int status, const char *content_type,
                        const void *body, size_t len);
/* Bytes that many answers share: they are there once. */
struct http_bytes; /* opaque; of whoever made it, and of each answer that is not yet sent */
struct http_bytes *http_bytes_new(const void *data, size_t len); /* copies */
void http_bytes_drop(struct http_bytes *bytes);
void http_answer_bytes(struct http_request *request, int status, const char *content_type,
                       struct http_bytes *bytes);
/* Ends the connection without a word. */
void http_drop(struct http_request *request);
/* For what may take long to answer: gone is called when the client has gone meanwhile; then the
 * request must be dropped. */
void http_watch(struct http_request *request, void (*gone)(void *arg, struct http_request *request),
                void *arg);
/* From now on it does not matter. */
void http_unwatch(struct http_request *request);

/* ---- an answer without end (Server-Sent Events) ---- */
struct http_stream; /* opaque */
struct http_stream_hooks {
    void *arg;
    void (*gone)(void *arg);    /* once, whoever ended it; then the stream is no more */
    void (*drained)(void *arg); /* all is taken; may be NULL. Both may defer work, no more. */
};
/* Takes the request. */
struct http_stream *http_stream_start(struct http_request *request, const char *content_type,
                                      const struct http_stream_hooks *hooks);
/* What the client has not taken yet. */
size_t http_stream_backlog(const struct http_stream *stream);
void http_stream_write(struct http_stream *stream, const void *data, size_t len);
void http_stream_end(struct http_stream *stream);   /* after what is written */
void http_stream_abort(struct http_stream *stream); /* at once */
