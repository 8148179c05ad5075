/* login.c: /login, /logout and /api/session.
 *
 * Guessing is bounded twice: for each peer, and for all together. A try costs one of so many, which
 * come back with time. */
#include "http/login.h"

#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/access.h"

#define SECOND_US    INT64_C(1000000)
#define CODE_US      (15 * 60 * SECOND_US)
#define SESSION_US   (12 * 3600 * SECOND_US)
#define PEER_TRIES   10
#define PEER_US      (6 * SECOND_US) /* for one try to come back */
#define ALL_TRIES    60
#define ALL_US       (1 * SECOND_US)
#define ADDRESS_SIZE 8

/* Tries are spent in time: each moves `spent_us` on, which may lie only so far ahead. */
struct peer_tries {
    struct list node;
    uint8_t address[ADDRESS_SIZE];
    int64_t spent_us;
};

struct logins {
    struct api *api;
    struct token code;
    int64_t code_until_us; /* 0: there is none */
    struct list peers;     /* of struct peer_tries */
    int64_t spent_us;      /* of all */
    uint8_t key[crypto_generichash_KEYBYTES];
};

struct login {
    struct exchange *exchange;
    const struct login_door *door;
    char text[TOKEN_TEXT_SIZE];
};

static bool may_try(struct exchange *exchange);
static void give_back(struct exchange *exchange);
static int64_t wait_us(int64_t spent_us, int64_t now_us, int64_t one_us, int most);
static void spend(int64_t *spent_us, int64_t now_us, int64_t one_us);
static void read_address(const struct sockaddr *peer, uint8_t out[ADDRESS_SIZE]);
static struct peer_tries *find_peer(struct logins *logins, const uint8_t address[ADDRESS_SIZE],
                                    int64_t now_us);
static bool is_login(struct logins *logins, const char *user, const char *password);
static void open_session(struct exchange *exchange, const struct grant *grant, const char *actor,
                         const struct login_door *door);
static void on_session(void *arg, const char *json, size_t len, const struct err *err);
static void on_in_force(void *arg);
static void on_closed(void *arg, const char *json, size_t len, const struct err *err);
static void on_out(void *arg);
static void answer_ok(struct exchange *exchange);
static void set_cookie(struct exchange *exchange, const char *value, int64_t seconds);
static void refuse(struct exchange *exchange, const struct login_door *door);

static const struct login_door by_api = { answer_ok, access_refuse };
static const struct login_door by_link = { answer_go, access_refuse };

bool logins_new(struct api *api, struct logins **out, struct err *err)
{
    bool has_user = *config_text(api->config, SET_DASHBOARD_USER);
    bool has_password = *config_text(api->config, SET_DASHBOARD_PASSWORD);
    if (has_user != has_password)
        return err_set(err, ERR_INPUT, "%s is set and %s is not: a login needs both",
                       has_user ? "DASHBOARD_USER" : "DASHBOARD_PASSWORD",
                       has_user ? "DASHBOARD_PASSWORD" : "DASHBOARD_USER");
    struct logins *logins = xcalloc(1, sizeof *logins);
    logins->api = api;
    list_init(&logins->peers);
    if (sodium_init() < 0) abort(); /* it has no randomness */
    randombytes_buf(logins->key, sizeof logins->key);
    *out = logins;
    return true;
}

void logins_free(struct logins *logins)
{
    if (!logins) return;
    for (struct list *node; (node = list_pop_front(&logins->peers));)
        free(container_of(node, struct peer_tries, node));
    free(logins);
}

void logins_make_code(struct logins *logins, char text[TOKEN_TEXT_SIZE])
{
    token_make(&logins->code, text);
    logins->code_until_us = clock_boot_us() + CODE_US;
}

/* ---- in ---- */

void handle_login(struct exchange *exchange)
{
    static const char *const known[] = { "user", "password", "token", NULL };
    json_t *body;
    if (!body_json(exchange, JSON_OBJECT, &body)) return;
    const char *user = json_string_value(json_object_get(body, "user"));
    const char *password = json_string_value(json_object_get(body, "password"));
    const char *token = json_string_value(json_object_get(body, "token"));
    if (!body_has_only(exchange, body, known)) {
        /* answered */
    } else if (token ? user || password : !user || !password) {
        answer_field(exchange, "token", "give either a token, or user and password");
    } else if (token) {
        login_by_token(exchange, token, &by_api);
    } else {
        login_by_password(exchange, user, password, &by_api);
    }
    json_decref(body);
}

