/* task.h: the nouns of the program as plain data. No I/O.
 *
 *   PENDING --start--> STARTED --success--> SUCCESS
 *      ^                 |  |---failure, final---> FAILURE
 *      |                 |  `---failure, again---> RETRY --start--> STARTED
 *      `--snooze/release-'                      PENDING|RETRY|STARTED --cancel, expiry--> REVOKED
 *   operator retry: FAILURE|REVOKED --> PENDING (a new round)
 *   unknown_task, by the keeper: PENDING|RETRY --> FAILURE
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ident.h"

enum task_status {
    TASK_PENDING = 0,
    TASK_STARTED = 1,
    TASK_RETRY = 2,
    TASK_SUCCESS = 3,
    TASK_FAILURE = 4,
    TASK_REVOKED = 5
};
const char *task_status_text(enum task_status status); /* "PENDING" ... */
bool task_status_parse(const char *text, enum task_status *status);
bool task_status_is_final(enum task_status status);
bool task_may_become(enum task_status from, enum task_status to); /* the diagram above */

#define TASK_NAME_MAX         128
#define QUEUE_NAME_MAX        64
#define HINT_QUEUE_MAX        (QUEUE_NAME_MAX + (int)sizeof "/isolated" - 1)
#define TASK_TAG_MAX          64
#define TASK_TAGS_MAX         32
#define TASK_PRIORITY_DEFAULT 5
#define TASK_DEPTH_MAX        64
bool task_name_is_valid(const char *name);  /* [A-Za-z0-9_][A-Za-z0-9_.-]{0,127} */
bool queue_name_is_valid(const char *name); /* [a-z0-9_.-]{1,64} */
/* Where a submission goes: its own choice, else the task's queue, else by priority. NULL or "" mean
 * not given. */
const char *queue_choose(const char *submitted, const char *defined, int priority);

/* What Redis carries for one due task. */
struct hint {
    struct ident id;
    int32_t starts;
    int16_t priority;
    int64_t ready_us;               /* time it became ready: rank is (priority, ready in ms, id) */
    char queue[HINT_QUEUE_MAX + 1]; /* the list it lies in: as the ledger names it */
};

/* Error kinds of interface.md. */
enum error_kind {
    KIND_EXCEPTION,
    KIND_TIMEOUT,
    KIND_MEMORY,
    KIND_WORKER_LOST,
    KIND_REJECTED,
    KIND_UNSTORABLE,
    KIND_UNKNOWN_TASK,
    KIND_CANCELLED,
    KIND_EXPIRED
};
const char *error_kind_text(enum error_kind kind);
