/* config.c: where values come from.
 *
 * Sources are read from the weakest on only where a stronger one is silent. The two groups of store
 * settings stay whole: one real variable of a group switches off all of that group in `.env`, and
 * the servers of .ctutor/run.json count only for a group about which nothing else was said. An
 * address of the API and its token count only together from one source: a token must not go to a
 * server that somebody else named. An empty variable is an unset one. */
#include "config/config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/ctutor_dir.h"
#include "config/dotenv.h"
#include "config/entries.h"
#include "config/file.h"
#include "config/value.h"

enum group { GROUP_REDIS, GROUP_POSTGRES, GROUP_API, GROUP_NONE, GROUP_COUNT };

static enum group group_of(enum setting which);
static void find_groups(const struct config *config, bool is_set[GROUP_COUNT]);
static void drop_half_of_api(struct config *config);
static bool put_variable(struct config *config, enum setting which, const char *name,
                         struct err *err);
static bool load_environment(struct config *config, struct err *err);
static bool load_dotenv(struct config *config, struct err *err);
static bool load_ctutor_dir(struct config *config, struct err *err);

bool config_load(struct config **out, struct err *err)
{
    struct config *config = config_new();
    if (!load_environment(config, err) || !load_dotenv(config, err) ||
        !load_ctutor_dir(config, err)) {
        config_free(config);
        return false;
    }
    *out = config;
    return true;
}

struct config *config_new(void)
{
    struct config *config = xcalloc(1, sizeof *config);
    for (int i = 0; i < SETTING_COUNT; i++) {
        const char *text = setting_table[i].default_text;
        config->entries[i].origin_text = xstrdup("default");
        bool good =
            !text || config_put(config, (enum setting)i, text, ORIGIN_DEFAULT, "default", NULL);
        assert(good);
        (void)good;
    }
    return config;
}

void config_free(struct config *config)
{
    if (!config) return;
    for (int i = 0; i < SETTING_COUNT; i++) {
        free(config->entries[i].text);
        free(config->entries[i].origin_text);
    }
    free(config);
}

bool config_set_flag(struct config *config, enum setting which, const char *text, struct err *err)
{
    const char *flag = setting_table[which].flag;
    char *origin = flag ? xasprintf("--%s", flag) : xstrdup("command line");
    bool good = config_put(config, which, text, ORIGIN_FLAG, origin, err);
    free(origin);
    return good;
}

bool config_put(struct config *config, enum setting which, const char *text,
                enum setting_origin origin, const char *origin_text, struct err *err)
{
    const struct setting_info *info = &setting_table[which];
    struct entry *entry = &config->entries[which];
    int64_t number;
    if (!value_parse(which, text, &number, err))
        return info->secret || which == SET_API_URL
                   ? err_wrap(err, "%s (from %s)", info->variable, origin_text)
                   : err_wrap(err, "%s (from %s) is '%.100s'", info->variable, origin_text, text);
    char *copy = xstrdup(text);
    char *origin_copy = xstrdup(origin_text);
    free(entry->text);
    free(entry->origin_text);
    *entry = (struct entry){ copy, origin_copy, origin, number };
    return true;
}

const char *config_text(const struct config *config, enum setting which)
{
    const char *text = config->entries[which].text;
    return text ? text : "";
}

int64_t config_int(const struct config *config, enum setting which)
{
    assert(setting_table[which].type == SETTING_INT || setting_table[which].type == SETTING_SIZE);
    return config->entries[which].number;
}

int64_t config_duration_us(const struct config *config, enum setting which)
{
    assert(setting_table[which].type == SETTING_DURATION);
    return config->entries[which].number;
}

enum setting_origin config_origin(const struct config *config, enum setting which)
{
    return config->entries[which].origin;
}

const char *config_origin_text(const struct config *config, enum setting which)
{
    return config->entries[which].origin_text;
}

bool config_wants_api(const struct config *config)
{
    return config->entries[SET_API_URL].text && config->entries[SET_TOKEN].text;
}

bool config_queues(const struct config *config, char ***out, struct err *err)
{
    return value_parse_queues(config_text(config, SET_QUEUES), out, err);
}

void config_queues_free(char **queues)
{
    for (char **queue = queues; queue && *queue; queue++) free(*queue);
    free(queues);
}

/* A value given as NAME or, for secrets, as the file that NAME_FILE names; either may be NULL. The
 * origin of NAME itself is given. */
static bool put_plain_or_file(struct config *config, enum setting which, const char *variable,
                              const char *plain, const char *file, enum setting_origin origin,
                              const char *origin_text, struct err *err)
{
    if (plain && !*plain) plain = NULL;
    if (file && !*file) file = NULL;
    if (plain && file)
        return err_set(err, ERR_INPUT, "%s and %s_FILE are both set: keep one", variable, variable);
    if (plain) return config_put(config, which, plain, origin, origin_text, err);
    if (!file) return true;
    char *secret = NULL;
    if (!file_read_secret(file, &secret, err)) return err_wrap(err, "%s_FILE", variable);
    char *place = xasprintf("file %s", file);
    bool good = config_put(config, which, secret, ORIGIN_FILE, place, err);
    free(place);
    free(secret);
    return good;
}

