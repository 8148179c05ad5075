/* redis_call.h: one command from redis_send to its completion. Private to the redis_* files. */
#pragma once
#include "base/buf.h"
#include "base/list.h"
#include "io/redis.h"

/* Why a call ends without an answer. */
enum redis_end { REDIS_LOST, REDIS_NOT_UP, REDIS_TOO_LATE, REDIS_CANCELLED };

struct redis_call {
    struct list node; /* in exactly one of the connection's lists */
    redis_done_fn *done;
    void *arg;
    int64_t deadline_us;         /* on the boot clock */
    struct buf bytes;            /* until sent; of a script until answered */
    struct redis_script *script; /* or NULL */
    const char *verb;            /* or NULL: see base/fault.h */
    size_t shared_at;            /* see redis_command_evalsha; 0 once sent as EVAL */
    size_t argc;
    enum redis_end end;
};

struct redis_call *redis_call_new(const struct redis_command *command, redis_done_fn *done,
                                  void *arg);
struct redis_call *redis_call_new_script(struct redis_script *script, size_t key_count,
                                         const struct redis_command *keys_and_args,
                                         redis_done_fn *done, void *arg);
/* Calls done with one of the two; takes call, which is in no list. */
void redis_call_finish(struct redis_call *call, const struct redis_reply *reply,
                       const struct err *err);
/* The answer NOSCRIPT turns the call into an EVAL, once. False: it is no such call. */
bool redis_call_may_repeat(struct redis_call *call, const char *error);
/* What an error of the server means: ERR_STORE for its own troubles, else ERR_INTERNAL. True: this
 * connection is of no use any more. */
bool redis_call_judge(const struct redis_call *call, const char *error, const char *server,
                      struct err *err);
