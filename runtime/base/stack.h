/* stack.h: the stack of the main thread. Lua that recurses through C functions (string.gsub in its
 * own callback) needs more of it than the usual 8 MiB before Lua's own limit is reached, and
 * without it the process dies. The kernel lets the stack grow to the soft limit of the moment. */
#pragma once

void stack_raise(void); /* once, in a process that runs Lua; as far as the hard limit goes */
/* In a forked child before exec: back to what we were started with, which is also the size of the
 * stacks of its threads. Async-signal-safe. */
void stack_restore(void);
