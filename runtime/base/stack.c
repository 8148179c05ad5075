/* stack.c: see stack.h. */
#include "base/stack.h"

#include <stdbool.h>
#include <sys/resource.h>

/* Lua's own stack ends at 65,500 slots; some 6,000 calls of gsub lie in it, 8.5 KiB each. */
#define STACK_BYTES ((rlim_t)64 << 20)

static struct {
    struct rlimit before;
    bool is_raised;
} stack;

void stack_raise(void)
{
    struct rlimit limit;
    if (stack.is_raised || getrlimit(RLIMIT_STACK, &limit) != 0) return;
    stack.before = limit;
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= STACK_BYTES) return;
    limit.rlim_cur = limit.rlim_max < STACK_BYTES ? limit.rlim_max : STACK_BYTES;
    stack.is_raised = setrlimit(RLIMIT_STACK, &limit) == 0;
}

void stack_restore(void)
{
    if (stack.is_raised) setrlimit(RLIMIT_STACK, &stack.before);
}
