/* submit.c: POST /api/tasks/submit. The first half of a task's journey:
 *
 *   body -> catalogue entry -> door_check -> submit_task (insert, commit, push) -> answer */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/api.h"
#include "http/entries.h"
#include "http/idempotency.h"
#include "http/served.h"
#include "lifecycle/submit_answer.h"

struct sending {
    struct exchange *exchange;
    json_t *body;
    struct idempotency idempotency;
    struct ident id;
    char queue[QUEUE_NAME_MAX + 1];
};

static void on_entry(void *arg, const struct catalogue_entry *entry, const struct err *err);
static void on_submitted(void *arg, const struct submit_answer *answer, const struct err *err);
static void sending_free(struct sending *sending);

void handle_submit(struct exchange *exchange)
{
    json_t *body;
    struct idempotency idempotency;
    if (!body_json(exchange, JSON_OBJECT, &body)) return;
    if (!idempotency_read(exchange, &idempotency)) {
        json_decref(body);
        return;
    }
    const char *name = json_string_value(json_object_get(body, "task_name"));
    bool may = name && grant_allows(exchange->grant, name);
    if (!name)
        answer_field(exchange, "task_name", "is required: the name of a task, as text");
    else if (!may)
        answer_status(exchange, 403, "forbidden", "this token is limited to tasks named %s",
                      exchange->grant->tasks);
    if (!may) {
        json_decref(body);
        idempotency_close(&idempotency);
        return;
    }
    struct sending *sending = xcalloc(1, sizeof *sending);
    sending->exchange = exchange;
    sending->body = body;
    sending->idempotency = idempotency;
    entries_find(exchange->api->entries, name, on_entry, sending);
}

static void on_entry(void *arg, const struct catalogue_entry *entry, const struct err *err)
{
    struct sending *sending = arg;
    struct exchange *exchange = sending->exchange;
    struct api *api = exchange->api;
    struct submission_box *box = NULL;
    struct door_errors errors;
    struct err wrong;
    errors.count = 0;
    if (err) {
        answer_err(exchange, err);
        sending_free(sending);
    } else if (!door_check(entry, sending->body, config_int(api->config, SET_MAX_PARAMS),
                           exchange->grant->actor, &box, &errors, &wrong)) {
        answer_fields(exchange, &wrong, errors.at, errors.count);
        sending_free(sending);
    } else {
        sending->id = box->submission.id;
        snprintf(sending->queue, sizeof sending->queue, "%s", box->submission.queue);
        idempotency_apply(&sending->idempotency, -1, box);
        submit_task(api->submitter, box, on_submitted, sending);
    }
}

static void on_submitted(void *arg, const struct submit_answer *answer, const struct err *err)
{
    struct sending *sending = arg;
    struct exchange *exchange = sending->exchange;
    int64_t max_waiting = config_int(exchange->api->config, SET_MAX_WAITING);
    struct err wrong;
    if (!submit_answer_is_good(answer, err, &sending->id, max_waiting, &wrong)) {
        answer_err(exchange, &wrong);
    } else {
        struct buf out = BUF_EMPTY;
        char warning[QUEUE_NAME_MAX + 40];
        bool is_lonely =
            answer->verdict == INSERT_NEW && !served_has(exchange->api->served, sending->queue);
        snprintf(warning, sizeof warning, "no live worker takes the queue %s", sending->queue);
        submit_answer_json(&out, answer, is_lonely ? warning : NULL);
        answer_json(exchange, 200, &out);
    }
    sending_free(sending);
}

static void sending_free(struct sending *sending)
{
    idempotency_close(&sending->idempotency);
    json_decref(sending->body);
    free(sending);
}
