/* entry.c: see entry.h. */
#include "cli/entry.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/member.h"
#include "cli/source.h"

static bool find_type(struct app *app, const char *name, struct catalogue_entry **out,
                      struct err *err);

bool entry_find(struct app *app, const char *name, struct catalogue_entry **out, struct err *err)
{
    struct await await = { 0 };
    if (!task_name_is_valid(name)) return entry_explain_unknown(app, name, err);
    if (app->remote) return find_type(app, name, out, err);
    ledger_catalogue_find(app->ledger, name, await_json, &await);
    bool good = await_run(&app->loop, &await, err);
    if (good && !await.json.len) good = entry_explain_unknown(app, name, err);
    good = good && catalogue_entry_parse(buf_text(&await.json), await.json.len, out, err);
    await_close(&await);
    return good;
}

/* What an API tells of it is enough to read its parameters; the rest is the server's to know. */
static bool find_type(struct app *app, const char *name, struct catalogue_entry **out,
                      struct err *err)
{
    struct await await = { 0 };
    source_types(app, name, await_json, &await);
    bool good = await_run(&app->loop, &await, err);
    json_t *all = params_load(buf_text(&await.json), await.json.len);
    const json_t *schema = json_object_get(json_array_get(all, 0), "parameters");
    char *text = json_dumps(schema, JSON_COMPACT);
    if (good && !text) good = entry_explain_unknown(app, name, err);
    if (good) {
        struct catalogue_entry *entry = xcalloc(1, sizeof *entry);
        entry->name = xstrdup(name);
        good = params_schema_compile(text, strlen(text), &entry->schema, err);
        if (good)
            *out = entry;
        else
            catalogue_entry_free(entry);
    }
    free(text);
    json_decref(all);
    await_close(&await);
    return good;
}

bool entry_explain_unknown(struct app *app, const char *name, struct err *err)
{
    struct await await = { 0 };
    source_types(app, NULL, await_json, &await);
    if (!await_run(&app->loop, &await, NULL)) buf_clear(&await.json);
    json_t *list = params_load(buf_text(&await.json), await.json.len);
    catalogue_explain_unknown(name, list, err);
    json_decref(list);
    await_close(&await);
    return false;
}
