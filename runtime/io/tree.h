/* tree.h: removing directory trees. Blocking; links are removed, never followed. Any thread. */
#pragma once
#include <stdbool.h>

#include "base/err.h"

/* Removes path and all below it, also where a directory forbids writing. An absent path is success.
 */
MUSTUSE bool tree_remove_all(const char *path, struct err *err);
