/* form.h: application/x-www-form-urlencoded. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Each name and value, decoded; visit false: enough. false: not all of it is valid (an escape that
 * is none, a NUL, no UTF-8); then nothing more is visited. */
MUSTUSE bool form_each(const char *body, size_t len,
                       bool (*visit)(void *arg, const char *name, const char *value), void *arg);
