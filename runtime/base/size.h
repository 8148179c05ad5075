/* size.h: a number of bytes as people write it: digits, perhaps K, M or G. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* false: not of that form, or not from min to max (*bytes is 0 then). */
MUSTUSE bool size_parse(const char *text, int64_t min, int64_t max, int64_t *bytes);
