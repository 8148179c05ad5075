/* redis_reply.h: bytes from Redis -> replies. Private to the redis_* files; the only one that knows
 * hiredis is its .c. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "io/redis.h"

struct redis_parser; /* opaque */

struct redis_answer {
    struct redis_reply reply;
    bool is_error; /* then reply is the TEXT of the error */
    /* private: items of an array, or the bytes of a text */
    struct redis_reply *slots[];
};

struct redis_parser *redis_parser_new(void); /* gives */
void redis_parser_free(struct redis_parser *parser);
MUSTUSE bool redis_parser_feed(struct redis_parser *parser, const char *data, size_t len,
                               struct err *err);
/* *out: the next whole answer (gives), or NULL when more bytes are needed. */
MUSTUSE bool redis_parser_next(struct redis_parser *parser, struct redis_answer **out,
                               struct err *err);
void redis_answer_free(struct redis_answer *answer);
