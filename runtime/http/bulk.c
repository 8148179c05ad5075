/* bulk.c: POST /api/tasks/submit/bulk: an array of submissions, each accepted or refused by itself.
 *
 * The body is cut into its elements before any is looked at, so nothing is accepted of a body that
 * is no array or too long. Then a window of them is under way at a time: memory grows with the
 * window, not with the array. */
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "http/api.h"
#include "http/array.h"
#include "http/entries.h"
#include "http/idempotency.h"
#include "lifecycle/submit_answer.h"

#define ITEMS_MAX 10000
#define WINDOW    2000

struct item {
    struct bulk *bulk;
    struct piece piece; /* of the body */
    json_t *body;
    struct ident id;
    struct buf answer; /* JSON */
};

struct bulk {
    struct exchange *exchange;
    struct idempotency idempotency; /* of each of them, by its place */
    struct item *items;
    size_t count, begun, ended;
    bool is_filling;
};

static bool cut(struct exchange *exchange, struct bulk *bulk);
static void fill(struct bulk *bulk);
static void item_begin(struct item *item);
static void on_entry(void *arg, const struct catalogue_entry *entry, const struct err *err);
static void on_submitted(void *arg, const struct submit_answer *answer, const struct err *err);
static void item_refused(struct item *item, const struct err *err,
                         const struct door_errors *errors);
static void item_end(struct item *item);
static void answer_bulk(struct bulk *bulk);

void handle_submit_bulk(struct exchange *exchange)
{
    struct bulk *bulk = xcalloc(1, sizeof *bulk);
    bulk->exchange = exchange;
    if (!idempotency_read(exchange, &bulk->idempotency) || !cut(exchange, bulk)) {
        idempotency_close(&bulk->idempotency);
        free(bulk->items);
        free(bulk);
        return;
    }
    fill(bulk);
}

/* false: it has been answered. */
static bool cut(struct exchange *exchange, struct bulk *bulk)
{
    size_t len;
    struct piece *pieces = NULL;
    struct err err;
    const char *text = http_body(exchange->request, &len);
    if (!array_cut(text, len, ITEMS_MAX, &pieces, &bulk->count, &err)) {
        if (err.code == ERR_TOO_LARGE)
            answer_err(exchange, &err);
        else
            answer_field(exchange, "body", "%s", err.text);
        return false;
    }
    bulk->items = xcalloc(bulk->count, sizeof *bulk->items);
    for (size_t i = 0; i < bulk->count; i++)
        bulk->items[i] = (struct item){ .bulk = bulk, .piece = pieces[i] };
    free(pieces);
    return true;
}

static void fill(struct bulk *bulk)
{
    if (bulk->is_filling) return; /* an item ended at once */
    bulk->is_filling = true;
    while (bulk->begun < bulk->count && bulk->begun - bulk->ended < WINDOW)
        item_begin(&bulk->items[bulk->begun++]);
    bulk->is_filling = false;
    if (bulk->ended == bulk->count) answer_bulk(bulk);
}

static void item_begin(struct item *item)
{
    struct err err;
    bool good = params_parse_body(item->piece.text, item->piece.len, "it", &item->body, &err);
    if (good && !json_is_object(item->body))
        good = err_set(&err, ERR_INPUT, "it is no JSON object");
    const char *name = json_string_value(json_object_get(item->body, "task_name"));
    if (good && !name) good = err_set(&err, ERR_INPUT, "task_name: is required");
    const struct grant *grant = item->bulk->exchange->grant;
    if (good && !grant_allows(grant, name))
        good = err_set(&err, ERR_INPUT, "this token is limited to tasks named %s", grant->tasks);
    if (good)
        entries_find(item->bulk->exchange->api->entries, name, on_entry, item);
    else
        item_refused(item, &err, NULL);
}

static void on_entry(void *arg, const struct catalogue_entry *entry, const struct err *err)
{
    struct item *item = arg;
    struct api *api = item->bulk->exchange->api;
    struct submission_box *box = NULL;
    struct door_errors errors;
    struct err wrong;
    errors.count = 0;
    if (err) {
        item_refused(item, err, NULL);
    } else if (!door_check(entry, item->body, config_int(api->config, SET_MAX_PARAMS),
                           item->bulk->exchange->grant->actor, &box, &errors, &wrong)) {
        item_refused(item, &wrong, &errors);
    } else {
        item->id = box->submission.id;
        idempotency_apply(&item->bulk->idempotency, (int)(item - item->bulk->items), box);
        submit_task(api->submitter, box, on_submitted, item);
    }
}

static void on_submitted(void *arg, const struct submit_answer *answer, const struct err *err)
{
    struct item *item = arg;
    int64_t max_waiting = config_int(item->bulk->exchange->api->config, SET_MAX_WAITING);
    struct err wrong;
    if (!submit_answer_is_good(answer, err, &item->id, max_waiting, &wrong)) {
        item_refused(item, &wrong, NULL);
        return;
    }
    submit_answer_json(&item->answer, answer, NULL);
    item_end(item);
}

static void item_refused(struct item *item, const struct err *err, const struct door_errors *errors)
{
    answer_error_json(&item->answer, err, errors ? errors->at : NULL, errors ? errors->count : 0);
    item_end(item);
}

static void item_end(struct item *item)
{
    json_decref(item->body);
    item->body = NULL;
    item->bulk->ended++;
    fill(item->bulk);
}

static void answer_bulk(struct bulk *bulk)
{
    struct buf out = BUF_EMPTY;
    buf_add_char(&out, '[');
    for (size_t i = 0; i < bulk->count; i++) {
        if (i) buf_add_char(&out, ',');
        buf_add(&out, buf_text(&bulk->items[i].answer), bulk->items[i].answer.len);
        buf_close(&bulk->items[i].answer);
    }
    buf_add_char(&out, ']');
    answer_json(bulk->exchange, 200, &out);
    idempotency_close(&bulk->idempotency);
    free(bulk->items);
    free(bulk);
}
