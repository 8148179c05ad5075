/* slice.h: the text of one member of a JSON object, untouched: numbers keep the spelling that the
 * ledger gave them. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Points into json. NULL: no such member (or not an object). json is well formed. */
const char *slice_member(const char *json, size_t len, const char *key, size_t *slice_len);
/* Is the member this text (without escapes)? */
bool slice_is(const char *json, size_t len, const char *key, const char *text);
