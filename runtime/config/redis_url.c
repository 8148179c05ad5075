/* redis_url.c: scheme://[user:password@]place[/path][?query]. Each part is percent-decoded after it
 * is cut out. */
#include "config/redis_url.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define REDIS_PORT    6379
#define SENTINEL_PORT 26379
#define DB_MAX        65535

/* The parts as they stand in the URL, owned. */
struct parts {
    char *user, *password; /* or NULL */
    char *place;           /* between userinfo and path */
    char *path;            /* without the first slash, not decoded */
};

static bool split(const char *rest, struct redis_target *out, struct parts *parts, struct err *err);
static void parts_close(struct parts *parts);
static bool fill_unix(struct redis_target *out, const struct parts *parts, struct err *err);
static bool fill_host(struct redis_target *out, const struct parts *parts, struct err *err);
static bool fill_sentinel(struct redis_target *out, const struct parts *parts, struct err *err);
static char *percent_decode(const char *text, size_t len);
static bool parse_number(const char *text, int min, int max, int *out);

static const struct {
    const char *prefix;
    bool (*fill)(struct redis_target *, const struct parts *, struct err *);
} schemes[] = { { "redis://", fill_host },
                { "unix://", fill_unix },
                { "redis+sentinel://", fill_sentinel } };

bool redis_url_parse(const char *url, struct redis_target *out, struct err *err)
{
    *out = (struct redis_target){ .db = -1 };
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        size_t len = strlen(schemes[i].prefix);
        if (strncmp(url, schemes[i].prefix, len) != 0) continue;
        struct parts parts = { 0 };
        bool good = split(url + len, out, &parts, err) && schemes[i].fill(out, &parts, err);
        parts_close(&parts);
        if (!good) redis_target_close(out);
        return good;
    }
    return err_set(err, ERR_INPUT,
                   "must begin with redis://, unix:// or redis+sentinel:// (TLS is not supported)");
}

char *redis_url_masked(const struct redis_target *target)
{
    struct buf url = BUF_EMPTY;
    buf_add_text(&url, target->unix_path   ? "unix://"
                       : target->sentinels ? "redis+sentinel://"
                                           : "redis://");
    buf_add_text(&url, target->user);
    if (target->password) buf_add_text(&url, ":***");
    if (target->user || target->password) buf_add_char(&url, '@');
    if (target->unix_path)
        buf_addf(&url, "%s?db=%d", target->unix_path, target->db);
    else if (target->sentinels)
        buf_addf(&url, "%s/%s/%d", target->sentinels, target->master_name, target->db);
    else
        buf_addf(&url, strchr(target->host, ':') ? "[%s]:%d/%d" : "%s:%d/%d", target->host,
                 target->port, target->db);
    return buf_take(&url);
}

static bool take_userinfo(const char *text, size_t len, struct parts *parts, struct err *err)
{
    const char *colon = memchr(text, ':', len);
    if (!colon)
        return err_set(err, ERR_INPUT, "a password is written :PASSWORD@ or USER:PASSWORD@");
    size_t user_len = (size_t)(colon - text);
    if (user_len > 0) parts->user = percent_decode(text, user_len);
    if (len > user_len + 1) parts->password = percent_decode(colon + 1, len - user_len - 1);
    return true;
}

static bool take_query(const char *query, struct redis_target *out, struct parts *parts,
                       struct err *err)
{
    while (*query) {
        size_t len = strcspn(query, "&");
        char *item = percent_decode(query, len);
        bool good = true;
        if (strncmp(item, "db=", 3) == 0) {
            good = parse_number(item + 3, 0, DB_MAX, &out->db);
        } else if (strncmp(item, "password=", 9) == 0 && !parts->password) {
            parts->password = xstrdup(item + 9);
        } else {
            good = false;
        }
        free(item);
        if (!good)
            return err_set(err, ERR_INPUT,
                           "behind the ? only db=NUMBER and password=PASSWORD are known");
        query += len + (query[len] == '&');
    }
    return true;
}

