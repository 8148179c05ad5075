/* submit_bulk.h: `submit --bulk`: one object of POST /api/tasks/submit a line, any number of them,
 * in bounded memory. */
#pragma once
#include "cli/app.h"

int submit_bulk(struct app *app, const struct cli_args *args);
