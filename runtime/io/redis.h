/* redis.h: a Redis connection on the loop that mends itself. Only redis_reply.c knows hiredis (its
 * reader, on our own stream).
 *
 * Commands are pipelined and binary safe. Each has a deadline; when the oldest passes its own, the
 * connection is torn down and every command in flight ends with ERR_STORE. Reconnects with back-off
 * 50 ms..2 s, full jitter. Commands given while it is down end with ERR_STORE at once unless
 * `wait_for_connection`. A PING goes out after 5 s of silence so that a half-open peer is found
 * within 10 s. TCP_USER_TIMEOUT is set. READONLY, MASTERDOWN tear the connection down (reconnect
 * elsewhere); LOADING, OOM, BUSY, MISCONF, CLUSTERDOWN end the command with ERR_STORE and the
 * reply's word. Server errors otherwise: ERR_INTERNAL with text. Descriptors are close-on-exec. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "config/config.h"
#include "loop/loop.h"

struct redis; /* opaque */

enum redis_type { REDIS_NIL, REDIS_INT, REDIS_TEXT, REDIS_ARRAY };
struct redis_reply {
    enum redis_type type;
    int64_t integer;
    const char *text; /* TEXT, also status lines; NUL-terminated, may hold NULs */
    size_t len;
    size_t count; /* ARRAY */
    struct redis_reply *const *items;
};
/* Called exactly once, never before redis_send returned. reply is NULL when err is set; both are
 * borrowed for the call. */
typedef void redis_done_fn(void *arg, const struct redis_reply *reply, const struct err *err);

struct redis_hooks {
    void *arg;
    void (*connected)(void *arg);                   /* each time; may be NULL */
    void (*lost)(void *arg, const struct err *why); /* each time; may be NULL */
    void (*message)(void *arg, const char *channel, size_t channel_len, const char *text,
                    size_t len); /* subscriptions */
};

/* gives the strings: redis_target_close */
struct redis_target redis_target_copy(const struct redis_target *target);
/* Starts connecting at once. target is copied. */
struct redis *redis_new(struct loop *loop, const struct redis_target *target,
                        const struct redis_hooks *hooks);
/* Ends everything in flight with ERR_CANCELLED, closes; memory goes when libuv lets go. */
void redis_free(struct redis *redis);
bool redis_is_up(const struct redis *redis);
/* Tears down and reconnects (rule 12: a connection that does not deliver). */
void redis_rebuild(struct redis *redis, const char *why);

struct redis_command {
    size_t argc;
    const char *const *argv;
    const size_t *argv_len;   /* NULL: all are C strings */
    int64_t deadline_us;      /* 0: 5 s */
    bool wait_for_connection; /* queue it until connected, within the deadline */
    const char *verb;         /* names its fault points; NULL: it has none */
};
void redis_send(struct redis *redis, const struct redis_command *command, redis_done_fn *done,
                void *arg);

/* A server-side script: EVALSHA, on NOSCRIPT the same call once by EVAL. `text` is static; sha is
 * worked out at first use. */
struct redis_script {
    const char *name;
    const char *text;
    char sha[41]; /* private */
};
/* argv holds keys then arguments. */
void redis_script(struct redis *redis, struct redis_script *script, size_t key_count,
                  const struct redis_command *keys_and_args, redis_done_fn *done, void *arg);

/* On this connection from now on, and again after every reconnect (then it carries no ordinary
 * commands). Channels are copied. */
void redis_subscribe(struct redis *redis, const char *const *channels, size_t count);
