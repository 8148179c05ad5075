/* entry.c: see entry.h. */
#include "cli/entry.h"

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
    ledger_catalogue_list(app->ledger, NULL, await_json, &await);
    if (!await_run(&app->loop, &await, NULL)) buf_clear(&await.json);
    json_t *list = params_load(buf_text(&await.json), await.json.len);
    catalogue_explain_unknown(name, list, err);
    json_decref(list);
    await_close(&await);
    return false;
}
