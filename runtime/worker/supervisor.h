/* supervisor.h: `worker start`: forks runners, watches, reloads, reaps. No Lua: its loop always
 * turns, so it renews the heartbeats. */
#pragma once
#include <stdbool.h>

#include "config/config.h"

struct supervisor_options {
    const struct config *config; /* borrowed */
    const char *name;            /* of the worker; NULL: host name and pid */
    bool burst;                  /* run what is due, then leave */
};

/* Runs until drained; returns the exit status of the contract. Prints what happens to the log. */
int supervisor_main(const struct supervisor_options *options);
