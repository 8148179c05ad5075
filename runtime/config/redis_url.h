/* redis_url.h: REDIS_URL taken apart. */
#pragma once
#include "config/config.h"

/* Fills owned strings; db -1 where the URL names none. The error never repeats a part of the URL.
 */
MUSTUSE bool redis_url_parse(const char *url, struct redis_target *out, struct err *err);
/* The URL of a target with the password as ***. gives */
char *redis_url_masked(const struct redis_target *target);
