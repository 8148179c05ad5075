/* redis_sentinel.h: asks a list of Sentinels, one after the other, where the master is. Private to
 * the redis_* files. */
#pragma once
#include "base/err.h"
#include "config/config.h"
#include "loop/loop.h"

struct redis_sentinel; /* opaque; one question */

/* Exactly one of the two comes, from libuv or deferred work; then, or earlier, the owner calls
 * redis_sentinel_close. */
struct redis_sentinel_hooks {
    void *arg;
    void (*found)(void *arg, const char *host, int port); /* host borrowed for the call */
    void (*failed)(void *arg, const struct err *why);     /* none of them knew */
};
/* target is borrowed until closed. attempt: begins with another Sentinel each time. */
struct redis_sentinel *redis_sentinel_new(struct loop *loop, const struct redis_target *target,
                                          unsigned attempt,
                                          const struct redis_sentinel_hooks *hooks);
void redis_sentinel_close(struct redis_sentinel *sentinel);
