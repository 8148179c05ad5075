/* redis.c: the life of a connection and of the commands on it.
 *
 *   DOWN --back-off--> CONNECTING --open--> GREETING --all well--> [SUBSCRIBING -->] UP
 *     ^------------------- drop: any failure, a deadline, a rebuild -----------------'
 *
 * A call is in one of three lists: `waiting` for a connection, in `flight` in the order of its
 * answer, or `ended` without an answer, until the next round of deferred work completes it: a
 * failure never calls back into the code that caused it. One timer drives the states (back-off,
 * patience, silence), one stands for the earliest deadline. */
#include "io/redis.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/ident.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/redis_command.h"
#include "io/redis_private.h"

#define BACK_OFF_FIRST_US 50000
#define BACK_OFF_MOST_US  1000000
#define PING_WITHIN_US    4000000

static void on_step(struct timer *timer);
static void on_deadline(struct timer *timer);
static void on_tell(struct defer *defer);
static void start_call(struct redis *redis, struct redis_call *call, bool may_wait);
static void end_call(struct redis *redis, struct redis_call *call, enum redis_end end);
static void end_all(struct redis *redis, struct list *calls, enum redis_end end);
static void finish_ended(struct redis *redis, struct redis_call *call);
static void free_channels(struct redis *redis);

static char *copy(const char *text) { return text ? xstrdup(text) : NULL; }

struct redis_target redis_target_copy(const struct redis_target *target)
{
    return (struct redis_target){
        .unix_path = copy(target->unix_path),
        .host = copy(target->host),
        .port = target->port,
        .password = copy(target->password),
        .user = copy(target->user),
        .db = target->db,
        .sentinels = copy(target->sentinels),
        .master_name = copy(target->master_name),
    };
}

static char *target_shown(const struct redis_target *target)
{
    if (target->master_name)
        return xasprintf("%s by Sentinel %s", target->master_name, target->sentinels);
    if (target->unix_path) return xasprintf("unix:%s", target->unix_path);
    return xasprintf("%s:%d", target->host, target->port);
}

struct redis *redis_new(struct loop *loop, const struct redis_target *target,
                        const struct redis_hooks *hooks)
{
    struct redis *redis = xcalloc(1, sizeof *redis);
    redis->loop = loop;
    redis->hooks = *hooks;
    redis->target = redis_target_copy(target);
    redis->shown = target_shown(target);
    list_init(&redis->waiting);
    list_init(&redis->flight);
    list_init(&redis->ended);
    loop_defer_init(&redis->tell, on_tell);
    timer_init(loop, &redis->step, on_step);
    timer_init(loop, &redis->deadline, on_deadline);
    timer_be_patient(&redis->deadline);
    redis->open_timers = 2;
    err_set(&redis->why, ERR_STORE, "not connected yet");
    redis_connect(redis);
    return redis;
}

static void on_timer_closed(struct redis *redis)
{
    if (--redis->open_timers > 0) return;
    redis_target_close(&redis->target);
    free_channels(redis);
    free(redis->shown);
    loop_bury(redis->loop, redis);
}

static void on_step_closed(struct timer *timer)
{
    on_timer_closed(container_of(timer, struct redis, step));
}

static void on_deadline_closed(struct timer *timer)
{
    on_timer_closed(container_of(timer, struct redis, deadline));
}

static void let_go(struct redis *redis)
{
    if (redis->sentinel) redis_sentinel_close(redis->sentinel);
    if (redis->stream) redis_stream_close(redis->stream);
    redis->sentinel = NULL;
    redis->stream = NULL;
}

void redis_free(struct redis *redis)
{
    redis->state = REDIS_CLOSED;
    let_go(redis);
    loop_defer_cancel(&redis->tell);
    end_all(redis, &redis->flight, REDIS_CANCELLED);
    end_all(redis, &redis->waiting, REDIS_CANCELLED);
    struct list *node;
    while ((node = list_pop_front(&redis->ended)))
        finish_ended(redis, container_of(node, struct redis_call, node));
    loop_defer_cancel(&redis->tell);
    timer_close(&redis->step, on_step_closed);
    timer_close(&redis->deadline, on_deadline_closed);
}

