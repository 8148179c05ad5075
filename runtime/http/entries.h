/* entries.h: the catalogue's entries, parsed and kept until the ledger says that one has changed.
 */
#pragma once
#include "ledger/ledger.h"
#include "lifecycle/door.h"

struct entries; /* opaque */

/* entry is borrowed for the call; err ERR_NOT_FOUND (with what was meant perhaps) or ERR_STORE. */
typedef void entry_fn(void *arg, const struct catalogue_entry *entry, const struct err *err);

struct entries *entries_new(struct ledger *ledger);
void entries_free(struct entries *entries); /* nothing may be asked any more */
/* done at once when the answer is known, else later. */
void entries_find(struct entries *entries, const char *name, entry_fn *done, void *arg);
void entries_forget(struct entries *entries); /* it may have changed, or news of that may be lost */
