/* redis_command.h: commands as bytes of Redis' protocol. Private to the redis_* files. No I/O. */
#pragma once
#include <stddef.h>

#include "base/buf.h"
#include "io/redis.h"

void redis_command_begin(struct buf *out, size_t argc);
void redis_command_arg(struct buf *out, const void *data, size_t len);
void redis_command_text(struct buf *out, const char *text);
/* All arguments of command, without a beginning. */
void redis_command_args(struct buf *out, const struct redis_command *command);

/* EVALSHA for a script whose sha is known. Gives where the part starts that EVAL shares. */
size_t redis_command_evalsha(struct buf *out, const struct redis_script *script, size_t key_count,
                             const struct redis_command *keys_and_args);
/* The same call with the text itself, in place of the EVALSHA in call. */
void redis_command_eval_instead(struct buf *call, size_t shared_at,
                                const struct redis_script *script, size_t argc);

void redis_sha1_hex(const char *text, size_t len,
                    char out[41]); /* names a script, secures nothing */
