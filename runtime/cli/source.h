/* source.h: what the commands ask and tell: the ledger and the broker do it, or a REST API in front
 * of them (CTUTOR_API_URL). A command does not know which: answers are the same JSON, failures the
 * same errors. */
#pragma once
#include <jansson.h>

#include "cli/app.h"
#include "lifecycle/door.h"
#include "lifecycle/operate.h"

/* Stores: connected, and the schema is ours. An API is only asked when there is a question. */
MUSTUSE bool source_open(struct app *app, struct err *err);

/* ---- questions, answered as by the ledger_* of the same name ---- */
void source_info(struct app *app, const struct ident *id, ledger_json_fn *done, void *arg);
void source_result(struct app *app, const struct ident *id, ledger_json_fn *done, void *arg);
void source_logs(struct app *app, const struct ident *id, int64_t after_seq, int32_t limit,
                 ledger_json_fn *done, void *arg);
void source_list(struct app *app, const struct task_filter *filter, ledger_json_fn *done,
                 void *arg);
void source_queues(struct app *app, ledger_json_fn *done, void *arg);
void source_workers(struct app *app, ledger_json_fn *done, void *arg);
/* Array as of ledger_catalogue_list; name NULL: all. */
void source_types(struct app *app, const char *name, ledger_json_fn *done, void *arg);
/* What happens from now on reaches app->news while somebody waits: call it again now and then, for
 * what was lost. */
void source_follow(struct app *app, const struct ident *id);
void source_unfollow(struct app *app);

/* ---- what changes something; these turn the loop until it is done ---- */
/* entry: of entry_find. body: of a submission. answer: the object that POST
 * /api/tasks/submit answers. false: err, and errors where fields are wrong. */
MUSTUSE bool source_submit(struct app *app, const struct catalogue_entry *entry, json_t *body,
                           struct buf *answer, struct door_errors *errors, struct err *err);

/* answers: JSON array in order, also of what was done before it failed. */
MUSTUSE bool source_operate(struct app *app, enum operation operation, const struct ident *ids,
                            size_t count, struct buf *answers, struct err *err);
struct matched {
    int64_t count;
    bool is_capped; /* or more */
    /* private */
    const struct task_filter *filter; /* borrowed */
    struct ident *ids;
};
MUSTUSE bool source_match(struct app *app, const struct task_filter *filter, struct matched *out,
                          struct err *err);
void matched_close(struct matched *matched);
struct tally {
    int64_t matched, done, refused;
};
MUSTUSE bool source_operate_matched(struct app *app, enum operation operation,
                                    const struct matched *matched, struct tally *tally,
                                    struct err *err);

MUSTUSE bool source_pause(struct app *app, const char *queue, bool is_paused, struct err *err);
/* verb: reload, or stop (not through an API). names NULL: the workers of that host; is_all: of
 * everywhere. gives *answers: [{worker, answer}] of those that were told; answer null: it said
 * nothing in time. */
MUSTUSE bool source_control(struct app *app, const char *verb, const char *const *names,
                            const char *host, bool is_all, json_t **answers, struct err *err);

/* The `errors` of an API's refusal. */
void source_read_fields(const json_t *refusal, struct door_errors *errors);
