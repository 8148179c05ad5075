/* filter.h: the options that choose tasks: of list, cancel, retry and delete. */
#pragma once
#include "cli/app.h"

#define FILTER_OPTIONS                                                                             \
    { "status", "A,B", "PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED", false },              \
        { "name", "N", "tasks of this name", false }, { "queue", "Q", "in this queue", false },    \
        { "tag", "T", "with this label; may be repeated (then all of them)", true },               \
        { "worker", "W", "run by this worker", false },                                            \
        { "since", "TIME|D", "submitted then or later; 2h: within the last two hours", false },    \
    {                                                                                              \
        "until", "TIME|D", "submitted before then", false                                          \
    }

struct filter {
    struct task_filter filter; /* limit and offset are the caller's */
    bool is_any;               /* at least one option was given */
    /* private */
    char *statuses;
    const char **tags;
};
MUSTUSE bool filter_read(const struct cli_args *args, struct filter *out, struct err *err);
void filter_close(struct filter *filter);
