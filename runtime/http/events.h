/* events.h: what happens to all tasks: GET /api/events; and the one place where news of tasks come
 * in, from Redis or the ledger, and go to all who wait or follow. */
#pragma once
#include "http/api.h"

struct events; /* opaque */
struct events *events_new(struct api *api);
void events_stop(struct events *events); /* before the ledger goes */
void events_free(struct events *events); /* no client is left */
/* A line of BROKER_EVENTS; "": some may be lost. */
void events_line(struct events *events, const char *line, size_t len);
/* Something changed that nobody announced: the ledger is looked at. */
void events_changed(struct events *events);
