/* args.h: an argument list for a script, gathered piece by piece. Private to broker/. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/ident.h"
#include "io/redis.h"

struct args {
    struct buf bytes; /* all arguments, one behind the other */
    struct buf lens;  /* a size_t for each */
};

void args_close(struct args *args);
void args_add(struct args *args, const void *data, size_t len);
void args_text(struct args *args, const char *text);
void args_int(struct args *args, int64_t value);
void args_ident(struct args *args, const struct ident *id);
void args_kin(struct args *args, uint64_t kin);        /* "-" and hex digits */
void args_moved(struct args *args, const char *queue); /* ">" and the queue */
/* Sends the script with `key` as its one key; closes args. */
void args_send(struct args *args, struct redis *redis, struct redis_script *script, const char *key,
               redis_done_fn *done, void *arg);
