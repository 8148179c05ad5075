/* entry.c: see entry.h. */
#include "cli/entry.h"

#include <jansson.h>

#include "task/suggest.h"

bool entry_find(struct app *app, const char *name, struct catalogue_entry **out, struct err *err)
{
    struct await await = { 0 };
    if (!task_name_is_valid(name)) return entry_explain_unknown(app, name, err);
    ledger_catalogue_find(app->ledger, name, await_json, &await);
    bool good = await_run(&app->loop, &await, err);
    if (good && !await.json.len) good = entry_explain_unknown(app, name, err);
    good = good && catalogue_entry_parse(buf_text(&await.json), await.json.len, out, err);
    await_close(&await);
    return good;
}

bool entry_explain_unknown(struct app *app, const char *name, struct err *err)
{
    struct await await = { 0 };
    struct suggestion near = { .word = name };
    ledger_catalogue_list(app->ledger, NULL, await_json, &await);
    if (!await_run(&app->loop, &await, NULL)) buf_clear(&await.json);
    json_t *all = params_load(buf_text(&await.json), await.json.len);
    size_t index;
    json_t *item;
    json_array_foreach(all, index, item)
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
    json_decref(all);
    await_close(&await);
    return false;
}
