/* serve.h: `serve`: the REST API in the foreground. No Lua. A keeper lives here too, so that a
 * machine without workers still accepts, dispatches and looks after tasks. */
#pragma once
#include "config/config.h"

/* Runs until it is told to leave; returns the exit status of the contract. */
int serve_main(const struct config *config);
