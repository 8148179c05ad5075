/* fuzz_hints.c: what claim, present, counts and epoch answer, as Redis' bytes. Anything may stand
 * in Redis: an answer is read in full or refused in full, and a hint that was read is within
 * bounds. */
#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "io/redis_reply.h"
#include "runtime/broker/answers.c"

#define HINTS_MOST 10 /* per claim here */

static void feed(const struct redis_reply *reply, uint8_t verb);
static void on_end(const struct err *err);
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
    switch (verb % 4) {
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
    default: {
        struct epoch_call *call = xmalloc(sizeof *call);
        *call = (struct epoch_call){ epoch, NULL };
        on_epoch(call, reply, NULL);
    }
    }
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
        require(strlen(hint->queue) <= QUEUE_NAME_MAX);
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
