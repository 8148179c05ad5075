/* stores_fixture.h: both stores at once, for the floors that stand on ledger and broker: a private
 * Redis and Postgres that a test may stop, a namespace for each test, raw access behind both, and a
 * worker of the plainest kind. Single-threaded. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/broker.h"
#include "ledger/ledger.h"
#include "lifecycle/claim.h"
#include "lifecycle/door.h"
#include "loop/loop.h"
#include "support/servers.h"

#define SECOND_US INT64_C(1000000)

int stores_start(void **state); /* group set-up and tear-down */
int stores_stop(void **state);
extern struct test_redis *stores_redis;
extern struct test_postgres *stores_postgres;
extern char stores_namespace[32];
void stores_fresh(void);                         /* a namespace, migrated, and an empty Redis */
struct ledger *stores_ledger(struct loop *loop); /* one more connection */
struct broker *stores_broker(struct loop *loop, const struct broker_hooks *hooks);

/* Past the stores' owners. What comes back is good until four calls later. */
const char *stores_sql(const char *format, ...) __attribute__((format(printf, 1, 2)));
int64_t stores_count(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* One Redis command, words parted by spaces, `@` in a word stands for "{namespace}"; lists come as
 * words with spaces between. */
const char *stores_redis_do(const char *format, ...) __attribute__((format(printf, 1, 2)));
int64_t stores_waiting(const char *queue); /* hints in Redis */

/* From now on commits stand but are not answered: they wait for a standby that does not exist. */
void stores_commits_hang(struct loop *loop, struct ledger *ledger);
void stores_commits_go_on(void);
/* Commits of this application that stand and wait; ends their connections. */
int64_t stores_hanging(const char *application);
void stores_end_backends(const char *application);

/* Turns the loop until the condition holds; fails the test after half a minute. A watch wakes the
 * loop now and then, for what is only seen in a store. */
struct watch {
    struct timer timer;
    int64_t until_us;
};
void watch_begin(struct watch *watch, struct loop *loop, int64_t patience_us);
void watch_end(struct watch *watch, struct loop *loop);
bool watch_is_over(const struct watch *watch);
#define UNTIL(loop, condition)                                                                     \
    do {                                                                                           \
        struct watch watch_;                                                                       \
        watch_begin(&watch_, loop, 30 * SECOND_US);                                                \
        while (!(condition) && !watch_is_over(&watch_)) loop_turn(loop, true);                     \
        watch_end(&watch_, loop);                                                                  \
        if (!(condition)) fail_msg("%s did not come about", #condition);                           \
    } while (0)
/* Gives what must not happen the time to happen. */
void turn_for(struct loop *loop, int64_t us);

struct submission_box *box_of(const char *name, const char *params); /* queue default, now */
struct ident box_id(const struct submission_box *box);
const char *id_text(const struct ident *id); /* good until four calls later */
struct ident worker_alive(struct loop *loop, struct ledger *ledger, const char *name);

/* A claimer whose owner notes what it was told. */
#define TAKEN_MOST 2000
struct taker {
    struct claimer *claimer;
    struct ident incarnation;
    int32_t slots;
    bool keeps; /* what was started occupies its slot for good */
    size_t count;
    struct ident ids[TAKEN_MOST], claims[TAKEN_MOST];
    int32_t attempts[TAKEN_MOST];
    int64_t at_us[TAKEN_MOST]; /* wall time */
    int fenced, idle, stuck;
    char epoch[64];
};
struct taker *taker_new(struct loop *loop, struct broker *broker, struct ledger *ledger,
                        const struct ident *incarnation, int32_t slots);
/* Once the stores are freed. */
void taker_free(struct taker *taker);
