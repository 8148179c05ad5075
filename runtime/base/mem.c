/* mem.c: running out of memory is no state the program could go on in, so these say so and end the
 * process with the status of ERR_NOMEM. To the protocol that is a death like any other; there is no
 * bug that a core would show. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"

static void *check(void *memory);

void *xmalloc(size_t size) { return check(malloc(size ? size : 1)); }

void *xcalloc(size_t count, size_t size)
{
    return check(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *old, size_t size) { return check(realloc(old, size ? size : 1)); }

char *xstrdup(const char *text) { return check(strdup(text)); }

char *xstrndup(const char *text, size_t len) { return check(strndup(text, len)); }

char *xasprintf(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    return check(len < 0 ? NULL : text);
}

static void *check(void *memory)
{
    if (!memory || (fault_is_armed && fault_allocation_fails())) {
        static const char message[] = "ctutor-run: out of memory\n";
        (void)!write(STDERR_FILENO, message, sizeof message - 1);
        _exit(EXIT_FAILURE);
    }
    return memory;
}
