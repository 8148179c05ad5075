/* Replies are built as ours while hiredis reads: one allocation each, text and items inline.
 * Refusing an allocation makes the reader fail, which ends the connection. */
#include "io/redis_reply.h"

#include <hiredis/read.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define ARRAY_MOST (1 << 20) /* items: what a few bytes of a sick peer may make us allocate */

/* The parser is the reader itself under our name. */
static redisReader *reader_of(struct redis_parser *parser) { return (redisReader *)parser; }

static void *make_text(const redisReadTask *task, char *text, size_t len);
static void *make_array(const redisReadTask *task, int count);
static void *make_integer(const redisReadTask *task, long long value);
static void *make_nil(const redisReadTask *task);
static void free_answer(void *answer);

static redisReplyObjectFunctions makers = {
    .createString = make_text,
    .createArray = make_array,
    .createInteger = make_integer,
    .createNil = make_nil,
    .freeObject = free_answer,
};

struct redis_parser *redis_parser_new(void)
{
    redisReader *reader = redisReaderCreateWithFunctions(&makers);
    if (!reader) abort();
    return (struct redis_parser *)reader;
}

void redis_parser_free(struct redis_parser *parser) { redisReaderFree(reader_of(parser)); }

bool redis_parser_feed(struct redis_parser *parser, const char *data, size_t len, struct err *err)
{
    if (redisReaderFeed(reader_of(parser), data, len) == REDIS_OK) return true;
    return err_set(err, ERR_STORE, "%s", reader_of(parser)->errstr);
}

bool redis_parser_next(struct redis_parser *parser, struct redis_answer **out, struct err *err)
{
    void *answer = NULL;
    if (redisReaderGetReply(reader_of(parser), &answer) != REDIS_OK)
        return err_set(err, ERR_STORE, "%s", reader_of(parser)->errstr);
    *out = answer;
    return true;
}

void redis_answer_free(struct redis_answer *answer)
{
    if (!answer) return;
    for (size_t i = 0; i < answer->reply.count; i++)
        if (answer->slots[i])
            redis_answer_free(container_of(answer->slots[i], struct redis_answer, reply));
    free(answer);
}

static void free_answer(void *answer) { redis_answer_free(answer); }

static struct redis_answer *answer_new(const redisReadTask *task, enum redis_type type,
                                       size_t extra)
{
    struct redis_answer *answer = malloc(sizeof *answer + extra);
    if (!answer) return NULL;
    *answer = (struct redis_answer){ .reply.type = type };
    if (task->parent) {
        struct redis_answer *parent = task->parent->obj;
        parent->slots[task->idx] = &answer->reply;
    }
    return answer;
}

static void *make_text(const redisReadTask *task, char *text, size_t len)
{
    struct redis_answer *answer = answer_new(task, REDIS_TEXT, len + 1);
    if (!answer) return NULL;
    char *bytes = (char *)answer->slots;
    memcpy(bytes, text, len);
    bytes[len] = '\0';
    answer->reply.text = bytes;
    answer->reply.len = len;
    answer->is_error = task->type == REDIS_REPLY_ERROR;
    return answer;
}

static void *make_array(const redisReadTask *task, int count)
{
    /* hiredis cuts a count to an int, so it may be negative. */
    if (count < 0 || count > ARRAY_MOST) return NULL;
    size_t extra = (size_t)count * sizeof(struct redis_reply *);
    struct redis_answer *answer = answer_new(task, REDIS_ARRAY, extra);
    if (!answer) return NULL;
    memset(answer->slots, 0, extra); /* freed half-read when the connection ends */
    answer->reply.count = (size_t)count;
    answer->reply.items = answer->slots;
    return answer;
}

static void *make_integer(const redisReadTask *task, long long value)
{
    struct redis_answer *answer = answer_new(task, REDIS_INT, 0);
    if (answer) answer->reply.integer = value;
    return answer;
}

static void *make_nil(const redisReadTask *task) { return answer_new(task, REDIS_NIL, 0); }
