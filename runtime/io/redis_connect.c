/* redis_connect.c: from nothing to UP: find the server, connect, introduce oneself, subscribe.
 * Whatever fails on the way leads to redis_on_failed. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/redis_command.h"
#include "io/redis_private.h"

static void open_stream(struct redis *redis, const char *unix_path, const char *host, int port);
static void on_open(void *arg);
static void on_found(void *arg, const char *host, int port);

void redis_connect(struct redis *redis)
{
    const struct redis_target *target = &redis->target;
    redis->state = REDIS_CONNECTING;
    timer_start(&redis->step, REDIS_CONNECT_WITHIN_US);
    if (target->sentinels) {
        struct redis_sentinel_hooks hooks = { redis, on_found, redis_on_failed };
        redis->sentinel = redis_sentinel_new(redis->loop, target, redis->attempt, &hooks);
    } else {
        open_stream(redis, target->unix_path, target->host, target->port);
    }
}

void redis_take_greeting(struct redis *redis, const struct redis_answer *answer)
{
    const struct redis_reply *reply = &answer->reply;
    bool is_role = reply->type == REDIS_ARRAY && reply->count > 0 && reply->items[0]->text;
    if (answer->is_error)
        redis_drop_because(redis, reply->text);
    else if (is_role && strcmp(reply->items[0]->text, "master") != 0)
        redis_drop_because(redis, "the server that Sentinel named is not the master");
    else if (--redis->answers_due > 0)
        return;
    else if (redis->channel_count > 0)
        redis_send_subscribe(redis);
    else
        redis_become_up(redis);
}

void redis_send_subscribe(struct redis *redis)
{
    struct buf *out = redis_stream_out(redis->stream);
    redis_command_begin(out, redis->channel_count + 1);
    redis_command_text(out, "SUBSCRIBE");
    for (size_t i = 0; i < redis->channel_count; i++) redis_command_text(out, redis->channels[i]);
    redis_stream_flush_soon(redis->stream);
    redis->state = REDIS_SUBSCRIBING;
    redis->answers_due += redis->channel_count; /* also those of an earlier one */
    timer_start(&redis->step, REDIS_CONNECT_WITHIN_US);
}

void redis_become_up(struct redis *redis)
{
    redis->state = REDIS_UP;
    redis->ping_is_out = false;
    redis->up_since_us = clock_boot_us();
    timer_start(&redis->step, redis->has_complained ? REDIS_STABLE_AFTER_US : REDIS_QUIET_US);
    struct list *node;
    while ((node = list_pop_front(&redis->waiting)))
        redis_to_wire(redis, container_of(node, struct redis_call, node));
    if (redis->hooks.connected) redis->hooks.connected(redis->hooks.arg);
}

static void open_stream(struct redis *redis, const char *unix_path, const char *host, int port)
{
    struct redis_address address = {
        .unix_path = unix_path, .host = host, .port = port, .attempt = redis->attempt
    };
    struct redis_stream_hooks hooks = { redis, on_open, redis_on_answer, redis_on_failed };
    redis->stream = redis_stream_new(redis->loop, &address, &hooks);
}

static void on_found(void *arg, const char *host, int port)
{
    struct redis *redis = arg;
    open_stream(redis, NULL, host, port);
    redis_sentinel_close(redis->sentinel);
    redis->sentinel = NULL;
}

static void greet(struct redis *redis, size_t argc, const char *const *argv)
{
    struct redis_command command = { .argc = argc, .argv = argv };
    struct buf *out = redis_stream_out(redis->stream);
    redis_command_begin(out, argc);
    redis_command_args(out, &command);
    redis->answers_due++;
}

/* ROLE comes last: a Sentinel may point to a server that is no longer the master. */
static void on_open(void *arg)
{
    struct redis *redis = arg;
    const struct redis_target *target = &redis->target;
    char db[16];
    snprintf(db, sizeof db, "%d", target->db);
    redis->state = REDIS_GREETING;
    redis->answers_due = 0;
    if (target->password && target->user)
        greet(redis, 3, (const char *[]){ "AUTH", target->user, target->password });
    else if (target->password)
        greet(redis, 2, (const char *[]){ "AUTH", target->password });
    greet(redis, 3, (const char *[]){ "CLIENT", "SETNAME", "ctutor" });
    if (target->db != 0) greet(redis, 2, (const char *[]){ "SELECT", db });
    if (target->sentinels) greet(redis, 1, (const char *[]){ "ROLE" });
    redis_stream_flush_soon(redis->stream);
}
