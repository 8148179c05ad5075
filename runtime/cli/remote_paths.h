/* remote_paths.h: how the API's addresses are written. Pure. */
#pragma once
#include "base/buf.h"
#include "ledger/ledger.h"

#define REMOTE_PATH_SIZE 160
/* "/tasks/ID" and what is asked of it */
void remote_task_path(char out[REMOTE_PATH_SIZE], const struct ident *id, const char *what);
/* "&status=..." and so on; not limit and offset */
void remote_add_filter(struct buf *query, const struct task_filter *filter);
/* {"filter": {...}} */
void remote_filter_body(struct buf *json, const struct task_filter *filter);
