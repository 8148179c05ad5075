/* answers.c: the verbs that answer. Redis may hold anything that somebody else wrote there, so each
 * answer's shape is checked before it is read. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "broker/broker_private.h"
#include "broker/rank.h"

struct claim_call {
    broker_claim_fn *done;
    void *arg;
    struct hint *hints; /* owned, room for `max` */
    size_t count;
    size_t max;
};

struct present_call {
    broker_present_fn *done;
    void *arg;
    size_t count;
    bool *present; /* owned */
};

struct counts_call {
    broker_counts_fn *done;
    void *arg;
};

struct epoch_call {
    broker_epoch_fn *done;
    void *arg;
};

static void on_claimed(void *arg, const struct redis_reply *reply, const struct err *err);
static void on_present(void *arg, const struct redis_reply *reply, const struct err *err);
static void on_counts(void *arg, const struct redis_reply *reply, const struct err *err);
static void on_epoch(void *arg, const struct redis_reply *reply, const struct err *err);

void broker_claim(struct broker *broker, const struct broker_claim *claim, broker_claim_fn *done,
                  void *arg)
{
    assert(claim->max > 0 && claim->max <= 100);
    struct claim_call *call = xcalloc(1, sizeof *call);
    call->done = done;
    call->arg = arg;
    call->max = (size_t)claim->max;
    call->hints = xcalloc(call->max, sizeof *call->hints);
    struct args args = { 0 };
    args_ident(&args, claim->incarnation);
    args_ident(&args, claim->token);
    args_int(&args, claim->max);
    args_kin(&args, claim->kin);
    for (const char *const *queue = claim->queues; *queue; queue++) args_text(&args, *queue);
    args_send(&args, broker->commands, &script_claim, broker->key, on_claimed, call);
}

static bool is_odd(const struct redis_reply *reply, enum redis_type type)
{
    return reply->type != type;
}

static bool odd_answer(const char *verb, struct err *err)
{
    return err_set(err, ERR_INTERNAL, "Redis answered to %s what it never should", verb);
}

/* A rank that is none (somebody else's inf or nan) counts as the first: the ledger judges anyway.
 */
static int64_t read_score(const struct redis_reply *reply)
{
    double score = strtod(reply->text, NULL);
    return score >= 0 && score < 0x1p62 ? (int64_t)score : 0;
}

static int32_t read_starts(const struct redis_reply *reply)
{
    long starts = reply->type == REDIS_TEXT ? strtol(reply->text, NULL, 10) : 0;
    return starts < 0 ? 0 : starts > INT32_MAX ? INT32_MAX : (int32_t)starts;
}

/* Members that are no ids were dropped by the script. */
static void take_hint(struct claim_call *call, const struct redis_reply *queue,
                      const struct redis_reply *id, const struct redis_reply *score,
                      const struct redis_reply *starts)
{
    if (id->len != sizeof(struct ident) || call->count == call->max) return;
    struct hint *hint = &call->hints[call->count++];
    memcpy(hint->id.bytes, id->text, sizeof hint->id.bytes);
    memcpy(hint->queue, queue->text, queue->len + 1);
    hint->starts = read_starts(starts);
    rank_read(read_score(score), hint);
}

static bool take_queue(struct claim_call *call, struct redis_reply *const *group)
{
    const struct redis_reply *queue = group[0], *taken = group[1], *starts = group[2];
    if (is_odd(queue, REDIS_TEXT) || queue->len > HINT_QUEUE_MAX || is_odd(taken, REDIS_ARRAY) ||
        is_odd(starts, REDIS_ARRAY) || taken->count != 2 * starts->count)
        return false;
    for (size_t i = 0; i < starts->count; i++) {
        const struct redis_reply *id = taken->items[2 * i], *score = taken->items[2 * i + 1];
        if (is_odd(id, REDIS_TEXT) || is_odd(score, REDIS_TEXT)) return false;
        take_hint(call, queue, id, score, starts->items[i]);
    }
    return true;
}

