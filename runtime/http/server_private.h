/* server_private.h: shared by server.c, request.c and stream.c. */
#pragma once
#include <microhttpd.h>
#include <uv.h>

#include "http/server.h"

/* A connection, from accept to close. */
struct peer {
    struct list node; /* of http_server.peers */
    struct http_server *server;
    int fd;
    int64_t until_us;  /* boot clock: then it is closed; 0: it waits for us */
    bool is_answering; /* it may have said all that it wants to say */
};

struct http_server {
    struct loop *loop;
    struct http_handlers handlers;
    struct MHD_Daemon *daemon;
    struct list peers;
    struct list requests; /* whose header is there and whose end is not */
    size_t peer_count;
    bool has_room; /* somebody has left in this turn */
    int port;
    uv_poll_t poll; /* of the daemon's epoll descriptor */
    uv_timer_t wake;
    uv_timer_t reap; /* once a second while there are peers */
    int open_handles;
    struct defer resumed;
};

struct header {
    struct header *next;
    char *name, *value;
};

/* A watched socket: closed by its own callback. */
struct watch {
    uv_poll_t poll;
    struct http_request *request; /* NULL: no longer */
};

struct http_stream {
    struct buf backlog;
    size_t taken; /* of backlog */
    bool is_ended, is_aborted;
    struct http_stream_hooks hooks;
};

enum request_phase { PHASE_HEAD, PHASE_BODY, PHASE_HANDLED, PHASE_ANSWERED, PHASE_DROPPED };

struct http_request {
    struct list node;
    struct http_server *server;
    struct peer *peer;
    struct MHD_Connection *connection;
    enum request_phase phase;
    bool is_seen; /* its header */
    bool is_suspended;
    bool has_nul; /* %00 in its target */
    char *method, *path;
    struct buf body;
    int64_t body_max;
    int64_t discarded;             /* bytes of a body that is too long */
    struct header *headers;        /* of the answer */
    struct MHD_Response *response; /* ready, not yet queued */
    int64_t answer_len;
    int status;
    void *context;
    struct watch *watch;
    void (*gone)(void *arg, struct http_request *request);
    void *gone_arg;
    bool is_stream;
    struct http_stream stream;
};

#define DISCARD_MAX (8 << 20) /* of a body that is refused: who sends it wants to hear why */

/* ---- framing.c: where a request ends, and what it may take ---- */
/* What a proxy before us may read in another way than we do is refused. */
bool framing_is_sane(struct http_request *request, struct err *why);
/* Of the path and its query. MHD says nothing about some that are too long, or have too many parts.
 */
bool framing_target_fits(const char *target);
/* Of the connection's memory, for the head of an answer: MHD gives none when there is none. */
bool framing_leaves_room(struct http_request *request);
/* 0: none is announced. MHD has refused what is no number. */
int64_t framing_length(const struct http_request *request);
/* An answer before the body has come ends the connection, and a client that still sends would see
 * that instead of the answer. One that asked first (Expect) sends nothing. */
bool framing_may_be_awaited(const struct http_request *request);

void request_free(struct http_request *request);
/* The answer is made: hands it to MHD as soon as that can be. */
void request_send(struct http_request *request, int status, struct MHD_Response *takes_response);
void connection_suspend(struct http_request *request);
void connection_resume(struct http_request *request); /* MHD goes on with it later in this turn */
void request_watch(struct http_request *request);
void stream_client_gone(struct http_request *request);
