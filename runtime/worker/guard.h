/* guard.h: a thread of the runner that outlives its loop: when the supervisor is gone, or has not
 * ticked for two thirds of the lease, or this process itself was stopped for the lease, everything
 * this process started is killed and the process exits, also while Lua or a C function holds the
 * loop. */
#pragma once
#include <stdint.h>
#include <sys/types.h>

#include "worker/shared.h"

void guard_start(struct shared *shared, pid_t supervisor, int64_t lease_us);
/* Kills all below this process and exits with RUNNER_FENCED. Any thread. */
_Noreturn void guard_fence(const char *why);
