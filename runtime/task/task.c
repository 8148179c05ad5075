/* task.c: names, rules and words of a task. See task.h for the diagram of the statuses. */
#include "task/task.h"

#include <string.h>

#include "base/mem.h"

static const char *const status_texts[] = {
    [TASK_PENDING] = "PENDING", [TASK_STARTED] = "STARTED", [TASK_RETRY] = "RETRY",
    [TASK_SUCCESS] = "SUCCESS", [TASK_FAILURE] = "FAILURE", [TASK_REVOKED] = "REVOKED",
};

static const char *const kind_texts[] = {
    [KIND_EXCEPTION] = "exception",
    [KIND_TIMEOUT] = "timeout",
    [KIND_MEMORY] = "memory",
    [KIND_WORKER_LOST] = "worker_lost",
    [KIND_REJECTED] = "rejected",
    [KIND_UNSTORABLE] = "unstorable",
    [KIND_UNKNOWN_TASK] = "unknown_task",
    [KIND_CANCELLED] = "cancelled",
    [KIND_EXPIRED] = "expired",
};

#define LOWER      "abcdefghijklmnopqrstuvwxyz"
#define UPPER      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS     "0123456789"
#define BIT(value) (1U << (value))

const char *task_status_text(enum task_status status) { return status_texts[status]; }

bool task_status_parse(const char *text, enum task_status *status)
{
    for (size_t i = 0; i < COUNT_OF(status_texts); i++) {
        if (strcmp(text, status_texts[i]) == 0) {
            *status = (enum task_status)i;
            return true;
        }
    }
    return false;
}

bool task_status_is_final(enum task_status status)
{
    return status == TASK_SUCCESS || status == TASK_FAILURE || status == TASK_REVOKED;
}

bool task_may_become(enum task_status from, enum task_status to)
{
    static const unsigned next[] = {
        [TASK_PENDING] = BIT(TASK_STARTED) | BIT(TASK_FAILURE) | BIT(TASK_REVOKED),
        [TASK_RETRY] = BIT(TASK_STARTED) | BIT(TASK_FAILURE) | BIT(TASK_REVOKED),
        [TASK_STARTED] = BIT(TASK_SUCCESS) | BIT(TASK_FAILURE) | BIT(TASK_RETRY) |
                         BIT(TASK_PENDING) | BIT(TASK_REVOKED),
        [TASK_SUCCESS] = 0,
        [TASK_FAILURE] = BIT(TASK_PENDING),
        [TASK_REVOKED] = BIT(TASK_PENDING),
    };
    return (next[from] & BIT(to)) != 0;
}

bool task_name_is_valid(const char *name)
{
    if (!name || strspn(name, LOWER UPPER DIGITS "_.-") != strlen(name)) return false;
    return name[0] != '\0' && name[0] != '.' && name[0] != '-' && strlen(name) <= TASK_NAME_MAX;
}

bool queue_name_is_valid(const char *name)
{
    if (!name || strspn(name, LOWER DIGITS "_.-") != strlen(name)) return false;
    return name[0] != '\0' && strlen(name) <= QUEUE_NAME_MAX;
}

const char *queue_choose(const char *submitted, const char *defined, int priority)
{
    if (submitted && submitted[0]) return submitted;
    if (defined && defined[0]) return defined;
    if (priority > TASK_PRIORITY_DEFAULT) return "high_priority";
    return priority < 3 ? "low_priority" : "default";
}

const char *error_kind_text(enum error_kind kind) { return kind_texts[kind]; }
