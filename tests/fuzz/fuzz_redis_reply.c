/* fuzz_redis_reply.c: whatever a peer sends becomes well-formed answers or ends the connection, and
 * how the bytes were cut on their way makes no difference. */
#include "base/buf.h"
#include "fuzz/fuzz.h"
#include "io/redis_reply.h"

#define ANSWERS_MOST 10000

static void read_answers(const uint8_t *data, size_t size, size_t piece, struct buf *out);
static bool take_answers(struct redis_parser *parser, size_t *count, struct buf *out,
                         struct err *err);
static void write_reply(const struct redis_reply *reply, struct buf *out);

/* First byte: the size of the pieces that the second reading is cut into. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    struct buf whole = BUF_EMPTY, cut = BUF_EMPTY;
    read_answers(data + 1, size - 1, size, &whole);
    read_answers(data + 1, size - 1, data[0] + 1U, &cut);
    require(whole.len == cut.len && memcmp(buf_text(&whole), buf_text(&cut), cut.len) == 0);
    buf_close(&whole);
    buf_close(&cut);
    return 0;
}

static void read_answers(const uint8_t *data, size_t size, size_t piece, struct buf *out)
{
    struct redis_parser *parser = redis_parser_new();
    struct err err;
    size_t count = 0;
    bool good = true;
    for (size_t at = 0; good && at < size; at += piece) {
        size_t len = size - at < piece ? size - at : piece;
        good = redis_parser_feed(parser, (const char *)data + at, len, &err) &&
               take_answers(parser, &count, out, &err);
    }
    if (!good) {
        require_refusal(&err);
        buf_add_text(out, err.text);
    }
    redis_parser_free(parser);
}

static bool take_answers(struct redis_parser *parser, size_t *count, struct buf *out,
                         struct err *err)
{
    struct redis_answer *answer;
    while (redis_parser_next(parser, &answer, err)) {
        if (!answer) return true;
        require(++*count < ANSWERS_MOST || out->len > 0);
        if (answer->is_error) require(answer->reply.type == REDIS_TEXT);
        write_reply(&answer->reply, out);
        redis_answer_free(answer);
    }
    return false;
}

/* Touches every byte that a reader of the reply might. */
static void write_reply(const struct redis_reply *reply, struct buf *out)
{
    require(reply != NULL);
    switch (reply->type) {
    case REDIS_NIL: buf_add_char(out, 'n'); break;
    case REDIS_INT: buf_addf(out, "i%lld", (long long)reply->integer); break;
    case REDIS_TEXT:
        require(reply->text[reply->len] == '\0');
        buf_addf(out, "t%zu:", reply->len);
        buf_add(out, reply->text, reply->len);
        break;
    case REDIS_ARRAY:
        buf_addf(out, "a%zu:", reply->count);
        for (size_t i = 0; i < reply->count; i++) write_reply(reply->items[i], out);
        break;
    }
}
