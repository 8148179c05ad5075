/* keeper_private.h: keeper.c (election), epoch.c (has Redis lost data?), round.c (every five
 * seconds, every hour), due.c (what becomes due), walk.c (due rows page by page), pulse.c (who
 * still beats), figures.c (what happened is counted). */
#pragma once
#include "keeper/keeper.h"

#define KEEPER_TICK_US   INT64_C(1000000)
#define KEEPER_HOUR_US   (3600 * INT64_C(1000000))
#define KEEPER_RECENT_US INT64_C(15000000) /* a submit or settle may have died before the push */

struct keeper;

/* One pass over due rows in pages. PUSH: all of them. ABSENT: only those that Redis does not hold.
 */
enum walk_kind { WALK_PUSH, WALK_ABSENT };
#define WALK_ALL_PAGES INT32_MAX
struct walk {
    struct keeper *keeper;
    struct ledger *ledger; /* that it reads over */
    enum walk_kind kind;
    struct due_cursor cursor;
    int32_t pages_left;
    bool running;
    /* ok false: a store went away half-way. exhausted: the end was reached before pages_left was.
     */
    void (*done)(struct walk *walk, bool ok, bool exhausted);
    int64_t next_run_at_us, now_us; /* as the last page said */
    /* private */
    struct hint *hints; /* of the page that was read and not yet pushed */
    size_t hint_count;
    bool in_hand, in_push, over, ok, exhausted;
};
void walk_start(struct walk *walk);

struct pulse_entry {
    struct ident incarnation;
    int64_t heartbeat, since_us;
    bool seen;
};
struct pulse {
    struct pulse_entry *entries;
    size_t count, cap;
    bool asked;
    int64_t answered_us; /* when Postgres last told */
};
void pulse_beat(struct keeper *keeper);
void pulse_forget(struct keeper *keeper);
void pulse_close(struct pulse *pulse);

void figures_roll(struct keeper *keeper);

void epoch_init(struct keeper *keeper);
void epoch_ask(struct keeper *keeper);

void round_init(struct keeper *keeper);
void round_begin(struct keeper *keeper);
void round_hourly(struct keeper *keeper);
/* Redis is told which queues are paused, as ledger_paused answers. */
void round_tell_paused(struct keeper *keeper, const char *json, size_t len);

void due_init(struct keeper *keeper);

struct keeper {
    struct loop *loop;
    struct ledger *ledger, *scans;
    struct broker *broker;
    struct keeper_options options;
    struct timer tick; /* once a second: election, epoch, pulse, rounds */
    struct timer due;  /* the earliest run_at */
    bool beating, leads, told;
    bool closing, closed, freed;         /* stopped; timers gone; given up by its owner */
    int64_t seen_counter, seen_since_us; /* of the leader that is not me; -1: none was seen */
    int64_t skew_us;                     /* Postgres' clock less my boot clock */
    char epoch[IDENT_TEXT_SIZE];         /* mine, once everything was pushed under it */
    char next_epoch[IDENT_TEXT_SIZE];    /* of the full reconcile */
    bool epoch_asked, reconciling;
    int64_t round_us, unknown_us, hour_us; /* when they were last begun */
    bool broker_was_up;                    /* at the last beat as leader */
    bool rolling;                          /* figures are being booked */
    int64_t unknown_took_us;               /* the last look for unknown tasks; 0: not answered */
    struct walk due_walk, full_walk, absent_walk, recent_walk;
    int32_t full_priority;      /* of the full reconcile: 10 down to 0 */
    struct due_cursor due_from; /* where the due walk began */
    bool look_again;            /* a wake came while the due walk ran */
    int64_t look_from_us; /* rows may have appeared from here on, behind the due walk's cursor */
    struct pulse pulse;
};
/* Postgres' clock, as far as the last page told: by a clock of mine that nobody sets. */
int64_t keeper_ledger_now_us(const struct keeper *keeper);
void keeper_push(struct keeper *keeper, const struct ledger_hints *hints);
