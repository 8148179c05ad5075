/* fuzz_hints.c: what claim, present, counts, epoch and INFO answer, and what is pushed to
 * listeners, as Redis' bytes. Anything may stand in Redis: an answer is read in full or refused in
 * full, and a hint that was read is within bounds. */
#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "io/redis_reply.h"
#include "runtime/broker/answers.c"
#include "runtime/broker/channels.c"
#include "runtime/broker/examine.c"

#define HINTS_MOST 10 /* per claim here */

static void feed(const struct redis_reply *reply, uint8_t verb);
static void push(const struct redis_reply *reply);
static void on_end(const struct err *err);
static void checked(void *arg, const struct err *err);
static void woken(void *arg, const char *queue);
static void planned(void *arg, int64_t run_at_us);
static void cancelled(void *arg, const struct ident *id);
static void told(void *arg, const char *line, size_t len);
static void claimed(void *arg, const struct broker_claimed *claimed, const struct err *err);
static void present(void *arg, const bool *there, size_t count, const struct err *err);
static void counted(void *arg, const struct broker_queue *queues, size_t count, int64_t claimed,
                    const struct err *err);
static void epoch(void *arg, const char *text, const struct err *err);

static int ends; /* completions of the present answer */

/* First byte: the verb. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    struct redis_parser *parser = redis_parser_new();
    struct redis_answer *answer = NULL;
    struct err err;
    bool good = redis_parser_feed(parser, (const char *)data + 1, size - 1, &err);
    while (good && redis_parser_next(parser, &answer, &err) && answer) {
        ends = 0;
        if (!answer->is_error) feed(&answer->reply, data[0]);
        require(answer->is_error || ends == 1);
        redis_answer_free(answer);
    }
    redis_parser_free(parser);
    return 0;
}

static void feed(const struct redis_reply *reply, uint8_t verb)
{
    switch (verb % 6) {
    case 0: {
        struct claim_call *call = xcalloc(1, sizeof *call);
        *call = (struct claim_call){ .done = claimed, .max = HINTS_MOST };
        call->hints = xcalloc(HINTS_MOST, sizeof *call->hints);
        on_claimed(call, reply, NULL);
        break;
    }
    case 1: {
        struct present_call *call = xmalloc(sizeof *call);
        *call = (struct present_call){ present, NULL, 3, xcalloc(3, sizeof(bool)) };
        on_present(call, reply, NULL);
        break;
    }
    case 2: {
        struct counts_call *call = xmalloc(sizeof *call);
        *call = (struct counts_call){ counted, NULL };
        on_counts(call, reply, NULL);
        break;
    }
    case 3: {
        struct epoch_call *call = xmalloc(sizeof *call);
        *call = (struct epoch_call){ epoch, NULL };
        on_epoch(call, reply, NULL);
        break;
    }
    case 4: {
        struct check_call *call = xmalloc(sizeof *call);
        struct broker_facts facts = { 0 };
        *call = (struct check_call){ checked, NULL };
        if (reply->type == REDIS_TEXT) read_facts(reply->text, &facts);
        on_info(call, reply, NULL);
        break;
    }
    default: push(reply);
    }
}

/* [channel, text], as redis.c hands it on. */
static void push(const struct redis_reply *reply)
{
    struct broker broker = { .key = (char *)"{ns}", .channels = BROKER_EVENTS };
    broker.hooks = (struct broker_hooks){ NULL, NULL, NULL, woken, planned, cancelled, told };
    ends = 1;
    if (is_odd(reply, REDIS_ARRAY) || reply->count < 2) return;
    const struct redis_reply *channel = reply->items[0], *text = reply->items[1];
    if (is_odd(channel, REDIS_TEXT) || is_odd(text, REDIS_TEXT)) return;
    on_message(&broker, channel->text, channel->len, text->text, text->len);
}

static void checked(void *arg, const struct err *err)
{
    (void)arg;
    on_end(err);
}

static void woken(void *arg, const char *queue)
{
    (void)arg;
    require(queue);
}

static void planned(void *arg, int64_t run_at_us)
{
    (void)arg;
    (void)run_at_us;
}

static void cancelled(void *arg, const struct ident *id)
{
    (void)arg;
    require(id);
}

/* Lines without their ends, never empty. */
static void told(void *arg, const char *line, size_t len)
{
    (void)arg;
    require(len > 0 && !memchr(line, '\n', len));
}

static void on_end(const struct err *err)
{
    ends++;
    if (err) require_text(err->text);
}

static void claimed(void *arg, const struct broker_claimed *answer, const struct err *err)
{
    (void)arg;
    on_end(err);
    require(!answer == !!err);
    if (!answer) return;
    require(answer->count <= HINTS_MOST && answer->epoch);
    for (size_t i = 0; i < answer->count; i++) {
        const struct hint *hint = &answer->hints[i];
        require(hint->priority >= 0 && hint->priority <= 10);
        require(hint->ready_us >= 0 && hint->starts >= 0);
        require(strlen(hint->queue) <= HINT_QUEUE_MAX);
    }
}

static void present(void *arg, const bool *there, size_t count, const struct err *err)
{
    (void)arg;
    on_end(err);
    require(err ? count == 0 : there && count == 3);
}

static void counted(void *arg, const struct broker_queue *queues, size_t count, int64_t held,
                    const struct err *err)
{
    (void)arg;
    (void)held;
    on_end(err);
    require(!err || count == 0);
    for (size_t i = 0; i < count; i++) require(strlen(queues[i].name) <= QUEUE_NAME_MAX);
}

static void epoch(void *arg, const char *text, const struct err *err)
{
    (void)arg;
    on_end(err);
    require(text && !err);
}