static bool split(const char *rest, struct redis_target *out, struct parts *parts, struct err *err)
{
    /* The last @ ends the userinfo: a password with an @, / or ? in it then still works. A path
     * cannot be one. */
    const char *at = *rest == '/' ? NULL : strrchr(rest, '@');
    if (at && !take_userinfo(rest, (size_t)(at - rest), parts, err)) return false;
    if (at) rest = at + 1;
    size_t place_len = strcspn(rest, "/?");
    parts->place = xstrndup(rest, place_len);
    rest += place_len;
    size_t path_len = strcspn(rest, "?");
    parts->path = path_len > 0 ? xstrndup(rest + 1, path_len - 1) : xstrdup("");
    if (rest[path_len] == '?' && !take_query(rest + path_len + 1, out, parts, err)) return false;
    out->user = parts->user;
    out->password = parts->password;
    parts->user = parts->password = NULL; /* now the target's */
    return true;
}

static void parts_close(struct parts *parts)
{
    free(parts->user);
    free(parts->password);
    free(parts->place);
    free(parts->path);
}

static bool fill_unix(struct redis_target *out, const struct parts *parts, struct err *err)
{
    if (*parts->place || !*parts->path)
        return err_set(err, ERR_INPUT, "a socket is written unix:///absolute/path");
    char *path = percent_decode(parts->path, strlen(parts->path));
    out->unix_path = xasprintf("/%s", path);
    free(path);
    return true;
}

/* "host", "host:port", "[::1]:port". gives host or NULL */
static char *parse_place(const char *place, int default_port, int *port)
{
    const char *host = place;
    size_t len = strcspn(place, ":");
    const char *behind = place + len;
    if (*place == '[') {
        host++;
        len = strcspn(host, "]");
        if (host[len] != ']') return NULL;
        behind = host + len + 1;
    }
    *port = default_port;
    if (len == 0 || (*behind != '\0' && *behind != ':')) return NULL;
    if (*behind == ':' && !parse_number(behind + 1, 1, 65535, port)) return NULL;
    return percent_decode(host, len);
}

static bool parse_db(const char *text, struct redis_target *out, struct err *err)
{
    if (*text && !parse_number(text, 0, DB_MAX, &out->db))
        return err_set(err, ERR_INPUT, "the database behind the last / must be a number");
    return true;
}

static bool fill_host(struct redis_target *out, const struct parts *parts, struct err *err)
{
    out->host = parse_place(parts->place, REDIS_PORT, &out->port);
    if (!out->host) return err_set(err, ERR_INPUT, "a server is written redis://host:port/db");
    return parse_db(parts->path, out, err);
}

static bool fill_sentinel(struct redis_target *out, const struct parts *parts, struct err *err)
{
    struct buf list = BUF_EMPTY;
    bool good = true;
    for (const char *at = parts->place; good; at++) {
        size_t len = strcspn(at, ",");
        char *place = xstrndup(at, len);
        int port = 0;
        char *host = parse_place(place, SENTINEL_PORT, &port);
        good = host != NULL;
        if (good)
            buf_addf(&list, strchr(host, ':') ? "%s[%s]:%d" : "%s%s:%d", list.len ? "," : "", host,
                     port);
        free(host);
        free(place);
        at += len;
        if (*at == '\0') break;
    }
    out->sentinels = buf_take(&list);
    size_t name_len = strcspn(parts->path, "/");
    if (!good || name_len == 0)
        return err_set(err, ERR_INPUT,
                       "Sentinel is written redis+sentinel://host:port,host:port/NAME/DB");
    out->master_name = percent_decode(parts->path, name_len);
    return parse_db(parts->path + name_len + (parts->path[name_len] == '/'), out, err);
}

static int hex_value(char c)
{
    const char *digits = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)((at - digits) % 16) : -1;
}

/* A % that no two hexadecimal digits follow stands for itself. gives */
static char *percent_decode(const char *text, size_t len)
{
    struct buf out = BUF_EMPTY;
    for (size_t i = 0; i < len; i++) {
        int high = text[i] == '%' && i + 2 < len ? hex_value(text[i + 1]) : -1;
        int low = high >= 0 ? hex_value(text[i + 2]) : -1;
        bool is_escape = low >= 0 && (high | low) != 0; /* a NUL would end the string */
        if (is_escape) {
            buf_add_char(&out, (char)(high << 4 | low));
            i += 2;
        } else {
            buf_add_char(&out, text[i]);
        }
    }
    return buf_take(&out);
}

static bool parse_number(const char *text, int min, int max, int *out)
{
    size_t len = strlen(text);
    if (len == 0 || len > 9 || strspn(text, "0123456789") != len) return false;
    int number = atoi(text);
    if (number < min || number > max) return false;
    *out = number;
    return true;
}
