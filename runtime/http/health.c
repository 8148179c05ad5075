/* health.c: is this process alive, and can it work? */
#include "base/jsonw.h"
#include "http/api.h"

static void on_version(void *arg, int64_t version, bool unknown, const struct err *err);

void handle_healthz(struct exchange *exchange)
{
    answer_text(exchange, 200, "{\"status\":\"ok\"}", 15);
}

void handle_readyz(struct exchange *exchange)
{
    ledger_schema_version(exchange->api->ledger, on_version, exchange);
}

static void on_version(void *arg, int64_t version, bool unknown, const struct err *err)
{
    struct exchange *exchange = arg;
    struct buf out = BUF_EMPTY;
    struct jsonw w;
    bool is_ready = !err && version == LEDGER_SCHEMA_VERSION;
    bool has_redis = broker_is_up(exchange->api->broker);
    (void)unknown;
    jsonw_init(&w, &out);
    jsonw_object(&w);
    jsonw_key_text(&w, "status", is_ready && has_redis ? "ready" : "not ready");
    jsonw_key(&w, "reasons");
    jsonw_array(&w);
    if (err)
        jsonw_text(&w, "Postgres does not answer");
    else if (!is_ready)
        jsonw_text(&w, "the schema is of another version: run ctutor-run migrate");
    if (!has_redis) jsonw_text(&w, "Redis does not answer: tasks are accepted and start later");
    jsonw_array_end(&w);
    jsonw_object_end(&w);
    answer_json(exchange, is_ready && has_redis ? 200 : 503, &out);
}
