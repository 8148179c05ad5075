/* runner_private.h: what the files of a runner share: runner.c (life), slot.c (one start),
 * progress.c, report.c (logs), hook.c, gauge.c (what it tells of itself). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "broker/broker.h"
#include "config/config.h"
#include "ledger/ledger.h"
#include "lifecycle/announce.h"
#include "lifecycle/claim.h"
#include "lifecycle/settle.h"
#include "loop/batch.h"
#include "script/generation.h"
#include "script/run.h"
#include "worker/channel.h"
#include "worker/shared.h"

struct progress_reports {
    struct runner *runner;
    struct list fresh, resting; /* struct slot.dirty: to be written; written too lately for that */
    struct defer turn;
    struct timer timer;
    bool is_flying; /* a statement is */
};

struct runner {
    struct loop loop;
    struct channel channel;
    struct shared *shared;
    struct config *config;
    struct ident incarnation, supervisor;
    char *name;          /* of the worker */
    char *run_directory; /* of this incarnation */
    char **queues;
    int32_t slots;
    bool burst;
    bool isolated;            /* this process is for one task, then it leaves */
    bool taken;               /* it has begun with that */
    struct claimed_hint hint; /* of that task */

    struct broker *broker;
    struct ledger *starts;   /* claims in: ledger_start */
    struct ledger *finishes; /* results out: logs, progress, finish, in this order */
    struct claimer *claimer;
    struct settler *settler;
    struct announcer *announcer;
    struct script_host host;
    struct generation *generation; /* the newest; NULL until the first came */

    struct list open_slots;  /* struct slot.node: every start that is not settled */
    struct map *slots_by_id; /* of each task the newest: an older one has ended */
    int32_t running;         /* slots whose run has not ended */
    int32_t hooks;           /* hooks that run now */
    bool hooks_asked;        /* for marks that nobody alive owns, without an answer yet */
    int64_t done;            /* starts that ended, ever */
    struct batch logs;
    size_t log_bytes; /* not yet in the ledger, of all slots */
    struct progress_reports progress;
    struct timer tick;
    struct timer unclaimed;
    struct timer grace;
    bool registered, serving, draining, released, finished, reconciled, idle_said;
    int exit_status;
    int64_t tick_due_us, last_done, last_stats_us;
    int64_t lag_us, lag_at_us; /* the worst of late, and when */
};

/* A start from the ledger's answer to its settlement. */
struct slot {
    struct list node, dirty;
    struct runner *runner;
    struct run *run; /* NULL once it ended */
    struct ident id, claim;
    char *name, *queue;
    struct retry_policy retry;
    int32_t priority, attempt, failures;
    int64_t created_at_us;
    size_t logs_pending; /* lines not yet in the ledger: they go before the finish */
    size_t logs_dropped; /* lines, not yet said */
    bool ended;
    struct finish finish; /* texts owned below */
    char *result, *error, *metadata;
    char *params; /* kept only for a task with hooks */
    size_t params_len;
    int64_t progress_written_us; /* 0: never */
    double percent;              /* what it said last */
    char *progress_metadata;
};

/* slot.c */
void slot_open(struct runner *runner, const struct ident *id, const struct ident *claim,
               const struct started *started);
void slot_logs_written(struct slot *slot, size_t count);
/* claim NULL: any */
struct slot *slot_find(struct runner *runner, const struct ident *id, const struct ident *claim);
/* progress.c */
void progress_init(struct runner *runner);
void report_progress(struct slot *slot, double percent, const char *metadata);
void progress_forget(struct slot *slot); /* it goes with the finish */
/* report.c */
void report_init(struct runner *runner);
void report_log(struct slot *slot, const char *level, const char *text, size_t len);
void report_dropped(struct slot *slot); /* says how many lines were too many */
/* hook.c */
void hook_after(struct slot *slot, enum task_status status);
void hooks_take(struct runner *runner); /* marks that nobody alive owns */
/* unclaimed.c */
void unclaimed_init(struct runner *runner);
/* gauge.c */
void gauge_start(struct runner *runner);
void gauge_tell(struct runner *runner); /* to the supervisor */
/* runner.c */
void runner_drain(struct runner *runner, int64_t grace_us);
void runner_changed(
    struct runner *runner); /* a slot, hook or settlement ended: maybe claim, maybe leave */
