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
    int64_t until_us; /* boot clock: then it is closed; 0: it waits for us */
};

struct http_server {
    struct loop *loop;
    struct http_handlers handlers;
    struct MHD_Daemon *daemon;
    struct list peers;
    struct list requests; /* whose header is there and whose end is not */
    size_t peer_count;
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
    int status;
    void *context;
    struct watch *watch;
    void (*gone)(void *arg, struct http_request *request);
    void *gone_arg;
    bool is_stream;
    struct http_stream stream;
};

void request_free(struct http_request *request);
/* The answer is made: hands it to MHD as soon as that can be. */
void request_send(struct http_request *request, int status, struct MHD_Response *takes_response);
void connection_suspend(struct http_request *request);
void connection_resume(struct http_request *request); /* MHD goes on with it later in this turn */
void request_watch(struct http_request *request);
void request_unwatch(struct http_request *request);
void stream_client_gone(struct http_request *request);
