/* door.h: what comes in from a user (CLI, bulk line, REST body) -> a submission that may be
 * inserted, or the errors by field. Pure but for the clock.
 *
 * The body is the object of POST /api/tasks/submit: {task_name, parameters, priority, queue, delay,
 * run_at, timeout, retries, expires, unique_key, id, tags}. Unknown fields are refused. Everything
 * the submission does not say comes from the task's catalogue entry. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "ledger/ledger.h"
#include "task/params.h"

struct catalogue_entry { /* one task as the catalogue holds it */
    char *name, *queue;  /* queue NULL: by priority */
    int32_t priority;
    int64_t timeout_us;
    struct retry_policy retry;
    int32_t max_losses;
    char *tags; /* JSON array text or NULL */
    char *schema_hash;
    struct params_schema *schema;
};
/* json: what ledger_catalogue_find answers. gives */
MUSTUSE bool catalogue_entry_parse(const char *json, size_t len, struct catalogue_entry **out,
                                   struct err *err);
void catalogue_entry_free(struct catalogue_entry *entry);
/* ERR_NOT_FOUND, with the nearest name of a list as ledger_catalogue_list answers it (NULL: none).
 * Always false. */
bool catalogue_explain_unknown(const char *name, const json_t *list, struct err *err);

#define DOOR_ERRORS_MAX 32
struct door_errors {
    size_t count;
    struct params_error at[DOOR_ERRORS_MAX];
};

/* An owned submission: the strings of `submission` live in the box. */
struct submission_box {
    struct submission submission;
    /* private */
    char *texts[10];
    size_t text_count;
};
/* Of a request that may be repeated; copied. */
void submission_box_set_idempotency(struct submission_box *box, const char *key, const char *body);
void submission_box_free(struct submission_box *box);

/* max_params: bytes of JSON. false: errors holds at least one; err (may be NULL) sums them up in
 * one line: ERR_TOO_LARGE when the parameters are over their limit, else ERR_INPUT. created_by: who
 * submits, or NULL. gives *out */
MUSTUSE bool door_check(const struct catalogue_entry *entry, const json_t *body, int64_t max_params,
                        const char *created_by, struct submission_box **out,
                        struct door_errors *errors, struct err *err);
