/* broker.c: the connections, and the verbs without an answer of their own. Those that answer are in
 * answers.c, channels in channels.c. */
#include "broker/broker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "broker/broker_private.h"
#include "broker/rank.h"

struct broker_call {
    broker_done_fn *done; /* may be NULL */
    void *arg;
};

struct slices {           /* of many hints */
    broker_done_fn *done; /* may be NULL */
    void *arg;
    size_t open;    /* scripts without an answer */
    struct err err; /* the first one */
};

static void on_connected(void *arg);
static void on_lost(void *arg, const struct err *why);
static void send_slices(struct broker *broker, struct redis_script *script,
                        const struct hint *hints, size_t count, broker_done_fn *done, void *arg);
static void send_slice(struct broker *broker, struct redis_script *script, const struct hint *hints,
                       size_t count, struct slices *slices);
static void on_epoch_set(void *arg, const struct redis_reply *reply, const struct err *err);
static void on_slice_done(void *arg, const struct redis_reply *reply, const struct err *err);

struct broker *broker_new(struct loop *loop, const struct redis_target *target,
                          const char *namespace, const struct broker_hooks *hooks)
{
    struct broker *broker = xcalloc(1, sizeof *broker);
    broker->loop = loop;
    broker->target = redis_target_copy(target);
    broker->hooks = *hooks;
    broker->key = xasprintf("{%s}", namespace);
    struct redis_hooks redis_hooks = { .arg = broker, .connected = on_connected, .lost = on_lost };
    broker->commands = redis_new(loop, target, &redis_hooks);
    return broker;
}

static void on_connected(void *arg)
{
    struct broker *broker = arg;
    if (broker->hooks.connected) broker->hooks.connected(broker->hooks.arg);
}

static void on_lost(void *arg, const struct err *why)
{
    struct broker *broker = arg;
    if (broker->hooks.lost) broker->hooks.lost(broker->hooks.arg, why);
}

void broker_free(struct broker *broker)
{
    broker->channels = 0;
    redis_free(broker->commands);
    if (broker->subscription) redis_free(broker->subscription);
    redis_target_close(&broker->target);
    free(broker->key);
    loop_bury(broker->loop, broker);
}

bool broker_is_up(const struct broker *broker) { return redis_is_up(broker->commands); }

void broker_rebuild(struct broker *broker, const char *why)
{
    redis_rebuild(broker->commands, why);
    if (broker->subscription) redis_rebuild(broker->subscription, why);
}

void broker_push(struct broker *broker, const struct hint *hints, size_t count,
                 broker_done_fn *done, void *arg)
{
    send_slices(broker, &script_push, hints, count, done, arg);
}

void broker_forget(struct broker *broker, const struct hint *hints, size_t count,
                   broker_done_fn *done, void *arg)
{
    send_slices(broker, &script_forget, hints, count, done, arg);
}

static void send_slices(struct broker *broker, struct redis_script *script,
                        const struct hint *hints, size_t count, broker_done_fn *done, void *arg)
{
    assert(count > 0);
    struct slices *slices = xcalloc(1, sizeof *slices);
    slices->done = done;
    slices->arg = arg;
    for (size_t at = 0; at < count; at += ITEMS_MOST) {
        size_t left = count - at;
        send_slice(broker, script, hints + at, left < ITEMS_MOST ? left : ITEMS_MOST, slices);
    }
}

static void send_slice(struct broker *broker, struct redis_script *script, const struct hint *hints,
                       size_t count, struct slices *slices)
{
    struct args args = { 0 };
    for (const struct hint *hint = hints; hint < hints + count; hint++) {
        args_ident(&args, &hint->id);
        args_int(&args, hint->starts);
        args_int(&args, rank_score(hint->priority, hint->ready_us));
        args_text(&args, hint->queue);
    }
    slices->open++;
    args_send(&args, broker->commands, script, broker->key, on_slice_done, slices);
}

static void on_slice_done(void *arg, const struct redis_reply *reply, const struct err *err)
{
    (void)reply;
    struct slices *slices = arg;
    if (err && slices->err.code == ERR_NONE) slices->err = *err;
    if (--slices->open > 0) return;
    if (slices->done) slices->done(slices->arg, slices->err.code == ERR_NONE ? NULL : &slices->err);
    free(slices);
}

void broker_settle(struct broker *broker, const struct broker_settle *settles, size_t count,
                   broker_done_fn *done, void *arg)
{
    assert(count > 0 && count <= ITEMS_MOST);
    struct args args = { 0 };
    for (const struct broker_settle *settle = settles; settle < settles + count; settle++) {
        args_ident(&args, &settle->id);
        args_ident(&args, &settle->token);
        if (settle->drop)
            args_text(&args, "");
        else if (settle->move_to)
            args_moved(&args, settle->move_to);
        else if (settle->not_mine)
            args_kin(&args, settle->not_mine);
        else
            args_int(&args, settle->not_before_us > 0 ? (settle->not_before_us + 999) / 1000 : 0);
    }
    args_send(&args, broker->commands, &script_settle, broker->key, broker_call_done,
              broker_call_new(done, arg));
}

void broker_set_paused(struct broker *broker, const char *const *queues, size_t count,
                       broker_done_fn *done, void *arg)
{
    struct args args = { 0 };
    for (size_t i = 0; i < count; i++) args_text(&args, queues[i]);
    args_send(&args, broker->commands, &script_set_paused, broker->key, broker_call_done,
              broker_call_new(done, arg));
}

void broker_epoch_begin(struct broker *broker, const char *epoch, broker_done_fn *done, void *arg)
{
    char *key = broker_key(broker, "next");
    broker_send(broker, "epoch_begin", 3, (const char *[]){ "SET", key, epoch }, broker_call_done,
                broker_call_new(done, arg));
    free(key);
}

void broker_epoch_set(struct broker *broker, const char *epoch, broker_done_fn *done, void *arg)
{
    struct args args = { 0 };
    args_text(&args, epoch);
    args_send(&args, broker->commands, &script_epoch_set, broker->key, on_epoch_set,
              broker_call_new(done, arg));
}

static void on_epoch_set(void *arg, const struct redis_reply *reply, const struct err *err)
{
    struct err lost;
    if (!err && reply->type == REDIS_INT && reply->integer == 0) {
        err_set(&lost, ERR_CONFLICT, "Redis lost data, or another keeper works");
        err = &lost;
    }
    broker_call_done(arg, reply, err);
}

struct broker_call *broker_call_new(broker_done_fn *done, void *arg)
{
    struct broker_call *call = xmalloc(sizeof *call);
    *call = (struct broker_call){ done, arg };
    return call;
}

void broker_call_done(void *arg, const struct redis_reply *reply, const struct err *err)
{
    (void)reply;
    struct broker_call *call = arg;
    if (call->done) call->done(call->arg, err);
    free(call);
}

char *broker_key(const struct broker *broker, const char *name)
{
    return xasprintf("%s:%s", broker->key, name);
}

void broker_send(struct broker *broker, const char *verb, size_t argc, const char *const *argv,
                 redis_done_fn *done, void *arg)
{
    struct redis_command command = { .argc = argc, .argv = argv, .verb = verb };
    redis_send(broker->commands, &command, done, arg);
}
