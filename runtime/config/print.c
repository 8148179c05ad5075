/* print.c: `help config`. A URL is shown with its password masked, a bare secret only as being set.
 */
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "config/config.h"
#include "config/postgres_url.h"
#include "config/redis_url.h"

static void print_text(const struct config *config, enum setting which, struct buf *out);
static void print_json(const struct config *config, enum setting which, struct jsonw *w);
static char *shown_value(const struct config *config, enum setting which);

void config_print(const struct config *config, struct buf *out, bool json)
{
    struct jsonw w;
    jsonw_init(&w, out);
    if (json) jsonw_array(&w);
    for (int i = 0; i < SETTING_COUNT; i++) {
        if (json)
            print_json(config, (enum setting)i, &w);
        else
            print_text(config, (enum setting)i, out);
    }
    if (json) jsonw_array_end(&w);
}

static void print_text(const struct config *config, enum setting which, struct buf *out)
{
    const struct setting_info *info = &setting_table[which];
    char *value = shown_value(config, which);
    buf_addf(out, "%s", info->variable);
    if (info->secret) buf_addf(out, ", %s_FILE", info->variable);
    if (info->flag) buf_addf(out, ", --%s", info->flag);
    if (info->older) buf_addf(out, " (older: %s)", info->older);
    buf_addf(out, "\n    %s", info->help);
    if (info->choices) buf_addf(out, ": %s", info->choices);
    buf_addf(out, "\n    default %s; now %s", info->default_text ? info->default_text : "none",
             value ? value : "none");
    if (value) buf_addf(out, " (from %s)", config_origin_text(config, which));
    buf_add_text(out, "\n\n");
    free(value);
}

static void print_json(const struct config *config, enum setting which, struct jsonw *w)
{
    const struct setting_info *info = &setting_table[which];
    char *value = shown_value(config, which);
    char *file_variable = info->secret ? xasprintf("%s_FILE", info->variable) : NULL;
    jsonw_object(w);
    jsonw_key_text(w, "variable", info->variable);
    jsonw_key_text(w, "file_variable", file_variable);
    jsonw_key_text(w, "flag", info->flag);
    jsonw_key_text(w, "help", info->help);
    jsonw_key_text(w, "choices", info->choices);
    jsonw_key_text(w, "default", info->default_text);
    jsonw_key_text(w, "value", value);
    jsonw_key_text(w, "origin", config_origin_text(config, which));
    jsonw_object_end(w);
    free(file_variable);
    free(value);
}

static char *masked_redis_url(const char *url)
{
    struct redis_target target;
    if (!redis_url_parse(url, &target, NULL)) return xstrdup("***");
    if (target.db < 0) target.db = 0;
    char *masked = redis_url_masked(&target);
    redis_target_close(&target);
    return masked;
}

static char *masked_postgres_url(const char *url)
{
    char *masked = NULL;
    return postgres_url_convert(url, NULL, POSTGRES_URL_MASKED, &masked, NULL) ? masked
                                                                               : xstrdup("***");
}

/* NULL: unset. gives */
static char *shown_value(const struct config *config, enum setting which)
{
    const char *text = config_text(config, which);
    if (!*text) return NULL;
    if (which == SET_REDIS_URL) return masked_redis_url(text);
    if (which == SET_DATABASE_URL) return masked_postgres_url(text);
    return xstrdup(setting_table[which].secret ? "***" : text);
}
