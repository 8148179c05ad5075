/* access.c: three ways in: a token (Authorization: Bearer), a session (cookie), and, while no token
 * was ever made, plainly coming from this machine.
 *
 * What a browser sends by itself, and what needs no proof at all, must come by a name of ours and
 * from no page of another origin. Nobody but its holder can send a token: for it any name will do.
 */
#include "http/access.h"

#include <string.h>

static const char *bearer_of(const struct http_request *request);
static bool is_foreign(const struct exchange *exchange, bool has_token, struct err *err);
static int identify(struct exchange *exchange, const char *bearer, struct err *err);
static int identify_plain(struct exchange *exchange, struct err *err);
static int check_rights(const struct exchange *exchange, struct err *err);
static bool is_safe(const struct http_request *request);
static bool was_forwarded(const struct http_request *request);

int access_check(struct exchange *exchange, struct err *err)
{
    const struct http_request *request = exchange->request;
    const char *bearer = bearer_of(request);
    if (exchange->route->scope == SCOPE_OPEN) return 0;
    if (is_foreign(exchange, bearer != NULL, err)) return 403;
    int refused = identify(exchange, bearer, err);
    if (exchange->route->scope == SCOPE_PAGE) return 0;
    return refused ? refused : check_rights(exchange, err);
}

void access_refuse(struct exchange *exchange, int status, const struct err *err)
{
    const char *code = status == 401 ? "unauthorized" : status == 403 ? "forbidden" : "unavailable";
    if (status == 401) http_set_header(exchange->request, "WWW-Authenticate", "Bearer");
    if (status == 503) http_set_header(exchange->request, "Retry-After", "1");
    answer_status(exchange, status, code, "%s", err->text);
}

bool access_is_https(const struct exchange *exchange)
{
    const char *host = http_header(exchange->request, "Host");
    return host && hosts_find(&exchange->api->hosts, host) == HOST_HTTPS;
}

/* "": what is there is no bearer token. NULL: nothing is. */
static const char *bearer_of(const struct http_request *request)
{
    static const char scheme[] = "Bearer ";
    const char *text = http_header(request, "Authorization");
    if (!text || strncasecmp(text, scheme, strlen(scheme)) != 0) return text ? "" : NULL;
    text += strlen(scheme);
    return text + strspn(text, " ");
}

static bool is_foreign(const struct exchange *exchange, bool has_token, struct err *err)
{
    const struct http_request *request = exchange->request;
    const struct hosts *hosts = &exchange->api->hosts;
    const char *host = http_header(request, "Host"), *origin = http_header(request, "Origin");
    const char *site = http_header(request, "Sec-Fetch-Site");
    if (origin && !hosts_own(hosts, origin, host))
        return !err_set(err, ERR_INPUT, "pages of '%.200s' may not ask this server (CTUTOR_HOSTS)",
                        origin);
    if (has_token) return false;
    if (!host || hosts_find(hosts, host) == HOST_UNKNOWN)
        return !err_set(err, ERR_INPUT,
                        "this server is not known as '%.200s': CTUTOR_HOSTS lists its names",
                        host ? host : "");
    bool is_ours = !site || strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0;
    return !is_ours && !is_safe(request) &&
           !err_set(err, ERR_INPUT, "pages of other sites may change nothing here");
}

static int identify(struct exchange *exchange, const char *bearer, struct err *err)
{
    struct grants *grants = exchange->api->grants;
    const struct http_request *request = exchange->request;
    const char *cookie = http_cookie(request, SESSION_COOKIE);
    struct grant *grant = NULL;
    if (!grants_are_known(grants)) {
        err_set(err, ERR_STORE, "Postgres does not answer: nobody can be let in");
        return 503;
    }
    if (bearer) {
        grant = grants_find(grants, bearer, false);
        if (!grant) {
            err_set(err, ERR_INPUT, "this token is unknown, revoked or expired");
            return 401;
        }
    } else if (cookie) {
        grant = grants_find(grants, cookie, true);
        if (grant && !is_safe(request) && !http_header(request, "Origin")) {
            err_set(err, ERR_INPUT, "with a cookie, what changes something needs an Origin");
            return 403;
        }
    }
    if (!grant) return identify_plain(exchange, err);
    exchange->grant = grant_hold(grant);
    return 0;
}

static int identify_plain(struct exchange *exchange, struct err *err)
{
    struct grants *grants = exchange->api->grants;
    bool is_from_here =
        http_peer_is_loopback(exchange->request) && !was_forwarded(exchange->request);
    if (!is_from_here || grants_any(grants)) {
        err_set(err, ERR_INPUT, "a token is needed: Authorization: Bearer TOKEN");
        return 401;
    }
    exchange->grant = grant_hold(grants_local(grants));
    return 0;
}

static int check_rights(const struct exchange *exchange, struct err *err)
{
    const struct route *route = exchange->route;
    const struct grant *grant = exchange->grant;
    if (grant->scope < route->scope) {
        err_set(err, ERR_INPUT, "this needs the scope %s; the token has %s",
                scope_word(route->scope), scope_word(grant->scope));
        return 403;
    }
    if (grant_is_limited(grant) && !route->minds_limits) {
        err_set(err, ERR_INPUT, "this is not for a token that is limited to some tasks");
        return 403;
    }
    return 0;
}

static bool is_safe(const struct http_request *request)
{
    const char *method = http_method(request);
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static bool was_forwarded(const struct http_request *request)
{
    static const char *const names[] = { "Forwarded",         "X-Forwarded-For", "X-Forwarded-Host",
                                         "X-Forwarded-Proto", "X-Real-IP",       "Via" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (http_header(request, names[i])) return true;
    return false;
}
