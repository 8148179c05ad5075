/* selection.h: which tasks: of a query string or of a body's `filter`. */
#pragma once
#include "http/api.h"

#define FILTER_TAGS_MAX 32

struct selection {
    struct task_filter filter;
    bool is_any; /* at least one condition */
    /* private */
    struct buf texts; /* what filter points into, NUL after NUL */
    const char *tags[FILTER_TAGS_MAX];
};

/* false: it has been answered. */
MUSTUSE bool selection_from_query(struct exchange *exchange, struct selection *out);
MUSTUSE bool selection_from_json(struct exchange *exchange, const json_t *object,
                                 struct selection *out);
void selection_close(struct selection *filter);

/* A whole number of the query; absent: out stays. false: it has been answered. */
MUSTUSE bool query_int(struct exchange *exchange, const char *name, int64_t min, int64_t max,
                       int64_t *out);
/* "true", "false"; a bare name is true. */
MUSTUSE bool query_bool(struct exchange *exchange, const char *name, bool *out);
