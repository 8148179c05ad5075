/* stores.c: where Redis and Postgres are. A URL wins over the single settings; only what it leaves
 * out is taken from them. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/config.h"
#include "config/postgres_url.h"
#include "config/redis_url.h"

static bool convert_postgres(const struct config *config, enum postgres_url_form form, char **out,
                             struct err *err);
static char *join_postgres_group(const struct config *config);

bool config_redis_target(const struct config *config, struct redis_target *out, struct err *err)
{
    const char *url = config_text(config, SET_REDIS_URL);
    const char *password = config_text(config, SET_REDIS_PASSWORD);
    *out = (struct redis_target){ .db = -1 };
    if (*url) {
        if (!redis_url_parse(url, out, err)) return err_wrap(err, "REDIS_URL");
    } else {
        const char *host = config_text(config, SET_REDIS_HOST);
        *(*host == '/' ? &out->unix_path : &out->host) = xstrdup(host);
        out->port = (int)config_int(config, SET_REDIS_PORT);
    }
    if (!out->password && *password) out->password = xstrdup(password);
    if (out->db < 0) out->db = (int)config_int(config, SET_REDIS_DB);
    return true;
}

void redis_target_close(struct redis_target *target)
{
    free(target->unix_path);
    free(target->host);
    free(target->password);
    free(target->user);
    free(target->sentinels);
    free(target->master_name);
    *target = (struct redis_target){ 0 };
}

bool config_postgres_conninfo(const struct config *config, char **out, struct err *err)
{
    return convert_postgres(config, POSTGRES_URL_FULL, out, err);
}

char *config_redis_shown(const struct config *config)
{
    struct redis_target target;
    struct err err;
    if (!config_redis_target(config, &target, &err)) return xstrdup(err.text);
    char *shown;
    if (target.unix_path)
        shown = xasprintf("unix:%s", target.unix_path);
    else if (target.sentinels)
        shown = xasprintf("%s of the sentinels %s", target.master_name, target.sentinels);
    else
        shown = xasprintf(strchr(target.host, ':') ? "[%s]:%d" : "%s:%d", target.host, target.port);
    redis_target_close(&target);
    return shown;
}

char *config_postgres_shown(const struct config *config)
{
    char *shown = NULL;
    struct err err;
    return convert_postgres(config, POSTGRES_URL_PLACE, &shown, &err) ? shown : xstrdup(err.text);
}

static bool convert_postgres(const struct config *config, enum postgres_url_form form, char **out,
                             struct err *err)
{
    const char *url = config_text(config, SET_DATABASE_URL);
    char *joined = *url ? NULL : join_postgres_group(config);
    bool good = postgres_url_convert(joined ? joined : url,
                                     config_text(config, SET_POSTGRES_PASSWORD), form, out, err);
    free(joined);
    return good || err_wrap(err, "%s", *url ? "DATABASE_URL" : "POSTGRES_*");
}

static char *join_postgres_group(const struct config *config)
{
    static const struct {
        const char *keyword;
        enum setting which;
    } parts[] = { { "host", SET_POSTGRES_HOST },
                  { "port", SET_POSTGRES_PORT },
                  { "user", SET_POSTGRES_USER },
                  { "dbname", SET_POSTGRES_DB } };
    struct buf conninfo = BUF_EMPTY;
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        postgres_url_add(&conninfo, parts[i].keyword, config_text(config, parts[i].which));
    return buf_take(&conninfo);
}