void login_by_token(struct exchange *exchange, const char *token, const struct login_door *door)
{
    if (!may_try(exchange)) return;
    const struct grant *grant = grants_find(exchange->api->grants, token, false);
    if (grant)
        open_session(exchange, grant, grant->actor, door);
    else
        refuse(exchange, door);
}

void login_by_password(struct exchange *exchange, const char *user, const char *password,
                       const struct login_door *door)
{
    if (!may_try(exchange)) return;
    char *actor = xasprintf("login:%.100s", user);
    if (is_login(exchange->api->logins, user, password))
        open_session(exchange, NULL, actor, door);
    else
        refuse(exchange, door);
    free(actor);
}

void handle_login_link(struct exchange *exchange)
{
    struct logins *logins = exchange->api->logins;
    const char *code = http_query(exchange->request, "code");
    struct token token;
    if (!code) {
        answer_go(exchange);
        return;
    }
    if (!may_try(exchange)) return;
    bool is_it = logins->code_until_us > clock_boot_us() && token_parse(code, &token) &&
                 token_is_same(&token, logins->code.hash);
    if (is_it) logins->code_until_us = 0;
    if (is_it)
        open_session(exchange, NULL, "login:link", &by_link);
    else
        refuse(exchange, &by_link);
}

static void refuse(struct exchange *exchange, const struct login_door *door)
{
    char peer[64] = "";
    struct err err;
    uv_ip_name(http_peer(exchange->request), peer, sizeof peer);
    if (grants_are_known(exchange->api->grants)) {
        log_warn("a login from %s is refused", peer);
        err_set(&err, ERR_INPUT, "this does not let you in");
        door->refuse(exchange, 401, &err);
    } else {
        err_set(&err, ERR_STORE, "Postgres does not answer: nobody can be let in");
        door->refuse(exchange, 503, &err);
    }
}

/* Both are looked at, whatever the first gives; hashes have one length. */
static bool is_login(struct logins *logins, const char *user, const char *password)
{
    const struct config *config = logins->api->config;
    const char *pairs[2][2] = { { user, config_text(config, SET_DASHBOARD_USER) },
                                { password, config_text(config, SET_DASHBOARD_PASSWORD) } };
    bool is_same = *pairs[0][1] && *pairs[1][1];
    for (int i = 0; i < 2; i++) {
        uint8_t hashes[2][crypto_generichash_BYTES];
        for (int j = 0; j < 2; j++)
            crypto_generichash(hashes[j], sizeof hashes[j], (const uint8_t *)pairs[i][j],
                               strlen(pairs[i][j]), logins->key, sizeof logins->key);
        is_same &= sodium_memcmp(hashes[0], hashes[1], sizeof hashes[0]) == 0;
    }
    return is_same;
}

/* grant NULL: everything is open to it. */
static void open_session(struct exchange *exchange, const struct grant *grant, const char *actor,
                         const struct login_door *door)
{
    give_back(exchange);
    struct login *login = xcalloc(1, sizeof *login);
    struct token token;
    char hash[TOKEN_HEX_SIZE];
    login->exchange = exchange;
    login->door = door;
    token_make(&token, login->text);
    token_hash_text(&token, hash);
    const struct token_row row = { .id = token.id,
                                   .hash = hash,
                                   .name = actor,
                                   .scope = scope_word(grant ? grant->scope : SCOPE_ADMIN),
                                   .tasks = grant ? grant->tasks : NULL,
                                   .own = grant && grant->own,
                                   .session = true,
                                   .parent = grant ? grant->id : NULL,
                                   .lives_us = SESSION_US };
    ledger_token_create(exchange->api->ledger, &row, actor, on_session, login);
}

static void on_session(void *arg, const char *json, size_t len, const struct err *err)
{
    struct login *login = arg;
    (void)json, (void)len;
    if (!err) {
        grants_load(login->exchange->api->grants, on_in_force, login);
        return;
    }
    answer_err(login->exchange, err);
    free(login);
}

static void on_in_force(void *arg)
{
    struct login *login = arg;
    set_cookie(login->exchange, login->text, SESSION_US / SECOND_US);
    login->door->let_in(login->exchange);
    explicit_bzero(login->text, sizeof login->text);
    free(login);
}

static void set_cookie(struct exchange *exchange, const char *value, int64_t seconds)
{
    char text[256];
    snprintf(text, sizeof text,
             SESSION_COOKIE "=%s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Strict%s", value,
             (long long)seconds, access_is_https(exchange) ? "; Secure" : "");
    http_set_header(exchange->request, "Set-Cookie", text);
    explicit_bzero(text, sizeof text);
}

static void answer_ok(struct exchange *exchange)
{
    static const char ok[] = "{\"status\":\"ok\"}";
    answer_text(exchange, 200, ok, strlen(ok));
}

