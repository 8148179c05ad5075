/* hosts.c: see hosts.h. */
#include "http/hosts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HTTP  "http://"
#define HTTPS "https://"

struct name {
    const char *text; /* behind the scheme */
    size_t len;
    bool is_https, has_scheme;
};

static bool next_name(const char **at, struct name *out);
static bool fits(const char *host, const char *name, size_t len);

enum host hosts_find(const struct hosts *hosts, const char *host)
{
    static const char *const loopback[] = { "localhost", "127.0.0.1", "[::1]" };
    char six[64];
    struct name name;
    for (size_t i = 0; i < sizeof loopback / sizeof *loopback; i++)
        if (fits(host, loopback[i], strlen(loopback[i]))) return HOST_KNOWN;
    for (const char *at = hosts->names; next_name(&at, &name);)
        if (fits(host, name.text, name.len)) return name.is_https ? HOST_HTTPS : HOST_KNOWN;
    bool is_six = strchr(hosts->address, ':') != NULL;
    snprintf(six, sizeof six, is_six ? "[%.60s]" : "%.60s", hosts->address);
    return fits(host, six, strlen(six)) ? HOST_KNOWN : HOST_UNKNOWN;
}

bool hosts_own(const struct hosts *hosts, const char *origin, const char *host)
{
    bool is_https = strncmp(origin, HTTPS, strlen(HTTPS)) == 0;
    if (!is_https && strncmp(origin, HTTP, strlen(HTTP)) != 0) return false;
    const char *from = origin + strlen(is_https ? HTTPS : HTTP);
    struct name name;
    if (host && strcasecmp(from, host) == 0)
        return is_https || hosts_find(hosts, host) != HOST_HTTPS;
    for (const char *at = hosts->names; next_name(&at, &name);) {
        bool is_it = strlen(from) == name.len && strncasecmp(from, name.text, name.len) == 0;
        if (is_it && (!name.has_scheme || name.is_https == is_https)) return true;
    }
    return false;
}

bool address_is_loopback(const char *address)
{
    return strcmp(address, "localhost") == 0 || strcmp(address, "::1") == 0 ||
           strncmp(address, "127.", 4) == 0;
}

static bool next_name(const char **at, struct name *out)
{
    *at += strspn(*at, ", ");
    size_t len = strcspn(*at, ", ");
    *out = (struct name){ .text = *at, .len = len };
    *at += len;
    out->is_https = len > strlen(HTTPS) && strncmp(out->text, HTTPS, strlen(HTTPS)) == 0;
    out->has_scheme =
        out->is_https || (len > strlen(HTTP) && !strncmp(out->text, HTTP, strlen(HTTP)));
    size_t scheme = out->is_https ? strlen(HTTPS) : out->has_scheme ? strlen(HTTP) : 0;
    out->text += scheme;
    out->len -= scheme;
    return out->len > 0;
}

/* NAME, or NAME and any port. */
static bool fits(const char *host, const char *name, size_t len)
{
    if (strncasecmp(host, name, len) != 0) return false;
    if (host[len] == '\0') return true;
    return host[len] == ':' && host[len + 1] &&
           strspn(host + len + 1, "0123456789") == strlen(host + len + 1);
}
