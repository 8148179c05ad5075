/* supervisor_private.h: what the files of a supervisor share: supervisor.c (life, signals),
 * prepare.c (before it serves), child.c (one runner), isolated.c (processes for one task), death.c
 * (its end in the ledger), reload.c (code), beat.c (heartbeats, requests). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "broker/broker.h"
#include "config/config.h"
#include "io/proc.h"
#include "keeper/keeper.h"
#include "ledger/ledger.h"
#include "lifecycle/claim.h"
#include "loop/loop.h"
#include "loop/signals.h"
#include "worker/channel.h"
#include "worker/checking.h"
#include "worker/shared.h"
#include "worker/supervisor.h"

/* The program that runs, also when another one lies under its name by now. */
#define SELF_FILE "/proc/self/exe"

struct child { /* one runner process, or an isolated one; a replacement is a new struct */
    struct list node;
    struct supervisor *supervisor;
    struct ident incarnation;
    struct proc *proc; /* NULL once reaped */
    struct channel channel;
    struct shared *shared;
    char *run_directory;
    int directory_fd;    /* holds its lock: who can take it knows that we are gone */
    char *stats;         /* JSON, for the heartbeat */
    uint32_t generation; /* that it serves, or could not build */
    int load_failures;   /* of the newest, in a row */
    bool ready, idle, beaten, draining, killed;
    enum death_cause cause;   /* it was killed for */
    bool isolated;            /* started for one task, not replaced */
    struct claimed_hint hint; /* of that */
    bool dismissed;           /* killed at the end of the grace: what it computed is not to blame */
    int64_t began_us;
    bool channel_open;
    int references; /* proc and channel */
};

struct reload_request {
    struct list node;
    struct ident id;
}; /* of a control request: to be answered */

enum reload_phase {
    RELOAD_NONE,
    RELOAD_CHECKING,  /* the checker runs */
    RELOAD_LOADING,   /* runners build the new generation */
    RELOAD_PUBLISHING /* the catalogue is being written */
};

struct isolated { /* isolated.c */
    int32_t slots;
    char **lists; /* of Redis; NULL-terminated */
    uint64_t kin; /* 0: nothing is carried yet */
    struct timer poll;
    struct ident token; /* of the claim under way or last made */
    bool is_asked, is_woken;
    bool is_last_look; /* all else was idle when that claim began */
    bool is_empty;     /* and it found nothing */
};

struct supervisor {
    struct loop loop;
    const struct config *config;
    struct ident incarnation;
    char *name, *base_directory;
    char **queues;
    bool burst, registered, serving, reconciled, had_terminal;
    bool draining;      /* nothing new is taken */
    bool told_to_leave; /* by a signal or `worker stop`: the next signal ends the grace */
    struct keeper_options keeper_options;
    int exit_status;
    int32_t processes, slots;
    struct isolated isolated;
    struct broker *broker;
    struct ledger *ledger, *keeper_ledger;
    struct keeper *keeper;
    struct list children; /* struct child.node */
    size_t deaths;        /* not yet written to the ledger */
    int64_t fenced;       /* runners that ended themselves for it */
    size_t removals;      /* of directories, off the loop */
    int directory_fd;     /* of our own, locked for life */
    struct timer pause;   /* between two tries to get the name */
    bool waits_for_name;
    struct signals signals;
    struct timer tick, beat, respawn, leave;
    int64_t respawn_us; /* back-off */
    bool beating;

    /* code */
    struct buf snapshot; /* encoded; what children serve */
    uint32_t generation;
    enum reload_phase phase;
    struct proc *checker;
    struct timer checker_deadline, loaded_deadline, reload_repeat;
    int checker_fd;
    bool reload_again, loads_late;
    char *load_error;     /* of a runner, in the reload under way */
    char *first_error;    /* why the first load failed */
    struct list requests; /* struct reload_request: answered when the reload under way is done */
    struct list requests_next; /* came meanwhile: for the next one */
    struct checked checked;    /* the last answer, until it is published */
    int64_t reload_errors;
};

/* child.c */
/* hint NULL: a runner; else an isolated one for that. false: it is in the log */
MUSTUSE bool child_start(struct supervisor *supervisor, const struct claimed_hint *hint);
void child_send_generation(struct child *child);
void child_drain(struct child *child, int64_t grace_us);
void child_kill(struct child *child);
/* Blocked past its deadline, too large, or a loop that does not turn? Gives the time after which
 * to look again. */
int64_t child_watch(struct child *child);
struct child *child_find(struct supervisor *supervisor, const struct ident *incarnation);
/* death.c */
void death_write(struct supervisor *supervisor, const struct ident *incarnation,
                 const struct ident *culprit, enum death_cause cause, char *takes_directory);
void corpses_bury(
    struct supervisor *supervisor); /* what died on this host with nobody left to say so */
bool is_name_of_neighbour(struct supervisor *supervisor); /* of a living one on this host */
/* isolated.c */
void isolated_init(struct supervisor *supervisor);
void isolated_look(struct supervisor *supervisor); /* claims what there is room for */
void isolated_give_back(struct supervisor *supervisor, const struct claimed_hint *hint,
                        bool failed);
void isolated_ended(struct supervisor *supervisor);          /* one of these processes */
bool isolated_is_quiet(const struct supervisor *supervisor); /* no process, no claim */
bool isolated_found_nothing(
    const struct supervisor *supervisor); /* since everything else is idle */
/* run_directory.c */
MUSTUSE bool run_directory_make(const char *path, int *fd,
                                struct err *err); /* locked while fd is open */
/* Removes those whose supervisor is gone, after killing what they left running. supervisor (or
 * NULL): also writes their deaths. */
void run_directories_sweep(const char *base, struct supervisor *supervisor);
/* reload.c */
void reload_init(struct supervisor *supervisor);
void reload_start(struct supervisor *supervisor,
                  const struct ident *request); /* request NULL: a signal */
/* A runner serves the newest code, or error (or NULL) says why not. */
void reload_child_loaded(struct supervisor *supervisor, struct child *child, const char *error);
void reload_child_gone(struct supervisor *supervisor); /* nobody waits for it any more */
/* beat.c */
void beat_start(struct supervisor *supervisor);
void controls_take(struct supervisor *supervisor);
/* prepare.c */
MUSTUSE bool supervisor_prepare(struct supervisor *supervisor,
                                const struct supervisor_options *options, struct err *err);
/* supervisor.c */
void supervisor_control(void *arg);
void supervisor_keeper_news(void *arg, int64_t run_at_us);
void supervisor_keeper_back(void *arg); /* its connection to Postgres */
void supervisor_reconciled(void *arg);
void supervisor_store_up(void *arg);
void supervisor_isolated_news(void *arg, const char *queue);
bool supervisor_is_idle(const struct supervisor *supervisor); /* burst: no runner has anything */
void supervisor_leave(struct supervisor *supervisor);         /* told to: drain within the grace */
void supervisor_back_off(struct supervisor *supervisor); /* before the next runner is started */
void supervisor_changed(
    struct supervisor *supervisor); /* a child or death ended: respawn or leave */
