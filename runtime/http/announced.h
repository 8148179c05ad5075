/* announced.h: a line of BROKER_EVENTS, read as far as who follows it must know. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/ident.h"
#include "task/task.h"

enum announced_kind { ANNOUNCED_STATUS, ANNOUNCED_PROGRESS, ANNOUNCED_LOG };
struct announced {
    struct ident id;
    enum announced_kind kind;
    enum task_status status; /* of a status, else PENDING */
    int32_t attempt;         /* of a status, else 0 */
    const char *line;        /* borrowed: JSON as `watch --json` prints it */
    size_t len;
};
/* false: it is none of ours. */
bool announced_read(const char *line, size_t len, struct announced *out);
const char *announced_word(enum announced_kind kind);
