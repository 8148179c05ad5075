/* up_servers.h: the private Redis and Postgres of `up`, as child processes. They end when `up`
 * does, also when it is killed. */
#pragma once
#include "base/err.h"
#include "cli/up_place.h"
#include "io/proc.h"
#include "loop/loop.h"

/* Start; readiness shows when a client gets through. on_exit as in proc.h. */
MUSTUSE bool redis_server_start(const struct place *place, proc_exit_fn *on_exit, void *arg,
                                struct proc **out, struct err *err);
/* Makes the cluster first when there is none (turns the loop while initdb runs). */
MUSTUSE bool postgres_server_start(struct loop *loop, const struct place *place,
                                   proc_exit_fn *on_exit, void *arg, struct proc **out,
                                   struct err *err);
