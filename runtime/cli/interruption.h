/* interruption.h: Ctrl-C and SIGTERM for a command that runs task code in this process.
 *
 * The loop cannot hear a signal while Lua or C computes, so a thread of its own waits for it: it
 * tells the loop, and where that has not led to an end in time, or on a second signal, it clears
 * up and ends the process. */
#pragma once
#include <stdbool.h>

#include "loop/loop.h"

/* Before any other thread is started. on_first: from the loop, once. directory is removed when the
 * process is ended by force; borrowed. */
void interruption_start(struct loop *loop, const char *directory, void (*on_first)(void *arg),
                        void *arg);
/* Was there a signal? */
bool interruption_stop(void);
