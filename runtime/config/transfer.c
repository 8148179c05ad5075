/* transfer.c: a supervisor hands its settings to its runners: {"NAME": {"text": ..., "origin":
 * number, "origin_text": ...}, ...}. Both ends are the same program, yet the values are checked
 * again. */
#include <jansson.h>
#include <string.h>

#include "base/jsonw.h"
#include "config/config.h"
#include "config/entries.h"

static bool read_settings(struct config *config, json_t *root, struct err *err);

void config_serialize(const struct config *config, struct buf *out)
{
    struct jsonw w;
    jsonw_init(&w, out);
    jsonw_object(&w);
    for (int i = 0; i < SETTING_COUNT; i++) {
        const struct entry *entry = &config->entries[i];
        if (!entry->text) continue;
        jsonw_key(&w, setting_table[i].variable);
        jsonw_object(&w);
        jsonw_key_text(&w, "text", entry->text);
        jsonw_key_int(&w, "origin", entry->origin);
        jsonw_key_text(&w, "origin_text", entry->origin_text);
        jsonw_object_end(&w);
    }
    jsonw_object_end(&w);
}

bool config_deserialize(const char *json, size_t len, struct config **out, struct err *err)
{
    json_t *root = json_loadb(json, len, 0, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        return err_set(err, ERR_INPUT, "the settings handed over are not a JSON object");
    }
    struct config *config = config_new();
    bool good = read_settings(config, root, err);
    json_decref(root);
    if (good)
        *out = config;
    else
        config_free(config);
    return good;
}

static bool read_settings(struct config *config, json_t *root, struct err *err)
{
    for (int i = 0; i < SETTING_COUNT; i++) {
        json_t *item = json_object_get(root, setting_table[i].variable);
        if (!item) continue;
        const char *text = json_string_value(json_object_get(item, "text"));
        const char *origin_text = json_string_value(json_object_get(item, "origin_text"));
        json_int_t origin = json_integer_value(json_object_get(item, "origin"));
        if (!text || !origin_text || origin < ORIGIN_DEFAULT || origin > ORIGIN_FLAG)
            return err_set(err, ERR_INPUT, "the setting %s was handed over without text or origin",
                           setting_table[i].variable);
        if (!config_put(config, (enum setting)i, text, (enum setting_origin)origin, origin_text,
                        err))
            return false;
    }
    return true;
}
