/* served.h: which queues living workers take from, as it was a moment ago: for warnings. */
#pragma once
#include <stdbool.h>

#include "ledger/ledger.h"
#include "loop/loop.h"

struct served; /* opaque */
struct served *served_new(struct ledger *ledger);
void served_free(struct served *served); /* nothing may be asked any more */
/* true also while it is not known. Asks anew when what it knows is older than a second. */
bool served_has(struct served *served, const char *queue);
