/* access.c: without a token, only what plainly comes from this machine is served: a loopback peer
 * that names a loopback host, sent by no page of another origin and through no proxy. */
#include "http/access.h"

#include <stdio.h>
#include <string.h>

static bool is_loopback_host(const char *host);
static bool is_same_origin(const char *origin, const char *host);
static bool was_forwarded(const struct http_request *request);

int access_check(struct exchange *exchange, struct err *err)
{
    const struct http_request *request = exchange->request;
    const char *host = http_header(request, "Host"), *origin = http_header(request, "Origin");
    if (exchange->route->scope == SCOPE_OPEN) return 0;
    if (!host || !is_loopback_host(host)) {
        err_set(err, ERR_INPUT, "this server is not known as '%.200s'", host ? host : "");
        return 403;
    }
    if (origin && !is_same_origin(origin, host)) {
        err_set(err, ERR_INPUT, "pages of '%.200s' may not ask this server", origin);
        return 403;
    }
    if (!http_peer_is_loopback(request) || was_forwarded(request)) {
        err_set(err, ERR_INPUT, "a token is needed: Authorization: Bearer TOKEN");
        return 401;
    }
    return 0;
}

/* NAME[:PORT] */
static bool is_loopback_host(const char *host)
{
    static const char *const names[] = { "localhost", "127.0.0.1", "[::1]" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t len = strlen(names[i]);
        if (strncasecmp(host, names[i], len) == 0 && (host[len] == '\0' || host[len] == ':'))
            return true;
    }
    return false;
}

static bool is_same_origin(const char *origin, const char *host)
{
    const char *rest = strncmp(origin, "http://", 7) == 0    ? origin + 7
                       : strncmp(origin, "https://", 8) == 0 ? origin + 8
                                                             : NULL;
    return rest && strcasecmp(rest, host) == 0;
}

static bool was_forwarded(const struct http_request *request)
{
    static const char *const names[] = { "Forwarded",         "X-Forwarded-For", "X-Forwarded-Host",
                                         "X-Forwarded-Proto", "X-Real-IP",       "Via" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (http_header(request, names[i])) return true;
    return false;
}
