/* submit_options.h: the options of submit -> the body of POST /api/tasks/submit. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "cli/app.h"

extern const struct cli_option submit_options[];
/* Says on stderr what it understood of a time without a zone. parameters is taken. gives *out */
MUSTUSE bool submit_body(const struct cli_args *args, const char *name, json_t *takes_parameters,
                         json_t **out, struct err *err);
/* A TIME as people write it: what was understood is said on stderr when it was local. */
MUSTUSE bool read_time(const char *option, const char *text, int64_t *wall_us, struct err *err);
