/* system.c: the catalogue, workers and queues. */
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "http/api.h"

static void answer_no_type(struct exchange *exchange);
static json_t *types_shown(const struct exchange *exchange, const char *json, size_t len);
static void on_types(void *arg, const char *json, size_t len, const struct err *err);
static void on_type(void *arg, const char *json, size_t len, const struct err *err);
static void set_paused(struct exchange *exchange, bool paused);
static void on_written(void *arg, int64_t count, bool unknown, const struct err *err);
static void on_paused(void *arg, const char *json, size_t len, const struct err *err);

void handle_types(struct exchange *exchange)
{
    bool is_limited = exchange->grant->tasks != NULL;
    ledger_catalogue_list(exchange->api->ledger, NULL, is_limited ? on_types : answer_from_ledger,
                          exchange);
}

void handle_type(struct exchange *exchange)
{
    if (grant_allows(exchange->grant, exchange->word))
        ledger_catalogue_list(exchange->api->ledger, exchange->word, on_type, exchange);
    else
        answer_no_type(exchange);
}

static void answer_no_type(struct exchange *exchange)
{
    answer_status(exchange, 404, "not_found", "there is no task '%.130s'", exchange->word);
}

static void on_types(void *arg, const char *json, size_t len, const struct err *err)
{
    answer_types(arg, json, len, err, params_write);
}

void answer_types(struct exchange *exchange, const char *json, size_t len, const struct err *err,
                  void (*write)(struct buf *out, const json_t *types))
{
    struct buf out = BUF_EMPTY;
    if (err) {
        answer_err(exchange, err);
        return;
    }
    json_t *shown = types_shown(exchange, json, len);
    write(&out, shown);
    answer_json(exchange, 200, &out);
    json_decref(shown);
}

static json_t *types_shown(const struct exchange *exchange, const char *json, size_t len)
{
    json_t *all = params_load(json, len), *type, *shown = json_array();
    size_t index;
    json_array_foreach(all, index, type)
    {
        if (grant_allows(exchange->grant, json_string_value(json_object_get(type, "name"))))
            json_array_append(shown, type);
    }
    json_decref(all);
    return shown;
}

/* An array of one, or of none. */
static void on_type(void *arg, const char *json, size_t len, const struct err *err)
{
    struct exchange *exchange = arg;
    if (err)
        answer_err(exchange, err);
    else if (len <= 2)
        answer_no_type(exchange);
    else
        answer_text(exchange, 200, json + 1, len - 2);
}

void handle_workers(struct exchange *exchange)
{
    ledger_workers(exchange->api->ledger, answer_from_ledger, exchange);
}

void handle_queues(struct exchange *exchange)
{
    ledger_queues(exchange->api->lists, answer_from_ledger, exchange);
}

/* ---- pause, resume: the ledger decides; Redis gets a copy, so that claims need not ask it ---- */

void handle_pause(struct exchange *exchange) { set_paused(exchange, true); }

void handle_resume(struct exchange *exchange) { set_paused(exchange, false); }

static void set_paused(struct exchange *exchange, bool paused)
{
    if (queue_name_is_valid(exchange->word))
        ledger_pause(exchange->api->ledger, exchange->word, paused, exchange->grant->actor,
                     on_written, exchange);
    else
        answer_field(exchange, "name", "must be a name of 1 to 64 characters out of a-z 0-9 _ . -");
}

static void on_written(void *arg, int64_t count, bool unknown, const struct err *err)
{
    struct exchange *exchange = arg;
    (void)count;
    (void)unknown;
    if (err)
        answer_err(exchange, err);
    else
        ledger_paused(exchange->api->ledger, on_paused, exchange);
}

static void on_paused(void *arg, const char *json, size_t len, const struct err *err)
{
    struct exchange *exchange = arg;
    struct broker *broker = exchange->api->broker;
    json_t *paused = err ? NULL : params_load(json, len), *name;
    const char **names = xcalloc(json_array_size(paused) + 1, sizeof *names);
    struct buf out = BUF_EMPTY;
    struct jsonw w;
    size_t index;
    bool is_paused = false;
    json_array_foreach(paused, index, name)
    {
        names[index] = json_string_value(name);
        is_paused = is_paused || strcmp(names[index], exchange->word) == 0;
    }
    if (err) {
        answer_err(exchange, err);
    } else {
        if (broker_is_up(broker)) broker_set_paused(broker, names, index, NULL, NULL);
        jsonw_init(&w, &out);
        jsonw_object(&w);
        jsonw_key_text(&w, "name", exchange->word);
        jsonw_key_bool(&w, "paused", is_paused);
        jsonw_object_end(&w);
        answer_json(exchange, 200, &out);
    }
    free(names);
    json_decref(paused);
}