bool redis_is_up(const struct redis *redis) { return redis->state == REDIS_UP; }

void redis_rebuild(struct redis *redis, const char *why)
{
    if (redis->state != REDIS_DOWN) redis_drop_because(redis, why);
}

void redis_send(struct redis *redis, const struct redis_command *command, redis_done_fn *done,
                void *arg)
{
    start_call(redis, redis_call_new(command, done, arg), command->wait_for_connection);
}

void redis_script(struct redis *redis, struct redis_script *script, size_t key_count,
                  const struct redis_command *keys_and_args, redis_done_fn *done, void *arg)
{
    struct redis_call *call = redis_call_new_script(script, key_count, keys_and_args, done, arg);
    start_call(redis, call, keys_and_args->wait_for_connection);
}

void redis_subscribe(struct redis *redis, const char *const *channels, size_t count)
{
    free_channels(redis);
    redis->channels = xcalloc(count, sizeof *redis->channels);
    redis->channel_count = count;
    for (size_t i = 0; i < count; i++) redis->channels[i] = xstrdup(channels[i]);
    if (redis->state == REDIS_UP || redis->state == REDIS_SUBSCRIBING) redis_send_subscribe(redis);
}

void redis_to_wire(struct redis *redis, struct redis_call *call)
{
    struct buf *out = redis_stream_out(redis->stream);
    buf_add(out, call->bytes.data, call->bytes.len);
    if (!call->script) buf_close(&call->bytes);
    list_push_back(&redis->flight, &call->node);
    redis_stream_flush_soon(redis->stream);
}

/* ---- answers ---- */

static void take_answer(struct redis *redis, const struct redis_answer *answer)
{
    struct list *node = list_pop_front(&redis->flight);
    struct redis_call *call = container_of(node, struct redis_call, node);
    struct err err;
    if (!answer->is_error && call->verb && fault_done(call->verb)) {
        list_push_front(&redis->flight, &call->node);
        redis_drop_because(redis, "the fault that was ordered");
        return;
    }
    if (!answer->is_error) {
        redis_call_finish(call, &answer->reply, NULL);
        return;
    }
    if (redis_call_may_repeat(call, answer->reply.text)) {
        redis_to_wire(redis, call);
        return;
    }
    bool is_useless = redis_call_judge(call, answer->reply.text, redis->shown, &err);
    redis_call_finish(call, NULL, &err);
    if (is_useless && redis->state == REDIS_UP) redis_drop_because(redis, answer->reply.text);
}

/* [message, channel, text], [subscribe, channel, count] or [pong, ""]. */
static void take_push(struct redis *redis, const struct redis_answer *answer)
{
    const struct redis_reply *reply = &answer->reply;
    if (answer->is_error) {
        redis_drop_because(redis, reply->text);
        return;
    }
    if (reply->type != REDIS_ARRAY || reply->count < 3 || reply->items[0]->type != REDIS_TEXT)
        return;
    const struct redis_reply *channel = reply->items[1], *text = reply->items[2];
    if (strcmp(reply->items[0]->text, "message") == 0) {
        bool is_odd = channel->type != REDIS_TEXT || text->type != REDIS_TEXT;
        if (redis->hooks.message && !is_odd)
            redis->hooks.message(redis->hooks.arg, channel->text, channel->len, text->text,
                                 text->len);
    } else if (redis->state == REDIS_SUBSCRIBING && --redis->answers_due == 0) {
        redis_become_up(redis);
    }
}