static void drop_half_of_api(struct config *config)
{
    static const enum setting both[] = { SET_API_URL, SET_TOKEN };
    if (config_wants_api(config)) return;
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        struct entry *entry = &config->entries[both[i]];
        free(entry->text);
        free(entry->origin_text);
        *entry = (struct entry){ .origin_text = xstrdup("default") };
    }
}

static bool load_environment(struct config *config, struct err *err)
{
    for (int i = 0; i < SETTING_COUNT; i++) {
        const struct setting_info *info = &setting_table[i];
        if (info->older && !put_variable(config, (enum setting)i, info->older, err)) return false;
        if (!put_variable(config, (enum setting)i, info->variable, err)) return false;
    }
    drop_half_of_api(config);
    return true;
}

static bool put_variable(struct config *config, enum setting which, const char *name,
                         struct err *err)
{
    char *file_name = xasprintf("%s_FILE", name);
    const char *file = setting_table[which].secret ? getenv(file_name) : NULL;
    free(file_name);
    return put_plain_or_file(config, which, name, getenv(name), file, ORIGIN_ENV, "environment",
                             err);
}

static bool put_dotenv(struct config *config, enum setting which, const char *name,
                       const struct dotenv *dotenv, struct err *err)
{
    char *file_name = xasprintf("%s_FILE", name);
    const struct dotenv_entry *plain = dotenv_find(dotenv, name);
    const struct dotenv_entry *file =
        setting_table[which].secret ? dotenv_find(dotenv, file_name) : NULL;
    free(file_name);
    char *origin = xasprintf(".env:%d", plain ? plain->line : 0);
    bool good = put_plain_or_file(config, which, name, plain ? plain->value : NULL,
                                  file ? file->value : NULL, ORIGIN_DOTENV, origin, err);
    free(origin);
    return good;
}

static bool load_dotenv(struct config *config, struct err *err)
{
    bool is_set[GROUP_COUNT];
    find_groups(config, is_set);
    struct dotenv dotenv;
    if (!dotenv_read(".env", &dotenv, err)) return false;
    bool good = true;
    for (int i = 0; good && i < SETTING_COUNT; i++) {
        enum setting which = (enum setting)i;
        if (config->entries[i].origin != ORIGIN_DEFAULT || is_set[group_of(which)]) continue;
        const struct setting_info *info = &setting_table[i];
        good = (!info->older || put_dotenv(config, which, info->older, &dotenv, err)) &&
               put_dotenv(config, which, info->variable, &dotenv, err);
    }
    dotenv_close(&dotenv);
    drop_half_of_api(config);
    return good;
}

static bool put_store(struct config *config, enum setting which, const char *text, const char *path,
                      struct err *err)
{
    return !text || !*text || config_put(config, which, text, ORIGIN_CTUTOR_DIR, path, err);
}

static bool load_ctutor_dir(struct config *config, struct err *err)
{
    bool is_set[GROUP_COUNT];
    find_groups(config, is_set);
    if (is_set[GROUP_REDIS] && is_set[GROUP_POSTGRES]) return true;
    struct ctutor_stores stores;
    if (!ctutor_dir_read(&stores, err)) return false;
    bool good = true;
    if (!is_set[GROUP_REDIS])
        good = put_store(config, SET_REDIS_URL, stores.redis, stores.path, err) &&
               put_store(config, SET_REDIS_PASSWORD, stores.redis_password, stores.path, err);
    if (good && !is_set[GROUP_POSTGRES])
        good = put_store(config, SET_DATABASE_URL, stores.postgres, stores.path, err) &&
               put_store(config, SET_POSTGRES_PASSWORD, stores.postgres_password, stores.path, err);
    ctutor_stores_close(&stores);
    return good;
}

static enum group group_of(enum setting which)
{
    if (which <= SET_REDIS_DB) return GROUP_REDIS;
    if (which <= SET_POSTGRES_DB) return GROUP_POSTGRES;
    return which <= SET_TOKEN ? GROUP_API : GROUP_NONE;
}

/* GROUP_NONE is no group and never set. */
static void find_groups(const struct config *config, bool is_set[GROUP_COUNT])
{
    memset(is_set, 0, GROUP_COUNT * sizeof *is_set);
    for (int i = 0; i < SETTING_COUNT; i++)
        if (config->entries[i].origin != ORIGIN_DEFAULT) is_set[group_of((enum setting)i)] = true;
    is_set[GROUP_NONE] = false;
}
