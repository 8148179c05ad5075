/* fuzz_config.c: .env as anybody may have written it, its values as settings, and the settings
 * handed to another process. */
#include "base/clock.h"
#include "config/dotenv.h"
#include "config/entries.h"
#include "fuzz/fuzz.h"

static void check_dotenv(const struct dotenv *dotenv);
static void put_all(const struct dotenv *dotenv, struct config *config);
static void check_handed_over(const struct config *config);
static void check_uses(const struct config *config);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    struct dotenv dotenv;
    struct err err;
    if (dotenv_parse(text, &dotenv, &err)) {
        struct config *config = config_new();
        check_dotenv(&dotenv);
        put_all(&dotenv, config);
        check_handed_over(config);
        check_uses(config);
        config_free(config);
    } else {
        require_refusal_at(&err, ".env:");
    }
    dotenv_close(&dotenv);
    free(text);
    return 0;
}

/* What was read can be written down, between double quotes, and reads the same. */
static void check_dotenv(const struct dotenv *dotenv)
{
    struct buf text = BUF_EMPTY;
    struct dotenv again;
    struct err err;
    int line = 1;
    for (size_t i = 0; i < dotenv->count; i++) {
        const struct dotenv_entry *entry = &dotenv->entries[i];
        require(entry->key[0] != '\0' && entry->line >= line);
        line = entry->line;
        buf_addf(&text, "export %s=\"", entry->key);
        for (const char *c = entry->value; *c; c++)
            buf_addf(&text, strchr("\"\\$", *c) ? "\\%c" : "%c", *c);
        buf_add_text(&text, "\"\n");
    }
    require(dotenv_parse(buf_text(&text), &again, &err));
    require(again.count == dotenv->count);
    for (size_t i = 0; i < again.count; i++) {
        require(strcmp(again.entries[i].key, dotenv->entries[i].key) == 0);
        require(strcmp(again.entries[i].value, dotenv->entries[i].value) == 0);
    }
    dotenv_close(&again);
    buf_close(&text);
}

static void put_all(const struct dotenv *dotenv, struct config *config)
{
    for (int i = 0; i < SETTING_COUNT; i++) {
        const struct dotenv_entry *entry = dotenv_find(dotenv, setting_table[i].variable);
        struct err err;
        if (!entry) continue;
        if (config_put(config, (enum setting)i, entry->value, ORIGIN_DOTENV, ".env:1", &err))
            require(strcmp(config_text(config, (enum setting)i), entry->value) == 0);
        else
            require_refusal_at(&err, setting_table[i].variable);
    }
}

static void check_handed_over(const struct config *config)
{
    struct buf json = BUF_EMPTY;
    struct config *other = NULL;
    struct err err;
    config_serialize(config, &json);
    require(config_deserialize(json.data, json.len, &other, &err));
    for (int i = 0; i < SETTING_COUNT; i++) {
        enum setting which = (enum setting)i;
        require(strcmp(config_text(config, which), config_text(other, which)) == 0);
        require(config->entries[i].number == other->entries[i].number);
        require(config_origin(config, which) == config_origin(other, which));
    }
    config_free(other);
    buf_close(&json);
}

/* Checked settings are never refused later. */
static void check_uses(const struct config *config)
{
    struct redis_target target;
    struct buf shown = BUF_EMPTY;
    struct err err;
    char *conninfo = NULL, **queues = NULL;
    require(config_redis_target(config, &target, &err));
    require(target.db >= 0 && !target.unix_path + !target.host + !target.sentinels == 2);
    redis_target_close(&target);
    require(config_postgres_conninfo(config, &conninfo, &err));
    require(config_queues(config, &queues, &err) && queues[0]);
    config_print(config, &shown, true);
    config_print(config, &shown, false);
    for (int i = 0; i < SETTING_COUNT; i++) {
        if (setting_table[i].type != SETTING_DURATION) continue;
        int64_t us = config_duration_us(config, (enum setting)i), back = DURATION_NONE;
        char *text = duration_text(us);
        require(us == DURATION_NONE || duration_parse(text, &back, &err));
        require(back == us);
        free(text);
    }
    free(config_redis_shown(config));
    free(config_postgres_shown(config));
    free(conninfo);
    config_queues_free(queues);
    buf_close(&shown);
}
