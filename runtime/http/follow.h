/* follow.h: who follows which task: GET /api/tasks/{id}/events and /logs?follow=true. */
#pragma once
#include "http/announced.h"
#include "http/api.h"

struct follows; /* opaque */
struct follows *follows_new(struct api *api);
void follows_stop(struct follows *follows); /* before the ledger goes */
void follows_free(struct follows *follows); /* nobody may follow any more */
/* Only log lines, behind after_seq. */
void follow_logs(struct exchange *exchange, int64_t after_seq);
void follows_event(struct follows *follows, const struct announced *announced);
/* Announcements may have been lost. */
void follows_lost(struct follows *follows);
