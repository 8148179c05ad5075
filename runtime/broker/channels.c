/* channels.c: what is published and listened to. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "broker/broker_private.h"

static const struct {
    enum broker_channel channel;
    const char *name;
} channels[] = {
    { BROKER_WAKE, "wake" },
    { BROKER_KEEPER, "keeper" },
    { BROKER_CANCEL, "cancel" },
    { BROKER_EVENTS, "events" },
    { BROKER_WAKE_ISOLATED, "wake-isolated" },
};

static void on_subscribed(void *arg);
static void on_message(void *arg, const char *channel, size_t channel_len, const char *text,
                       size_t len);
static void publish(struct broker *broker, const char *channel, const char *text, size_t len);

void broker_listen(struct broker *broker, unsigned wanted)
{
    broker->channels |= wanted;
    if (!broker->subscription) {
        struct redis_hooks hooks = { .arg = broker,
                                     .connected = on_subscribed,
                                     .message = on_message };
        broker->subscription = redis_new(broker->loop, &broker->target, &hooks);
    }
    char *names[COUNT_OF(channels)];
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(channels); i++)
        if (broker->channels & channels[i].channel)
            names[count++] = broker_key(broker, channels[i].name);
    redis_subscribe(broker->subscription, (const char *const *)names, count);
    while (count > 0) free(names[--count]);
}

static void tell_wake(struct broker *broker, const char *queue)
{
    if (broker->hooks.wake) broker->hooks.wake(broker->hooks.arg, queue);
}

static void tell_keeper(struct broker *broker, int64_t run_at_us)
{
    if (broker->hooks.keeper) broker->hooks.keeper(broker->hooks.arg, run_at_us);
}

/* What was said while nobody listened is lost: look for yourself. */
static void on_subscribed(void *arg)
{
    struct broker *broker = arg;
    if (broker->channels & (BROKER_WAKE | BROKER_WAKE_ISOLATED)) tell_wake(broker, NULL);
    if (broker->channels & BROKER_KEEPER) tell_keeper(broker, 0);
    if (broker->channels & BROKER_EVENTS && broker->hooks.event)
        broker->hooks.event(broker->hooks.arg, "", 0);
}

/* A hook may free the broker, which clears `channels`. */
static void tell_events(struct broker *broker, const char *text, size_t len)
{
    const char *end = text + len;
    while (text < end && broker->channels & BROKER_EVENTS && broker->hooks.event) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline ? newline : end;
        if (line_end > text)
            broker->hooks.event(broker->hooks.arg, text, (size_t)(line_end - text));
        text = line_end + 1;
    }
}

static void on_message(void *arg, const char *channel, size_t channel_len, const char *text,
                       size_t len)
{
    struct broker *broker = arg;
    size_t prefix = strlen(broker->key) + 1;
    const char *name = channel_len > prefix ? channel + prefix : "";
    struct ident id;
    if (strcmp(name, "wake") == 0 || strcmp(name, "wake-isolated") == 0)
        tell_wake(broker, text);
    else if (strcmp(name, "keeper") == 0)
        tell_keeper(broker, strtoll(text, NULL, 10));
    else if (strcmp(name, "cancel") == 0 && broker->hooks.cancel && ident_parse(text, &id))
        broker->hooks.cancel(broker->hooks.arg, &id);
    else if (strcmp(name, "events") == 0)
        tell_events(broker, text, len);
}

void broker_wake_keeper(struct broker *broker, int64_t run_at_us)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64, run_at_us);
    publish(broker, "keeper", text, (size_t)len);
}

void broker_announce_cancel(struct broker *broker, const struct ident *id)
{
    char text[IDENT_TEXT_SIZE];
    ident_text(id, text);
    publish(broker, "cancel", text, IDENT_TEXT_SIZE - 1);
}

void broker_publish_events(struct broker *broker, const char *lines, size_t len)
{
    publish(broker, "events", lines, len);
}

static void publish(struct broker *broker, const char *channel, const char *text, size_t len)
{
    char *key = broker_key(broker, channel);
    struct redis_command command = {
        .argc = 3,
        .argv = (const char *[]){ "PUBLISH", key, text },
        .argv_len = (size_t[]){ strlen("PUBLISH"), strlen(key), len },
    };
    redis_send(broker->commands, &command, broker_call_done, broker_call_new(NULL, NULL));
    free(key);
}
