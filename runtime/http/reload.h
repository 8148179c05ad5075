/* reload.h: who waits for workers to have loaded their files anew. */
#pragma once
#include "http/api.h"

struct reloads; /* opaque */
struct reloads *reloads_new(struct api *api);
void reloads_end(struct reloads *reloads);  /* everybody is answered with what is known now */
void reloads_free(struct reloads *reloads); /* nobody may wait any more */
void reloads_news(struct reloads *reloads); /* NOTIFY: an answer may have been written */
