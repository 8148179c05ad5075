/* value.c: one function per type; texts with a form of their own (URLs, queue names, the namespace)
 * are picked out by setting. */
#include "config/value.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/size.h"
#include "base/utf8.h"
#include "config/postgres_url.h"
#include "config/redis_url.h"

#define NAMESPACE_MAX 41
#define QUEUE_MAX     64
#define LOWER         "abcdefghijklmnopqrstuvwxyz"
#define DIGITS        "0123456789"

static bool parse_int(const struct setting_info *info, const char *text, int64_t *number,
                      struct err *err);
static bool parse_size(const struct setting_info *info, const char *text, int64_t *number,
                       struct err *err);
static bool parse_duration(const struct setting_info *info, const char *text, int64_t *number,
                           struct err *err);
static bool check_choice(const struct setting_info *info, const char *text, struct err *err);
static bool check_text(enum setting which, const char *text, struct err *err);

bool value_parse(enum setting which, const char *text, int64_t *number, struct err *err)
{
    const struct setting_info *info = &setting_table[which];
    *number = 0;
    if (!utf8_is_valid(text, strlen(text))) return err_set(err, ERR_INPUT, "must be UTF-8");
    switch (info->type) {
    case SETTING_TEXT: return check_text(which, text, err);
    case SETTING_INT: return parse_int(info, text, number, err);
    case SETTING_DURATION: return parse_duration(info, text, number, err);
    case SETTING_SIZE: return parse_size(info, text, number, err);
    case SETTING_CHOICE: return check_choice(info, text, err);
    }
    return err_set(err, ERR_INTERNAL, "has no type");
}

static int64_t count_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return CPU_COUNT(&set);
}

static bool take_digits(const char **at, int64_t *number)
{
    char *end;
    if (**at < '0' || **at > '9') return false;
    errno = 0;
    *number = strtoll(*at, &end, 10);
    *at = end;
    return errno == 0;
}

static bool parse_int(const struct setting_info *info, const char *text, int64_t *number,
                      struct err *err)
{
    if (info->word && strcmp(text, info->word) == 0) {
        int64_t cores = count_cores();
        *number = cores < info->max ? cores : info->max;
        return true;
    }
    const char *at = text;
    if (take_digits(&at, number) && *at == '\0' && *number >= info->min && *number <= info->max)
        return true;
    return err_set(err, ERR_INPUT, "must be a whole number from %lld to %lld%s%s",
                   (long long)info->min, (long long)info->max, info->word ? " or the word " : "",
                   info->word ? info->word : "");
}

static bool parse_size(const struct setting_info *info, const char *text, int64_t *number,
                       struct err *err)
{
    if (info->word && strcmp(text, info->word) == 0) {
        *number = -1;
        return true;
    }
    if (size_parse(text, info->min, info->max, number)) return true;
    return err_set(err, ERR_INPUT,
                   "must be a number of bytes, also with K, M or G (1M), from %lldK to %lldM%s%s",
                   (long long)(info->min >> 10), (long long)(info->max >> 20),
                   info->word ? ", or the word " : "", info->word ? info->word : "");
}

static bool parse_duration(const struct setting_info *info, const char *text, int64_t *number,
                           struct err *err)
{
    if (info->word && strcmp(text, info->word) == 0) {
        *number = DURATION_NONE;
        return true;
    }
    if (duration_parse(text, number, NULL) && *number >= info->min && *number <= info->max)
        return true;
    char *min = duration_text(info->min);
    char *max = duration_text(info->max);
    err_set(err, ERR_INPUT, "must be a duration like 250ms, 10s, 5m, 2h or 1d, from %s to %s%s%s",
            min, max, info->word ? ", or the word " : "", info->word ? info->word : "");
    free(min);
    free(max);
    return false;
}

