/* catalogue.c: a task's entry as the ledger keeps it -> what the doors check against. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "lifecycle/door.h"
#include "task/params.h"
#include "task/suggest.h"

static void parse_retry(const json_t *json, struct retry_policy *retry);

bool catalogue_entry_parse(const char *json, size_t len, struct catalogue_entry **out,
                           struct err *err)
{
    json_t *root = params_load(json, len);
    const json_t *schema = json_object_get(root, "schema");
    const char *name = json_string_value(json_object_get(root, "name"));
    struct catalogue_entry *entry = xcalloc(1, sizeof *entry);
    char *schema_text = schema ? json_dumps(schema, JSON_COMPACT) : NULL;
    bool good = name && schema_text;
    if (!good) {
        err_set(err, ERR_INTERNAL, "a catalogue entry cannot be read: %.200s", json);
    } else if (!params_schema_compile(schema_text, strlen(schema_text), &entry->schema, err)) {
        good = err_wrap(err, "params of %s", name);
    } else {
        const char *queue = json_string_value(json_object_get(root, "queue"));
        const char *hash = json_string_value(json_object_get(root, "schema_hash"));
        const json_t *tags = json_object_get(root, "tags");
        entry->name = xstrdup(name);
        entry->queue = queue ? xstrdup(queue) : NULL;
        entry->priority = (int32_t)json_integer_value(json_object_get(root, "priority"));
        entry->timeout_us = json_integer_value(json_object_get(root, "timeout_us"));
        entry->max_losses = (int32_t)json_integer_value(json_object_get(root, "max_losses"));
        entry->schema_hash = xstrdup(hash ? hash : "");
        entry->tags = json_array_size(tags) ? json_dumps(tags, JSON_COMPACT) : NULL;
        parse_retry(json_object_get(root, "retry"), &entry->retry);
    }
    free(schema_text);
    json_decref(root);
    if (!good) {
        catalogue_entry_free(entry);
        return false;
    }
    *out = entry;
    return true;
}

static void parse_retry(const json_t *json, struct retry_policy *retry)
{
    const char *backoff = json_string_value(json_object_get(json, "backoff"));
    *retry = RETRY_NONE;
    retry->max = (int32_t)json_integer_value(json_object_get(json, "max"));
    if (backoff && strcmp(backoff, "linear") == 0) retry->backoff = BACKOFF_LINEAR;
    if (backoff && strcmp(backoff, "fixed") == 0) retry->backoff = BACKOFF_FIXED;
    retry->base_us = json_integer_value(json_object_get(json, "base_us"));
    retry->cap_us = json_integer_value(json_object_get(json, "cap_us"));
    retry->jitter = json_is_true(json_object_get(json, "jitter"));
}

void catalogue_entry_free(struct catalogue_entry *entry)
{
    if (!entry) return;
    params_schema_free(entry->schema);
    free(entry->name);
    free(entry->queue);
    free(entry->tags);
    free(entry->schema_hash);
    free(entry);
}

bool catalogue_explain_unknown(const char *name, const json_t *list, struct err *err)
{
    struct suggestion near = { .word = name };
    json_t *item;
    size_t index;
    json_array_foreach(list, index, item)
    {
        const char *known = json_string_value(json_object_get(item, "name"));
        if (known && json_is_object(json_object_get(item, "parameters")))
            suggest_consider(&near, known);
    }
    if (near.nearest)
        err_set(err, ERR_NOT_FOUND, "there is no task '%.130s': did you mean %s?", name,
                near.nearest);
    else
        err_set(err, ERR_NOT_FOUND, "there is no task '%.130s': see ctutor-run tasks", name);
    return false;
}
