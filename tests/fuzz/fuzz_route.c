/* fuzz_route.c: a method, a path, a Host and an Origin, one a line. A route is found for exactly
 * one pattern, with the word that makes the path of it; a host is known with any port or with none.
 */
#include "fuzz/fuzz.h"
#include "http/api.h"
#include "http/hosts.h"

static void check_route(const char *method, const char *path);
static void check_hosts(const char *host, const char *origin);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *rest = text;
    const char *method = strsep(&rest, "\n"), *path = rest ? strsep(&rest, "\n") : "";
    const char *host = rest ? strsep(&rest, "\n") : "", *origin = rest ? rest : "";
    check_route(method, path);
    check_hosts(host, origin);
    free(text);
    return 0;
}

static void check_route(const char *method, const char *path)
{
    char *word = NULL, allow[64];
    struct err err;
    const struct route *route = route_find(method, path, &word, allow, &err);
    if (!route) {
        require_refusal(&err);
        require(err.code == ERR_NOT_FOUND || (err.code == ERR_INPUT && allow[0]));
        require(strlen(allow) < 63);
    } else {
        const char *open = strchr(route->path, '{');
        size_t before = open ? (size_t)(open - route->path) : strlen(route->path);
        require(strncmp(route->path, path, before) == 0);
        require(!open == !word);
        if (word) {
            require(*word && !strchr(word, '/') && strncmp(path + before, word, strlen(word)) == 0);
            require(strcmp(path + before + strlen(word), strchr(open, '}') + 1) == 0);
        }
    }
    free(word);
}

static void check_hosts(const char *host, const char *origin)
{
    static const struct hosts hosts = { "127.0.0.1", "https://a.example,b.example:81" };
    enum host known = hosts_find(&hosts, host);
    char with_port[300];
    snprintf(with_port, sizeof with_port, "%.250s:80", host);
    if (known != HOST_UNKNOWN && strlen(host) <= 250 && !strpbrk(host, ":"))
        require(hosts_find(&hosts, with_port) == known);
    if (known != HOST_UNKNOWN) require(!strpbrk(host, "/@ ,\\\r\n"));
    if (hosts_own(&hosts, origin, NULL))
        require(strcasecmp(origin, "https://a.example") == 0 ||
                strcasecmp(origin, "http://b.example:81") == 0 ||
                strcasecmp(origin, "https://b.example:81") == 0);
}
