/* error_json.h: what went wrong, as every door says it to programs. */
#pragma once
#include "base/buf.h"
#include "task/params.h"

/* {"detail","code"[,"errors":[{"field","message"}]]}; errors only when there are fields. */
void error_json(struct buf *out, const char *detail, const char *code,
                const struct params_error *fields, size_t count);
