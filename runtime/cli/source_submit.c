/* source_submit.c: see source.h: one submission. Its id is made before anything is sent, so one
 * whose outcome stayed unknown can be repeated. Whether a worker takes the queue is asked in the
 * same breath and only warned of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/member.h"
#include "cli/remote_wait.h"
#include "cli/source.h"
#include "lifecycle/submit_answer.h"

#define BROKER_WAIT_US INT64_C(200000)
#define ANSWER_US      INT64_C(30000000)

/* One submit under way. */
struct sending {
    struct submit_answer answer;
    struct await await;
    struct ident id;
    char queue[QUEUE_NAME_MAX + 1];
};

static bool send_box(struct app *app, struct submission_box *takes_box, struct buf *answer,
                     struct err *err);
static void on_submitted(void *arg, const struct submit_answer *answer, const struct err *err);
static bool is_queue_served(const struct buf *workers, const char *queue);
static bool send_body(struct app *app, json_t *body, struct buf *answer, struct door_errors *errors,
                      struct err *err);

bool source_submit(struct app *app, const struct catalogue_entry *entry, json_t *body,
                   struct buf *answer, struct door_errors *errors, struct err *err)
{
    struct submission_box *box;
    if (app->remote) return send_body(app, body, answer, errors, err);
    return door_check(entry, body, config_int(app->config, SET_MAX_PARAMS), app_actor(), &box,
                      errors, err) &&
           send_box(app, box, answer, err);
}

static bool send_box(struct app *app, struct submission_box *takes_box, struct buf *answer,
                     struct err *err)
{
    struct sending sending = { .id = takes_box->submission.id };
    struct await workers = { 0 };
    struct err failure = { 0 };
    char warning[QUEUE_NAME_MAX + 40];
    snprintf(sending.queue, sizeof sending.queue, "%s", takes_box->submission.queue);
    snprintf(warning, sizeof warning, "no live worker takes the queue %s", sending.queue);
    app_wait_broker(app, BROKER_WAIT_US);
    struct submitter *submitter = submitter_new(&app->loop, app->ledger, app->broker);
    submit_task(submitter, takes_box, on_submitted, &sending);
    ledger_workers(app->ledger, await_json, &workers);
    bool good = await_run(&app->loop, &sending.await, &failure);
    good = submit_answer_is_good(&sending.answer, good ? NULL : &failure, &sending.id,
                                 config_int(app->config, SET_MAX_WAITING), err);
    bool is_known = await_run(&app->loop, &workers, NULL);
    app_flush_broker(app);
    submitter_free(submitter);
    bool is_lonely = good && sending.answer.verdict == INSERT_NEW && is_known &&
                     !is_queue_served(&workers.json, sending.queue);
    if (good) submit_answer_json(answer, &sending.answer, is_lonely ? warning : NULL);
    await_close(&workers);
    return good;
}

static void on_submitted(void *arg, const struct submit_answer *answer, const struct err *err)
{
    struct sending *sending = arg;
    if (answer) sending->answer = *answer;
    await_done(&sending->await, 0, false, err);
}

static bool is_queue_served(const struct buf *workers, const char *queue)
{
    json_t *root = params_load(buf_text(workers), workers->len), *worker, *name;
    size_t i, j;
    bool is_served = false;
    json_array_foreach(json_object_get(root, "workers"), i, worker)
    {
        json_array_foreach(json_object_get(worker, "queues"), j, name)
        {
            is_served = is_served || strcmp(json_string_value(name), queue) == 0;
        }
    }
    json_decref(root);
    return is_served;
}

/* ---- through an API ---- */

static void give_id(json_t *body)
{
    char text[IDENT_TEXT_SIZE];
    if (json_object_get(body, "id")) return;
    const struct ident id = ident_v7();
    ident_text(&id, text);
    json_object_set_new(body, "id", json_string(text));
}

static bool send_body(struct app *app, json_t *body, struct buf *answer, struct door_errors *errors,
                      struct err *err)
{
    struct remote_wait wait = { 0 };
    struct buf json = BUF_EMPTY;
    give_id(body);
    params_write(&json, body);
    remote_ask(app->remote, "POST", "/tasks/submit", &json, ANSWER_US, remote_wait_done, &wait);
    bool good = remote_wait_run(&app->loop, &wait, err);
    json_t *refusal = good ? NULL : params_load(buf_text(&wait.json), wait.json.len);
    if (good) buf_add(answer, wait.json.data, wait.json.len);
    source_read_fields(refusal, errors);
    json_decref(refusal);
    if (!good && wait.is_unknown && !strstr(err->text, member_text(body, "id"))) {
        struct err why = *err;
        err_set(err, ERR_STORE,
                "%s. Whether the task was accepted is not known: repeat it with the id %s, which "
                "cannot submit it twice",
                why.text, member_text(body, "id"));
    }
    remote_wait_close(&wait);
    return good;
}

void source_read_fields(const json_t *refusal, struct door_errors *errors)
{
    json_t *error;
    size_t index;
    json_array_foreach(json_object_get(refusal, "errors"), index, error)
    {
        if (errors->count == DOOR_ERRORS_MAX) break;
        struct params_error *to = &errors->at[errors->count++];
        snprintf(to->field, sizeof to->field, "%s", member_text(error, "field"));
        snprintf(to->message, sizeof to->message, "%s", member_text(error, "message"));
    }
}
