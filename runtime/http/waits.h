/* waits.h: who waits for which task to become final. */
#pragma once
#include "http/announced.h"
#include "http/api.h"

struct waits; /* opaque */
struct waits *waits_new(struct api *api);
/* The server leaves: everybody is answered with what is known now. */
void waits_end(struct waits *waits);
void waits_stop(struct waits *waits); /* before the ledger goes */
void waits_free(struct waits *waits); /* nobody may wait any more */
void waits_event(struct waits *waits, const struct announced *announced);
/* Announcements may have been lost: looks itself. */
void waits_look(struct waits *waits);