static bool check_choice(const struct setting_info *info, const char *text, struct err *err)
{
    size_t len = strlen(text);
    const char *at = info->choices;
    while (*at) {
        size_t word = strcspn(at, " ");
        if (word == len && memcmp(at, text, len) == 0) return true;
        at += word + (at[word] == ' ');
    }
    return err_set(err, ERR_INPUT, "must be one of: %s", info->choices);
}

static bool check_redis_url(const char *text, struct err *err)
{
    struct redis_target target;
    if (!redis_url_parse(text, &target, err)) return false;
    redis_target_close(&target);
    return true;
}

static bool check_postgres_url(const char *text, struct err *err)
{
    char *conninfo = NULL;
    if (!postgres_url_convert(text, NULL, POSTGRES_URL_FULL, &conninfo, err)) return false;
    free(conninfo);
    return true;
}

static bool check_queues(const char *text, struct err *err)
{
    char **queues = NULL;
    if (!value_parse_queues(text, &queues, err)) return false;
    config_queues_free(queues);
    return true;
}

static bool check_namespace(const char *text, struct err *err)
{
    size_t len = strlen(text);
    if (len > 0 && len <= NAMESPACE_MAX && !strchr(DIGITS, text[0]) &&
        strspn(text, LOWER DIGITS "_") == len && strncmp(text, "pg_", 3) != 0)
        return true;
    return err_set(err, ERR_INPUT,
                   "must be 1 to %d of a-z, 0-9 and _, not begin with a digit nor with pg_",
                   NAMESPACE_MAX);
}

static bool check_api_url(const char *text, struct err *err)
{
    bool is_web = strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
    if (!is_web) return err_set(err, ERR_INPUT, "must begin with http:// or https://");
    if (!strpbrk(text, "@?# ")) return true;
    return err_set(err, ERR_INPUT, "must be host, port and path alone: CTUTOR_TOKEN says who asks");
}

static bool check_hosts(const char *text, struct err *err)
{
    static const char allowed[] = LOWER DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-_:/[], ";
    if (*text && strspn(text, allowed) == strlen(text)) return true;
    return err_set(err, ERR_INPUT,
                   "must be names separated by commas, as build7:8000,https://tasks.example.org");
}

static bool check_text(enum setting which, const char *text, struct err *err)
{
    switch ((int)which) {
    case SET_REDIS_URL: return check_redis_url(text, err);
    case SET_DATABASE_URL: return check_postgres_url(text, err);
    case SET_API_URL: return check_api_url(text, err);
    case SET_HOSTS: return check_hosts(text, err);
    case SET_QUEUES: return check_queues(text, err);
    case SET_NAMESPACE: return check_namespace(text, err);
    }
    return *text || err_set(err, ERR_INPUT, "must not be empty");
}

static bool is_queue_name(const char *name, size_t len)
{
    return len >= 1 && len <= QUEUE_MAX && strspn(name, LOWER DIGITS "_.-") >= len;
}

static bool is_listed(char **queues, size_t count, const char *name, size_t len)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(queues[i]) == len && memcmp(queues[i], name, len) == 0) return true;
    return false;
}

bool value_parse_queues(const char *text, char ***out, struct err *err)
{
    char **queues = xcalloc(strlen(text) + 2, sizeof *queues); /* no list has more names */
    size_t count = 0;
    for (const char *at = text;; at++) {
        at += strspn(at, " ");
        size_t span = strcspn(at, ",");
        size_t len = span;
        while (len > 0 && at[len - 1] == ' ') len--;
        if (!is_queue_name(at, len)) {
            config_queues_free(queues);
            return err_set(err, ERR_INPUT,
                           "must be queue names separated by commas, each 1 to %d of a-z, 0-9, "
                           "_, . and -",
                           QUEUE_MAX);
        }
        if (!is_listed(queues, count, at, len)) queues[count++] = xstrndup(at, len);
        at += span;
        if (*at == '\0') break;
    }
    *out = queues;
    return true;
}
