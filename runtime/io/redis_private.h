/* redis_private.h: shared by redis.c, which holds the calls and their time, and redis_connect.c,
 * which brings a connection up. */
#pragma once
#include "base/list.h"
#include "io/redis.h"
#include "io/redis_call.h"
#include "io/redis_sentinel.h"
#include "io/redis_stream.h"

#define REDIS_CONNECT_WITHIN_US 2500000 /* with the back-off: found again within 5 s */
#define REDIS_QUIET_US          5000000
/* A connection that lasted so long is one: it is told of, and begins the back-off anew. */
#define REDIS_STABLE_AFTER_US 2000000

enum redis_state {
    REDIS_DOWN,
    REDIS_CONNECTING,
    REDIS_GREETING,
    REDIS_SUBSCRIBING,
    REDIS_UP,
    REDIS_CLOSED
};

struct redis {
    struct loop *loop;
    struct redis_target target; /* owned */
    char *shown;                /* owned: the server's name in messages, without secrets */
    struct redis_hooks hooks;
    enum redis_state state;
    struct redis_sentinel *sentinel; /* owned while asking */
    struct redis_stream *stream;     /* owned while there is one */
    struct timer step;               /* the state's */
    struct timer deadline;
    int64_t deadline_at_us; /* 0: not armed */
    int open_timers;
    int64_t heard_us;
    int64_t up_since_us;
    bool ping_is_out;
    unsigned attempt;
    size_t answers_due; /* while REDIS_GREETING or REDIS_SUBSCRIBING */
    char **channels;    /* owned */
    size_t channel_count;
    struct list waiting, flight, ended;
    struct defer tell;
    bool must_tell_lost;
    bool has_complained; /* until a connection has lasted */
    struct err why;      /* of the last drop */
};

/* redis.c */
void redis_to_wire(struct redis *redis, struct redis_call *call);
void redis_on_answer(void *redis, const struct redis_answer *answer);
void redis_on_failed(void *redis, const struct err *why); /* to DOWN: back-off, then again */
void redis_drop_because(struct redis *redis, const char *why);

/* redis_connect.c */
void redis_connect(struct redis *redis);
void redis_take_greeting(struct redis *redis, const struct redis_answer *answer);
void redis_send_subscribe(struct redis *redis); /* to SUBSCRIBING, from there to UP */
void redis_become_up(struct redis *redis);
