/* operate.c: cancel, retry, delete: of one task, or of all that ids or a filter name. */
#include "lifecycle/operate.h"

#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "http/api.h"
#include "http/selection.h"

#define AT_ONCE   500
#define MATCH_MAX 200000 /* of a filter; the client repeats it for the rest: matched says so */

static void one(struct exchange *exchange, enum operation operation);
static void on_one(void *arg, const char *json, size_t len, const struct err *err);
static void many(struct exchange *exchange, enum operation operation);

void handle_cancel(struct exchange *exchange) { one(exchange, OPERATE_CANCEL); }
void handle_retry(struct exchange *exchange) { one(exchange, OPERATE_RETRY); }
void handle_delete(struct exchange *exchange) { one(exchange, OPERATE_DELETE); }
void handle_cancel_many(struct exchange *exchange) { many(exchange, OPERATE_CANCEL); }
void handle_retry_many(struct exchange *exchange) { many(exchange, OPERATE_RETRY); }
void handle_delete_many(struct exchange *exchange) { many(exchange, OPERATE_DELETE); }

static void one(struct exchange *exchange, enum operation operation)
{
    struct api *api = exchange->api;
    operate(api->ledger, api->broker, operation, &exchange->id, 1, exchange->grant->actor, on_one,
            exchange);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static bool is_refused(const json_t *answer)
{
    const char *status = text_of(answer, "status");
    return strcmp(status, "refused") == 0 || strcmp(status, "not_found") == 0;
}

static void on_one(void *arg, const char *json, size_t len, const struct err *err)
{
    struct exchange *exchange = arg;
    if (err) {
        answer_err(exchange, err);
        return;
    }
    json_t *answers = params_load(json, len), *answer = json_array_get(answers, 0);
    const char *status = text_of(answer, "status"), *task_status = text_of(answer, "task_status");
    if (strcmp(status, "not_found") == 0) {
        answer_no_task(exchange);
    } else if (is_refused(answer)) {
        answer_status(exchange, 409, "refused", "%s is %s: %s", exchange->word, task_status,
                      text_of(answer, "message"));
    } else {
        struct buf out = BUF_EMPTY;
        struct jsonw w;
        jsonw_init(&w, &out);
        jsonw_object(&w);
        jsonw_key_text(&w, "task_id", text_of(answer, "task_id"));
        jsonw_key_text(&w, "status", status);
        jsonw_key_text(&w, "task_status", task_status);
        jsonw_key_text(&w, "message", text_of(answer, "message"));
        jsonw_object_end(&w);
        answer_json(exchange, 200, &out);
    }
    json_decref(answers);
}

/* ---- many: slice after slice, so that none of them holds locks for long ---- */

struct round {
    struct exchange *exchange;
    enum operation operation;
    struct ident *ids;
    size_t count, at;
    int64_t done, refused;
    size_t hidden; /* that a limited token does not reach: refused */
};

static bool read_ids(struct exchange *exchange, const json_t *ids, struct round *round);
static void begin(struct round *round);
static void on_matched(void *arg, const char *json, size_t len, const struct err *err);
static void slice(struct round *round);
static void on_slice(void *arg, const char *json, size_t len, const struct err *err);
static void round_end(struct round *round, const struct err *err);

static void many(struct exchange *exchange, enum operation operation)
{
    static const char *const statuses[] = { [OPERATE_CANCEL] = "PENDING,STARTED,RETRY",
                                            [OPERATE_RETRY] = "FAILURE,REVOKED",
                                            [OPERATE_DELETE] = "SUCCESS,FAILURE,REVOKED" };
    static const char *const known[] = { "ids", "filter", NULL };
    json_t *body;
    struct selection selection;
    if (!body_json(exchange, JSON_OBJECT, &body)) return;
    const json_t *ids = json_object_get(body, "ids"), *object = json_object_get(body, "filter");
    struct round *round = xcalloc(1, sizeof *round);
    *round = (struct round){ .exchange = exchange, .operation = operation };
    bool is_on = false;
    if (!body_has_only(exchange, body, known)) {
        /* answered */
    } else if (!ids == !object) {
        answer_field(exchange, "ids", "give either ids or a filter");
    } else if (ids) {
        is_on = read_ids(exchange, ids, round);
        if (is_on) begin(round);
    } else if (!json_is_object(object)) {
        answer_field(exchange, "filter", "must be an object");
    } else if (selection_from_json(exchange, object, &selection)) {
        is_on = selection.is_any;
        if (!selection.filter.statuses) selection.filter.statuses = statuses[operation];
        selection.filter.limit = MATCH_MAX;
        if (is_on)
            ledger_match(exchange->api->lists, &selection.filter, on_matched, round);
        else
            answer_field(exchange, "filter", "needs at least one condition");
        selection_close(&selection);
    }
    if (!is_on) free(round->ids);
    if (!is_on) free(round);
    json_decref(body);
}

static void begin(struct round *round)
{
    const struct grant *grant = round->exchange->grant;
    if (grant_is_limited(grant))
        ledger_visible(round->exchange->api->ledger, round->ids, round->count, grant->like,
                       grant_owner(grant), on_matched, round);
    else
        slice(round);
}

static bool read_ids(struct exchange *exchange, const json_t *ids, struct round *round)
{
    size_t index;
    json_t *item;
    if (!json_is_array(ids)) {
        answer_field(exchange, "ids", "must be a list of task ids");
        return false;
    }
    round->ids = xcalloc(json_array_size(ids) + 1, sizeof *round->ids);
    json_array_foreach(ids, index, item)
    {
        char field[32];
        const char *text = json_string_value(item);
        if (text && ident_parse(text, &round->ids[round->count++])) continue;
        snprintf(field, sizeof field, "ids[%zu]", index);
        answer_field(exchange, field, "is no task id");
        return false;
    }
    return true;
}

static void on_matched(void *arg, const char *json, size_t len, const struct err *err)
{
    struct round *round = arg;
    json_t *all = err ? NULL : params_load(json, len), *item;
    size_t index;
    if (err) {
        round_end(round, err);
        return;
    }
    size_t asked = round->count; /* by their ids */
    free(round->ids);
    round->count = 0;
    round->ids = xcalloc(json_array_size(all) + 1, sizeof *round->ids);
    json_array_foreach(all, index, item)
    {
        if (ident_parse(json_string_value(item), &round->ids[round->count])) round->count++;
    }
    json_decref(all);
    if (asked > round->count) round->hidden = asked - round->count;
    slice(round);
}

static void slice(struct round *round)
{
    struct api *api = round->exchange->api;
    size_t left = round->count - round->at, count = left < AT_ONCE ? left : AT_ONCE;
    if (left == 0)
        round_end(round, NULL);
    else
        operate(api->lists, api->broker, round->operation, round->ids + round->at, count,
                round->exchange->grant->actor, on_slice, round);
}

static void on_slice(void *arg, const char *json, size_t len, const struct err *err)
{
    struct round *round = arg;
    json_t *answers = err ? NULL : params_load(json, len), *answer;
    size_t index;
    if (err) {
        round_end(round, err);
        return;
    }
    json_array_foreach(answers, index, answer)
    {
        bool refused = is_refused(answer);
        round->refused += refused;
        round->done += !refused;
    }
    round->at += json_array_size(answers);
    json_decref(answers);
    slice(round);
}

static void round_end(struct round *round, const struct err *err)
{
    struct buf out = BUF_EMPTY;
    struct jsonw w;
    if (err) {
        struct err told = *err;
        err_wrap(&told, "after %lld of %zu tasks", (long long)round->done, round->count);
        answer_err(round->exchange, &told);
    } else {
        jsonw_init(&w, &out);
        jsonw_object(&w);
        jsonw_key_int(&w, "matched", (int64_t)(round->count + round->hidden));
        jsonw_key_int(&w, "done", round->done);
        jsonw_key_int(&w, "refused", round->refused + (int64_t)round->hidden);
        jsonw_object_end(&w);
        answer_json(round->exchange, 200, &out);
    }
    free(round->ids);
    free(round);
}
