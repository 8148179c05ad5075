/* broker_private.h: shared by the files of broker/. */
#pragma once
#include "broker/args.h"
#include "broker/broker.h"
#include "broker/scripts.h"

#define ITEMS_MOST ((size_t)1000) /* per script: they count on it */

struct broker {
    struct loop *loop;
    struct redis_target target; /* owned: for the subscription, which is opened later */
    struct broker_hooks hooks;
    char *key;                  /* owned: "{ns}" */
    struct redis *commands;     /* owned */
    struct redis *subscription; /* owned, NULL until broker_listen */
    unsigned channels;          /* listened to */
};

/* Completion of a verb without an answer; takes what broker_call_new gave. */
struct broker_call *broker_call_new(broker_done_fn *done, void *arg);
void broker_call_done(void *call, const struct redis_reply *reply, const struct err *err);
/* "{ns}:name". gives */
char *broker_key(const struct broker *broker, const char *name);
/* verb: see struct redis_command. */
void broker_send(struct broker *broker, const char *verb, size_t argc, const char *const *argv,
                 redis_done_fn *done, void *arg);
