/* broker.h: what Redis means to us: hints and wake-ups. Nothing here is the truth; losing all of it
 * loses no task.
 *
 * Keys, all with the hash tag {ns} so that they share one slot:
 *   {ns}:q:QUEUE  zset    member = 16 id bytes, score = (10 - priority) * 2^42 + ready time in ms:
 *                         rank order, best first; ties by id
 *   {ns}:q:QUEUE/isolated zset    the same for tasks that run in processes of their own
 *   {ns}:starts   hash    16 id bytes -> starts, only where starts > 0 (a fresh task has no entry)
 *   {ns}:claimed  hash    16 id bytes -> 16 token bytes, score, ':', queue: a hint that a runner
 *                         holds or, under a token of zeros, one put back with a not-before
 *   {ns}:lease    zset    16 id bytes, score = ms (Redis' TIME) at which a claimed one returns to
 *                         its queue, at the next claim of whatever queues
 *   {ns}:skip:KIN zset    16 id bytes, score = ms at which it is forgotten: hints that claimers of
 *                         this kin (who carry the same names) pass over, for they are not theirs
 *   {ns}:queues   set     names of queues that hold or held hints
 *   {ns}:paused   set     names (a copy of the ledger's, so that claims need not ask it)
 *   {ns}:runners  zset    incarnation bytes, score = ms of the last claim (fair share);
 *                         {ns}:runners/isolated of those that claim from isolated lists
 *   {ns}:epoch    string  written by the keeper; missing or different = Redis lost data
 *   {ns}:next     string  the epoch of a full reconcile that is under way
 *
 * Channels:
 *   {ns}:wake     a queue got hints; payload: its name
 *   {ns}:wake-isolated  the same of isolated lists
 *   {ns}:keeper   payload: microseconds of the earliest run_at
 *   {ns}:cancel   payload: a task's id, 36 characters
 *   {ns}:events   payload: NDJSON lines, see broker_publish_events
 *
 * A script that Redis does not know yet is sent twice, so the first call of a verb may take effect
 * after others that were started later. Nothing here depends on that order. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/ident.h"
#include "config/config.h"
#include "loop/loop.h"
#include "task/task.h"

struct broker; /* opaque: two connections (commands; subscription, opened at the first
                  broker_listen) */

struct broker_hooks {
    void *arg;
    void (*connected)(void *arg); /* each time the command connection comes up */
    void (*lost)(void *arg, const struct err *why);
    /* Subscriptions; set before broker_listen. queue may be NULL: unknown, look at all (after a
     * reconnect of the subscription). */
    void (*wake)(void *arg, const char *queue);
    void (*keeper)(void *arg, int64_t run_at_us); /* 0: look now */
    void (*cancel)(void *arg, const struct ident *id);
    /* one JSON line; "": some may be lost (after a reconnect of the subscription) */
    void (*event)(void *arg, const char *line, size_t len);
};
enum broker_channel {
    BROKER_WAKE = 1,
    BROKER_KEEPER = 2,
    BROKER_CANCEL = 4,
    BROKER_EVENTS = 8,
    BROKER_WAKE_ISOLATED = 16
};

struct broker *broker_new(struct loop *loop, const struct redis_target *target,
                          const char *namespace, const struct broker_hooks *hooks);
void broker_free(struct broker *broker);
bool broker_is_up(const struct broker *broker);
void broker_listen(struct broker *broker, unsigned channels); /* or-ed enum broker_channel */
void broker_rebuild(struct broker *broker, const char *why);

/* Completion of verbs without an answer; err is NULL on success. */
typedef void broker_done_fn(void *arg, const struct err *err);

/* Push hints (any queues, at least one; a thousand at a time) and publish one wake per queue and
 * thousand. A push replaces an older hint of the id, also one in the queue's other list
 * (isolated or not); one that is claimed with the same or later starts is left alone. done may be
 * NULL. hints are copied. */
void broker_push(struct broker *broker, const struct hint *hints, size_t count,
                 broker_done_fn *done, void *arg);

/* Take up to max (1..100) hints from the first non-empty unpaused queue of the list, going on to
 * the next queue only once this one is empty; returns expired leases to their queues first. Fair
 * share: from each queue at most ceil(waiting / runners that claimed within 5 s); then `more` says
 * that something is left, and another claim may follow at once. Each taken hint is leased for 10 s
 * under `token`. What was settled as not theirs is passed over by its kin. */
struct broker_claim {
    const struct ident *incarnation;
    const struct ident *token; /* fresh per call */
    const char *const *queues; /* NULL-terminated; all isolated lists or none */
    int32_t max;
    uint64_t kin; /* the same for all who carry the same names */
};
struct broker_claimed {
    const struct hint *hints; /* borrowed for the callback; best first */
    size_t count;
    const char *epoch; /* "" when missing */
    bool more;         /* something is left in these queues */
};
typedef void broker_claim_fn(void *arg, const struct broker_claimed *claimed,
                             const struct err *err);
