/* tokens.c: /api/tokens, and /api/audit: what operators did. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "http/api.h"
#include "http/selection.h"

#define OFFSET_MAX INT64_C(1000000000)

struct writing {
    struct exchange *exchange;
    char text[TOKEN_TEXT_SIZE]; /* of a new token: told once */
    struct buf answer;          /* JSON */
};

static bool read_wish(struct exchange *exchange, const json_t *body, struct token_wish *wish);
static bool read_expires(struct exchange *exchange, const json_t *value, int64_t *us);
static void on_created(void *arg, const char *json, size_t len, const struct err *err);
static void on_revoked(void *arg, const char *json, size_t len, const struct err *err);
static void on_in_force(void *arg);
static void writing_free(struct writing *writing);

void handle_tokens(struct exchange *exchange)
{
    ledger_tokens(exchange->api->ledger, answer_from_ledger, exchange);
}

void handle_token_create(struct exchange *exchange)
{
    json_t *body;
    struct token_wish wish = { 0 };
    struct token token;
    char hash[TOKEN_HEX_SIZE];
    if (!body_json(exchange, JSON_OBJECT, &body)) return;
    if (read_wish(exchange, body, &wish)) {
        struct writing *writing = xcalloc(1, sizeof *writing);
        writing->exchange = exchange;
        token_make(&token, writing->text);
        token_hash_text(&token, hash);
        const struct token_row row = { .id = token.id,
                                       .hash = hash,
                                       .name = wish.name ? wish.name : token.id,
                                       .scope = wish.scope,
                                       .tasks = wish.tasks,
                                       .own = wish.own,
                                       .lives_us = wish.expires_us };
        ledger_token_create(exchange->api->ledger, &row, exchange->grant->actor, on_created,
                            writing);
    }
    json_decref(body);
}

/* false: it has been answered. */
static bool read_wish(struct exchange *exchange, const json_t *body, struct token_wish *wish)
{
    static const char *const known[] = { "name", "scope", "tasks", "own", "expires", NULL };
    static const char *const texts[] = { "name", "scope", "tasks" };
    const char **const places[] = { &wish->name, &wish->scope, &wish->tasks };
    const json_t *own = json_object_get(body, "own");
    const char *field;
    struct err err;
    if (!body_has_only(exchange, body, known)) return false;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        const json_t *value = json_object_get(body, texts[i]);
        *places[i] = json_string_value(value);
        if (!value || json_is_null(value) || json_is_string(value)) continue;
        answer_field(exchange, texts[i], "must be text");
        return false;
    }
    if (own && !json_is_boolean(own) && !json_is_null(own)) {
        answer_field(exchange, "own", "must be true or false");
        return false;
    }
    wish->own = json_is_true(own);
    if (!read_expires(exchange, json_object_get(body, "expires"), &wish->expires_us)) return false;
    if (token_wish_check(wish, &field, &err)) return true;
    answer_field(exchange, field, "%s", err.text);
    return false;
}

static bool read_expires(struct exchange *exchange, const json_t *value, int64_t *us)
{
    const char *text = json_string_value(value);
    double seconds = json_number_value(value);
    if (!value || json_is_null(value)) return true;
    if (text && duration_parse(text, us, NULL) && *us > 0) return true;
    if (json_is_number(value) && seconds > 0 && seconds <= 10 * 365 * 86400.0) {
        *us = (int64_t)(seconds * 1e6 + 0.5);
        return true;
    }
    answer_field(exchange, "expires", "must be seconds or a duration such as 30d, longer than 0");
    return false;
}

static void on_created(void *arg, const char *json, size_t len, const struct err *err)
{
    struct writing *writing = arg;
    struct jsonw w;
    if (err || len == 0) {
        if (err)
            answer_err(writing->exchange, err);
        else
            answer_status(writing->exchange, 409, "conflict",
                          "name: there is a token of that name: revoke it first");
        writing_free(writing);
        return;
    }
    jsonw_init(&w, &writing->answer);
    jsonw_object(&w);
    jsonw_key_text(&w, "token", writing->text);
    buf_add_char(&writing->answer, ',');
    buf_add(&writing->answer, json + 1, len - 1);
    grants_load(writing->exchange->api->grants, on_in_force, writing);
}

void handle_token_revoke(struct exchange *exchange)
{
    struct writing *writing = xcalloc(1, sizeof *writing);
    writing->exchange = exchange;
    ledger_token_revoke(exchange->api->ledger, exchange->word, exchange->grant->actor, on_revoked,
                        writing);
}

static void on_revoked(void *arg, const char *json, size_t len, const struct err *err)
{
    struct writing *writing = arg;
    if (!err && len > 0) {
        buf_add(&writing->answer, json, len);
        grants_load(writing->exchange->api->grants, on_in_force, writing);
        return;
    }
    if (err)
        answer_err(writing->exchange, err);
    else
        answer_status(writing->exchange, 404, "not_found", "there is no token %.64s",
                      writing->exchange->word);
    writing_free(writing);
}

/* From here on this server holds to it. */
static void on_in_force(void *arg)
{
    struct writing *writing = arg;
    answer_json(writing->exchange, 200, &writing->answer);
    writing_free(writing);
}

static void writing_free(struct writing *writing)
{
    explicit_bzero(writing->text, sizeof writing->text);
    buf_close(&writing->answer);
    free(writing);
}

void handle_audit(struct exchange *exchange)
{
    int64_t limit = 100, offset = 0;
    if (query_int(exchange, "limit", 1, 1000, &limit) &&
        query_int(exchange, "offset", 0, OFFSET_MAX, &offset))
        ledger_operations(exchange->api->ledger, limit, offset, answer_from_ledger, exchange);
}
