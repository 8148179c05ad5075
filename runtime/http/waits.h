/* waits.h: who waits for which task to become final. */
#pragma once
#include "http/api.h"

struct waits; /* opaque */
struct waits *waits_new(struct api *api);
/* The server leaves: everybody is answered with what is known now. */
void waits_end(struct waits *waits);
void waits_free(struct waits *waits); /* nobody may wait any more */
/* A line of BROKER_EVENTS. */
void waits_event(struct waits *waits, const char *line, size_t len);
/* Announcements may have been lost: looks itself. */
void waits_look(struct waits *waits);