/* ---- out, and who am I ---- */

void handle_logout(struct exchange *exchange)
{
    const struct grant *grant = exchange->grant;
    set_cookie(exchange, "", 0);
    if (grant && grant->session)
        ledger_token_revoke(exchange->api->ledger, grant->id, grant->actor, on_closed, exchange);
    else
        answer_ok(exchange);
}

static void on_closed(void *arg, const char *json, size_t len, const struct err *err)
{
    struct exchange *exchange = arg;
    (void)json, (void)len;
    if (err)
        answer_err(exchange, err);
    else
        grants_load(exchange->api->grants, on_out, exchange);
}

static void on_out(void *arg) { answer_ok(arg); }

void handle_session(struct exchange *exchange)
{
    const struct grant *grant = exchange->grant;
    struct buf out = BUF_EMPTY;
    struct jsonw w;
    jsonw_init(&w, &out);
    jsonw_object(&w);
    jsonw_key_text(&w, "actor", grant->actor);
    jsonw_key_text(&w, "scope", scope_word(grant->scope));
    jsonw_key_text(&w, "tasks", grant->tasks);
    jsonw_key_bool(&w, "own", grant->own);
    jsonw_key_bool(&w, "session", grant->session);
    jsonw_object_end(&w);
    answer_json(exchange, 200, &out);
}

/* ---- guessing ---- */

/* false: it has been answered. Who is refused spends nothing: neither does he lock out others, nor
 * are there ever more peers known than tries let in. */
static bool may_try(struct exchange *exchange)
{
    struct logins *logins = exchange->api->logins;
    int64_t now_us = clock_boot_us();
    uint8_t address[ADDRESS_SIZE];
    char seconds[24];
    read_address(http_peer(exchange->request), address);
    struct peer_tries *peer = find_peer(logins, address, now_us);
    int64_t of_all_us = wait_us(logins->spent_us, now_us, ALL_US, ALL_TRIES);
    int64_t of_peer_us = peer ? wait_us(peer->spent_us, now_us, PEER_US, PEER_TRIES) : 0;
    int64_t longest_us = of_all_us > of_peer_us ? of_all_us : of_peer_us;
    if (longest_us > 0) {
        snprintf(seconds, sizeof seconds, "%lld", (long long)(longest_us / SECOND_US + 1));
        http_set_header(exchange->request, "Retry-After", seconds);
        answer_status(exchange, 429, "limited", "too many logins: try again in %s s", seconds);
        return false;
    }
    if (!peer) {
        peer = xcalloc(1, sizeof *peer);
        memcpy(peer->address, address, sizeof address);
        list_push_back(&logins->peers, &peer->node);
    }
    spend(&peer->spent_us, now_us, PEER_US);
    spend(&logins->spent_us, now_us, ALL_US);
    return true;
}

/* Who came in was no guesser; among all his try counts, so that sessions have an end. */
static void give_back(struct exchange *exchange)
{
    uint8_t address[ADDRESS_SIZE];
    read_address(http_peer(exchange->request), address);
    struct peer_tries *peer = find_peer(exchange->api->logins, address, clock_boot_us());
    if (peer) peer->spent_us -= PEER_US;
}

/* Until one try is there; 0 or less: now. */
static int64_t wait_us(int64_t spent_us, int64_t now_us, int64_t one_us, int most)
{
    return spent_us + one_us - now_us - most * one_us;
}

static void spend(int64_t *spent_us, int64_t now_us, int64_t one_us)
{
    *spent_us = (*spent_us > now_us ? *spent_us : now_us) + one_us;
}

/* Of IPv6 the network: who has one address of it has them all. */
static void read_address(const struct sockaddr *peer, uint8_t out[ADDRESS_SIZE])
{
    memset(out, 0, ADDRESS_SIZE);
    if (peer->sa_family == AF_INET)
        memcpy(out, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
    else if (peer->sa_family == AF_INET6)
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, ADDRESS_SIZE);
}

/* Those who have all their tries back are forgotten. */
static struct peer_tries *find_peer(struct logins *logins, const uint8_t address[ADDRESS_SIZE],
                                    int64_t now_us)
{
    struct peer_tries *found = NULL;
    LIST_EACH (node, &logins->peers) {
        struct peer_tries *tries = container_of(node, struct peer_tries, node);
        if (tries->spent_us <= now_us) {
            list_del(node);
            free(tries);
        } else if (memcmp(tries->address, address, ADDRESS_SIZE) == 0) {
            found = tries;
        }
    }
    return found;
}
