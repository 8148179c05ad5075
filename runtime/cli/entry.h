/* entry.h: a task's entry of the catalogue, by name. */
#pragma once
#include "cli/app.h"
#include "lifecycle/door.h"

/* gives *out: with an API only name and schema. false: ERR_NOT_FOUND with what was meant perhaps;
 * ERR_STORE. */
MUSTUSE bool entry_find(struct app *app, const char *name, struct catalogue_entry **out,
                        struct err *err);
/* Fills err with ERR_NOT_FOUND and the nearest name. Always false. */
bool entry_explain_unknown(struct app *app, const char *name, struct err *err);
