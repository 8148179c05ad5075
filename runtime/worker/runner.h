/* runner.h: the process that runs tasks: one loop, one Lua, up to `slots` coroutines. Started by
 * the supervisor, never by a person. */
#pragma once
#include <stddef.h>

#include "script/generation.h"

/* Descriptors that the supervisor hands over. */
#define RUNNER_CHANNEL_FD 3
#define RUNNER_SHARED_FD  4
#define RUNNER_FAULTS_FD  5 /* only when faults are armed */

#define RUNNER_TURN_US 1000000 /* so often its loop notes that it turns */

enum runner_exit {
    RUNNER_DRAINED = 0,
    RUNNER_FAILED = 1,
    RUNNER_FENCED = 75,
    RUNNER_STUCK = 76,
    RUNNER_FULL = 77
};

/* The whole life of the process; returns its exit status. */
int runner_main(const struct binding *bindings, size_t binding_count);
