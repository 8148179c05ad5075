/* bindings.h: the modules that tasks see, one C file each; the composition root hands this table to
 * the script floor. */
#pragma once
#include <stddef.h>

#include "script/generation.h"

extern const struct binding binding_table[];
extern const size_t binding_count;