void broker_claim(struct broker *broker, const struct broker_claim *claim, broker_claim_fn *done,
                  void *arg);

/* Settle claimed hints (1 to 1000), touching only those still held under this token: drop = true
 * forgets the hint (started, or stale); drop = false puts it back, to be seen again after
 * not_before_us from now (not due, paused; at most 10 s); not_mine: puts it back for others to
 * claim at once, and this kin passes it over for 4 s; move_to: it goes into that list, at its old
 * rank. */
struct broker_settle {
    struct ident id;
    struct ident token;
    bool drop;
    int64_t not_before_us;
    uint64_t not_mine;   /* a kin; 0: none */
    const char *move_to; /* or NULL */
};
void broker_settle(struct broker *broker, const struct broker_settle *settles, size_t count,
                   broker_done_fn *done, void *arg);
/* Removes these hints of tasks that are final, waiting (in either list of their queue) or claimed,
 * and older ones of the same tasks. A newer one stays: of a later start, or ready later, as after
 * an operator's retry that overtook this. done may be NULL. */
void broker_forget(struct broker *broker, const struct hint *hints, size_t count,
                   broker_done_fn *done, void *arg);

/* Which of these hints (1 to 1000; an older start of the task does not count) does Redis neither
 * hold waiting nor claimed? (keeper) present[i] answers hints[i]. */
typedef void broker_present_fn(void *arg, const bool *present, size_t count, const struct err *err);
void broker_present(struct broker *broker, const struct hint *hints, size_t count,
                    broker_present_fn *done, void *arg);

struct broker_queue {
    char name[QUEUE_NAME_MAX + 1];
    int64_t hints;
    bool paused;
};
typedef void broker_counts_fn(void *arg, const struct broker_queue *queues, size_t count,
                              int64_t claimed, const struct err *err);
void broker_counts(struct broker *broker, broker_counts_fn *done, void *arg);

/* All hints page by page, while they come and go: one that is there throughout is seen at least
 * once. queue: one of broker_counts, or "" for those that are claimed; cursor: "0", then what the
 * last page gave, until that is "0". */
struct broker_held {
    struct hint hint; /* without rank */
    bool is_id;       /* false: the member is no id, hint says only the queue */
    bool comes_back;  /* false: claimed, and no lease will ever end that */
};
struct broker_scanned {
    const struct broker_held *held; /* borrowed for the callback */
    size_t count;
    const char *cursor; /* of the next page; "0": there is none */
};
typedef void broker_scan_fn(void *arg, const struct broker_scanned *scanned, const struct err *err);
void broker_scan(struct broker *broker, const char *queue, const char *cursor, broker_scan_fn *done,
                 void *arg);
/* Forgets a queue of one's own with all its hints, and the one that claimed from it. */
void broker_drop_queue(struct broker *broker, const char *queue, const struct ident *incarnation,
                       broker_done_fn *done, void *arg);

void broker_set_paused(struct broker *broker, const char *const *queues, size_t count,
                       broker_done_fn *done, void *arg); /* the whole set */
typedef void broker_epoch_fn(void *arg, const char *epoch,
                             const struct err *err); /* "" when missing */
void broker_epoch_get(struct broker *broker, broker_epoch_fn *done, void *arg);
/* Around a full reconcile: begin notes the epoch to come, set makes it the epoch if Redis still has
 * that note; else ERR_CONFLICT: Redis lost data meanwhile, or somebody else began one. */
void broker_epoch_begin(struct broker *broker, const char *epoch, broker_done_fn *done, void *arg);
void broker_epoch_set(struct broker *broker, const char *epoch, broker_done_fn *done, void *arg);

/* Announcements: lost ones cost time, never a task. No completion. */
void broker_wake_keeper(struct broker *broker, int64_t run_at_us);
void broker_announce_cancel(struct broker *broker, const struct ident *id);
/* lines: NDJSON, one publish. Each line {"id":"UUID","event":"status|progress|log",...} */
void broker_publish_events(struct broker *broker, const char *lines, size_t len);

/* What this server is and how it is set up, and what the round trip of a PING takes. */
struct broker_facts {
    char version[32], policy[32], role[16], mode[16], fsync[16]; /* fsync "": not told */
    bool has_aof, is_loading, link_is_down;
    bool writes_fail;            /* it could not save, and may refuse writes therefore */
    int64_t memory, memory_most; /* bytes; most 0: no bound */
    int64_t clients, clients_most;
    int64_t latency_us;
};
typedef void broker_facts_fn(void *arg, const struct broker_facts *facts, const struct err *err);
void broker_examine(struct broker *broker, broker_facts_fn *done, void *arg);
/* Rule 13: refuse a Redis that may evict, or in cluster mode. ERR_INPUT with the remedy. */
void broker_check_server(struct broker *broker, broker_done_fn *done, void *arg);