static bool read_claimed(struct claim_call *call, const struct redis_reply *reply,
                         struct broker_claimed *out, struct err *err)
{
    if (is_odd(reply, REDIS_ARRAY) || reply->count < 2 || (reply->count - 2) % 3 != 0 ||
        is_odd(reply->items[0], REDIS_TEXT) || is_odd(reply->items[1], REDIS_INT))
        return odd_answer("claim", err);
    for (size_t i = 2; i < reply->count; i += 3)
        if (!take_queue(call, reply->items + i)) return odd_answer("claim", err);
    *out = (struct broker_claimed){ .hints = call->hints,
                                    .count = call->count,
                                    .epoch = reply->items[0]->text,
                                    .more = reply->items[1]->integer != 0 };
    return true;
}

static void on_claimed(void *arg, const struct redis_reply *reply, const struct err *err)
{
    struct claim_call *call = arg;
    struct broker_claimed claimed;
    struct err odd;
    if (!err && !read_claimed(call, reply, &claimed, &odd)) err = &odd;
    call->done(call->arg, err ? NULL : &claimed, err);
    free(call->hints);
    free(call);
}

void broker_present(struct broker *broker, const struct hint *hints, size_t count,
                    broker_present_fn *done, void *arg)
{
    assert(count > 0 && count <= ITEMS_MOST);
    struct present_call *call = xmalloc(sizeof *call);
    *call = (struct present_call){ done, arg, count, xcalloc(count, sizeof(bool)) };
    struct args args = { 0 };
    for (const struct hint *hint = hints; hint < hints + count; hint++) {
        args_ident(&args, &hint->id);
        args_int(&args, hint->starts);
        args_text(&args, hint->queue);
    }
    args_send(&args, broker->commands, &script_present, broker->key, on_present, call);
}

static void on_present(void *arg, const struct redis_reply *reply, const struct err *err)
{
    struct present_call *call = arg;
    struct err odd;
    if (!err && (is_odd(reply, REDIS_TEXT) || reply->len != call->count)) {
        odd_answer("present", &odd);
        err = &odd;
    }
    for (size_t i = 0; !err && i < call->count; i++) call->present[i] = reply->text[i] == '1';
    call->done(call->arg, err ? NULL : call->present, err ? 0 : call->count, err);
    free(call->present);
    free(call);
}

void broker_counts(struct broker *broker, broker_counts_fn *done, void *arg)
{
    struct counts_call *call = xmalloc(sizeof *call);
    *call = (struct counts_call){ done, arg };
    struct args args = { 0 };
    args_send(&args, broker->commands, &script_counts, broker->key, on_counts, call);
}

static bool read_queue(struct redis_reply *const *group, struct broker_queue *out)
{
    if (is_odd(group[0], REDIS_TEXT) || group[0]->len > QUEUE_NAME_MAX ||
        is_odd(group[1], REDIS_INT) || is_odd(group[2], REDIS_INT))
        return false;
    memcpy(out->name, group[0]->text, group[0]->len + 1);
    out->hints = group[1]->integer;
    out->paused = group[2]->integer != 0;
    return true;
}

static void on_counts(void *arg, const struct redis_reply *reply, const struct err *err)
{
    struct counts_call *call = arg;
    struct broker_queue *queues = NULL;
    size_t count = 0;
    struct err odd;
    bool ok = !err && reply->type == REDIS_ARRAY && reply->count % 3 == 1 &&
              reply->items[0]->type == REDIS_INT;
    if (ok) queues = xcalloc(reply->count / 3 + 1, sizeof *queues);
    for (size_t i = 1; ok && i < reply->count; i += 3)
        ok = read_queue(reply->items + i, &queues[count++]);
    if (!err && !ok) {
        odd_answer("counts", &odd);
        err = &odd;
    }
    call->done(call->arg, queues, err ? 0 : count, err ? 0 : reply->items[0]->integer, err);
    free(queues);
    free(call);
}

void broker_epoch_get(struct broker *broker, broker_epoch_fn *done, void *arg)
{
    struct epoch_call *call = xmalloc(sizeof *call);
    *call = (struct epoch_call){ done, arg };
    char *key = broker_key(broker, "epoch");
    broker_send(broker, "epoch_get", 2, (const char *[]){ "GET", key }, on_epoch, call);
    free(key);
}

static void on_epoch(void *arg, const struct redis_reply *reply, const struct err *err)
{
    struct epoch_call *call = arg;
    const char *epoch = reply && reply->type == REDIS_TEXT ? reply->text : "";
    call->done(call->arg, err ? NULL : epoch, err);
    free(call);
}