void redis_on_answer(void *arg, const struct redis_answer *answer)
{
    struct redis *redis = arg;
    redis->heard_us = clock_boot_us();
    redis->ping_is_out = false;
    if (redis->state == REDIS_GREETING)
        redis_take_greeting(redis, answer);
    else if (!list_is_empty(&redis->flight))
        take_answer(redis, answer);
    else if (redis->channel_count > 0)
        take_push(redis, answer);
    else
        redis_drop_because(redis, "an answer to no command came");
}

/* ---- time ---- */

static void ignore_pong(void *arg, const struct redis_reply *reply, const struct err *err)
{
    (void)arg, (void)reply, (void)err;
}

/* A subscription answers by a push, so there the PING is no call. */
static void ping(struct redis *redis)
{
    struct redis_command command = { .argc = 1, .argv = (const char *[]){ "PING" } };
    struct buf *out = redis_stream_out(redis->stream);
    redis->ping_is_out = true;
    timer_start(&redis->step, PING_WITHIN_US);
    if (redis->channel_count == 0) {
        redis_to_wire(redis, redis_call_new(&command, ignore_pong, NULL));
        return;
    }
    redis_command_begin(out, 1);
    redis_command_text(out, "PING");
    redis_stream_flush_soon(redis->stream);
}

/* While commands are in flight their deadlines watch the connection. */
static void watch_silence(struct redis *redis)
{
    int64_t quiet_us = clock_boot_us() - redis->heard_us;
    if (redis->has_complained) log_info("Redis (%s) is reachable again", redis->shown);
    redis->has_complained = false;
    if (redis->ping_is_out)
        redis_drop_because(redis, "the server fell silent");
    else if (quiet_us < REDIS_QUIET_US)
        timer_start(&redis->step, REDIS_QUIET_US - quiet_us);
    else if (list_is_empty(&redis->flight))
        ping(redis);
    else
        timer_start(&redis->step, REDIS_QUIET_US);
}

static void on_step(struct timer *timer)
{
    struct redis *redis = container_of(timer, struct redis, step);
    switch (redis->state) {
    case REDIS_DOWN: redis_connect(redis); break;
    case REDIS_CONNECTING: redis_drop_because(redis, "no connection within 5 s"); break;
    case REDIS_GREETING:
    case REDIS_SUBSCRIBING: redis_drop_because(redis, "connected, but no answer within 5 s"); break;
    case REDIS_UP: watch_silence(redis); break;
    case REDIS_CLOSED: break;
    }
}

static void watch_deadline(struct redis *redis, int64_t deadline_us)
{
    if (redis->deadline_at_us != 0 && redis->deadline_at_us <= deadline_us) return;
    redis->deadline_at_us = deadline_us;
    timer_start(&redis->deadline, deadline_us - clock_boot_us());
}

static void on_deadline(struct timer *timer)
{
    struct redis *redis = container_of(timer, struct redis, deadline);
    int64_t now_us = clock_boot_us();
    bool is_late = false;
    redis->deadline_at_us = 0;
    LIST_EACH (node, &redis->flight) {
        struct redis_call *call = container_of(node, struct redis_call, node);
        is_late = is_late || call->deadline_us <= now_us;
        if (!is_late) watch_deadline(redis, call->deadline_us);
    }
    LIST_EACH (node, &redis->waiting) {
        struct redis_call *call = container_of(node, struct redis_call, node);
        if (call->deadline_us <= now_us)
            end_call(redis, call, REDIS_TOO_LATE);
        else
            watch_deadline(redis, call->deadline_us);
    }
    if (is_late) redis_drop_because(redis, "a command was not answered in time");
}

/* ---- losing the connection ---- */

static int64_t back_off_us(unsigned attempt)
{
    int64_t most_us = attempt < 6 ? BACK_OFF_FIRST_US << attempt : BACK_OFF_MOST_US;
    if (most_us > BACK_OFF_MOST_US) most_us = BACK_OFF_MOST_US;
    uint32_t dice;
    memcpy(&dice, ident_random().bytes, sizeof dice);
    return dice % (most_us + 1);
}

