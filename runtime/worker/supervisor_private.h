/* supervisor_private.h: what the files of a supervisor share: supervisor.c (life, signals), child.c
 * (one runner), death.c (its end in the ledger), reload.c (code), beat.c (heartbeats, requests). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "broker/broker.h"
#include "config/config.h"
#include "io/proc.h"
#include "keeper/keeper.h"
#include "ledger/ledger.h"
#include "loop/loop.h"
#include "worker/channel.h"
#include "worker/checking.h"
#include "worker/shared.h"
#include "worker/supervisor.h"

struct child { /* one runner process; a replacement is a new struct */
    struct list node;
    struct supervisor *supervisor;
    struct ident incarnation;
    struct proc *proc; /* NULL once reaped */
    struct channel channel;
    struct shared *shared;
    char *run_directory;
    int directory_fd;    /* holds its lock: who can take it knows that we are gone */
    char *stats;         /* JSON, for the heartbeat */
    uint32_t generation; /* that it serves */
    bool ready, idle, beaten, draining, timed_out, killed;
    int64_t began_us;
    bool channel_open;
    int references; /* proc and channel */
};

struct reload_request {
    struct list node;
    struct ident id;
}; /* of a control request: to be answered */

struct supervisor {
    struct loop loop;
    const struct config *config;
    struct ident incarnation;
    char *name, *base_directory, *self_path;
    char **queues;
    bool burst, registered, serving, draining, reconciled, had_terminal;
    struct keeper_options keeper_options;
    int exit_status;
    int32_t processes, slots;
    struct broker *broker;
    struct ledger *ledger, *keeper_ledger;
    struct keeper *keeper;
    struct list children; /* struct child.node */
    size_t deaths;        /* not yet written to the ledger */
    uv_signal_t signals[3];
    struct timer tick, beat, respawn, leave;
    int64_t respawn_us; /* back-off */
    bool beating;

    /* code */
    struct buf snapshot; /* encoded; what children serve */
    uint32_t generation;
    struct proc *checker;
    struct timer checker_deadline;
    int checker_fd;
    bool reload_again, publishing;
    struct list requests; /* struct reload_request: answered when the reload under way is done */
    struct list requests_next; /* came meanwhile: for the next one */
    struct checked checked;    /* the last answer, until it is published */
    int64_t reload_errors;
};

/* child.c */
void child_start(struct supervisor *supervisor);
void child_send_generation(struct child *child);
void child_drain(struct child *child, int64_t grace_us);
void child_kill(struct child *child);
void child_watch(struct child *child); /* once a second: blocked past its deadline, or a loop that
                                          does not turn */
struct child *child_find(struct supervisor *supervisor, const struct ident *incarnation);
/* death.c */
void death_write(struct supervisor *supervisor, const struct ident *incarnation,
                 const struct ident *culprit, bool timed_out, char *takes_directory);
void corpses_bury(
    struct supervisor *supervisor); /* what died on this host with nobody left to say so */
/* run_directory.c */
MUSTUSE bool run_directory_make(const char *path, int *fd,
                                struct err *err); /* locked while fd is open */
void run_directories_sweep(const char *base);     /* removes those whose supervisor is gone, after
                                                     killing what they left running */
/* reload.c */
void reload_init(struct supervisor *supervisor);
void reload_start(struct supervisor *supervisor,
                  const struct ident *request); /* request NULL: a signal */
void reload_child_loaded(struct supervisor *supervisor);
/* beat.c */
void beat_start(struct supervisor *supervisor);
void controls_take(struct supervisor *supervisor);
/* supervisor.c */
void supervisor_drain(struct supervisor *supervisor, int64_t grace_us);
void supervisor_changed(
    struct supervisor *supervisor); /* a child or death ended: respawn or leave */
