/* follow_private.h: follow.c (clients, announcements), cohort.c (questions and what they tell). */
#pragma once
#include "http/follow.h"
#include "http/known.h"
#include "http/sse.h"

#define ASK_MAX 500

struct follows {
    struct api *api;
    struct map *tasks;  /* id -> struct followed */
    struct list asking; /* cohorts: with the next question */
    struct defer ask;
    struct cohort *asked[ASK_MAX]; /* the question under way */
    size_t asked_count;            /* 0: none is */
    struct timer look;             /* while somebody follows */
    int64_t looked_us;
    bool is_blind; /* something may have been lost */
    bool is_over;  /* the ledger is not asked any more */
};

struct followed {
    struct ident id;
    struct follows *follows;
    struct list cohorts;
    size_t watchers;
};

struct cohort {
    struct list node;   /* of its task */
    struct list asking; /* of all */
    struct followed *task;
    struct list watchers;
    struct known known;
    uint64_t progress; /* hash of the last one told; 0: none was */
    bool is_asked, asks_again;
    bool is_behind; /* progress may have been lost */
};

struct watcher {
    struct list node; /* of its cohort */
    struct sse sse;
    struct followed *task;
    struct cohort *cohort;     /* NULL: it has all there is, or must first take what was written */
    struct exchange *exchange; /* until it streams */
    struct known known;        /* while it takes what was written */
    bool wants_logs_only, is_back, is_paging;
};

void cohorts_init(struct follows *follows);
/* Whose question was not yet asked is answered that this server stops. */
void cohorts_stop(struct follows *follows);
/* The watcher goes on behind what it knows. */
void cohort_join(struct watcher *watcher, const struct known *known);
/* When nobody needs it; and its task, likewise. */
void cohort_release(struct cohort *cohort);
void cohort_ask(struct cohort *cohort);
void watcher_free(struct watcher *watcher); /* follow.c */
void followed_release(struct followed *task);