void redis_on_failed(void *arg, const struct err *why)
{
    struct redis *redis = arg;
    let_go(redis);
    bool was_up = redis->state == REDIS_UP;
    if (was_up && clock_boot_us() - redis->up_since_us >= REDIS_STABLE_AFTER_US) redis->attempt = 0;
    redis->state = REDIS_DOWN;
    redis->why = *why;
    redis->must_tell_lost = redis->must_tell_lost || was_up;
    if (!redis->has_complained)
        log_warn("Redis (%s): %s; trying again", redis->shown, redis->why.text);
    redis->has_complained = true;
    end_all(redis, &redis->flight, REDIS_LOST);
    timer_start(&redis->step, back_off_us(redis->attempt++));
    loop_defer(redis->loop, &redis->tell);
}

void redis_drop_because(struct redis *redis, const char *why)
{
    struct err err;
    err_set(&err, ERR_STORE, "%s", why);
    redis_on_failed(redis, &err);
}

static void start_call(struct redis *redis, struct redis_call *call, bool may_wait)
{
    assert(redis->channel_count == 0);
    if (call->verb && fault_send(call->verb)) {
        end_call(redis, call, REDIS_LOST);
        return;
    }
    if (redis->state == REDIS_UP) {
        redis_to_wire(redis, call);
    } else if (may_wait && redis->state != REDIS_CLOSED) {
        list_push_back(&redis->waiting, &call->node);
    } else {
        end_call(redis, call, redis->state == REDIS_CLOSED ? REDIS_CANCELLED : REDIS_NOT_UP);
        return;
    }
    watch_deadline(redis, call->deadline_us);
}

static void end_call(struct redis *redis, struct redis_call *call, enum redis_end end)
{
    list_del(&call->node);
    call->end = end;
    list_push_back(&redis->ended, &call->node);
    loop_defer(redis->loop, &redis->tell);
}

static void end_all(struct redis *redis, struct list *calls, enum redis_end end)
{
    LIST_EACH (node, calls) end_call(redis, container_of(node, struct redis_call, node), end);
}

/* Only what had ended when it began: a completion that sends again must not keep the loop here. */
static void on_tell(struct defer *defer)
{
    struct redis *redis = container_of(defer, struct redis, tell);
    if (redis->must_tell_lost) {
        redis->must_tell_lost = false;
        if (redis->hooks.lost) redis->hooks.lost(redis->hooks.arg, &redis->why);
    }
    struct list *last = redis->ended.prev, *node;
    bool goes_on = true;
    while (goes_on && (node = list_pop_front(&redis->ended))) {
        goes_on = node != last;
        finish_ended(redis, container_of(node, struct redis_call, node));
    }
    if (!list_is_empty(&redis->ended)) loop_defer(redis->loop, &redis->tell);
}

static void finish_ended(struct redis *redis, struct redis_call *call)
{
    struct err err;
    const char *shown = redis->shown, *why = redis->why.text;
    switch (call->end) {
    case REDIS_LOST:
        err_set(&err, ERR_STORE, "the connection to Redis (%s) was lost: %s", shown, why);
        break;
    case REDIS_NOT_UP:
        err_set(&err, ERR_STORE, "Redis (%s) cannot be reached: %s", shown, why);
        break;
    case REDIS_TOO_LATE:
        err_set(&err, ERR_STORE, "Redis (%s) did not become reachable in time: %s", shown, why);
        break;
    case REDIS_CANCELLED:
        err_set(&err, ERR_CANCELLED, "the connection to Redis (%s) was closed", shown);
        break;
    }
    redis_call_finish(call, NULL, &err);
}

static void free_channels(struct redis *redis)
{
    for (size_t i = 0; i < redis->channel_count; i++) free(redis->channels[i]);
    free(redis->channels);
    redis->channels = NULL;
    redis->channel_count = 0;
}
