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
#include "http/entries.h"
#include "http/idempotency.h"
#include "lifecycle/submit_answer.h"

#define ITEMS_MAX 10000
#define WINDOW    2000

struct item {
    struct bulk *bulk;
    const char *text; /* in the body */
    size_t len;
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
static const char *skip_value(const char *at, const char *end);
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

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

/* false: it has been answered. */
static bool cut(struct exchange *exchange, struct bulk *bulk)
{
    size_t len, room = 0;
    const char *at = http_body(exchange->request, &len), *end = at + len;
    at = skip_space(at, end);
    if (at == end || *at != '[') {
        answer_field(exchange, "body", "must be a JSON array");
        return false;
    }
    at = skip_space(at + 1, end);
    bool is_closed = at < end && *at == ']';
    while (!is_closed) {
        const char *next = skip_value(at, end), *behind = next ? skip_space(next, end) : NULL;
        if (!next || next == at || behind == end || (*behind != ',' && *behind != ']')) {
            answer_field(exchange, "body", "is no JSON array: its element %zu does not end",
                         bulk->count);
            return false;
        }
        if (bulk->count == ITEMS_MAX) {
            answer_status(exchange, 413, "too_large", "more than %d tasks in one request",
                          ITEMS_MAX);
            return false;
        }
        if (bulk->count == room) {
            room = room ? 2 * room : 64;
            bulk->items = xrealloc(bulk->items, room * sizeof *bulk->items);
        }
        bulk->items[bulk->count++] =
            (struct item){ .bulk = bulk, .text = at, .len = (size_t)(next - at) };
        is_closed = *behind == ']';
        at = skip_space(behind + 1, end);
    }
    if (skip_space(is_closed && bulk->count == 0 ? at + 1 : at, end) == end) return true;
    answer_field(exchange, "body", "something follows the JSON array");
    return false;
}

/* Behind the next `,` or `]` of this depth, strings passed over; what is between is judged when it
 * is parsed. NULL: there is none. */
static const char *skip_value(const char *at, const char *end)
{
    size_t depth = 0;
    bool is_text = false;
    for (; at < end; at++) {
        if (is_text) {
            if (*at == '\\')
                at++; /* what is escaped ends nothing */
            else
                is_text = *at != '"';
            continue;
        }
        if (*at == '"') is_text = true;
        if (depth == 0 && (*at == ',' || *at == ']')) return at;
        depth += *at == '{' || *at == '[';
        if (*at == '}' || *at == ']') {
            if (depth == 0) return NULL;
            depth--;
        }
    }
    return NULL;
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
    bool good = params_parse_body(item->text, item->len, "it", &item->body, &err);
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
