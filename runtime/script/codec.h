/* codec.h: exact JSON text <-> Lua value, for parameters, results, metadata. (lua-cjson loses
 * digits and turns [] into {}.)
 *
 * null inside = json.null (light userdata NULL); top-level null decodes to it too. An array that
 * came in as [] carries the array metatable and goes out as []; a table with keys 1..n is an array,
 * an empty plain table is {}; json.array(t) marks. Integers to 2^53 are exact, other numbers
 * shortest round trip. Refused when encoding, naming the path ("results[3].when"): NaN, infinity,
 * functions/userdata/threads, mixed or sparse tables, non-string keys, invalid UTF-8, NUL (\u0000),
 * depth over 64, cycles (by depth), over max bytes. */
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

void codec_open(lua_State *L); /* registers the array metatable in the registry; once per state */
/* Pushes the value, or pushes nothing and fails (position in err). Runs protected only inside a
 * pcall of the caller (memory errors). */
MUSTUSE bool codec_decode(lua_State *L, const char *json, size_t len, struct err *err);
/* Appends JSON of the value at index. max 0: no limit. ERR_DATA / ERR_TOO_LARGE with the path,
 * ERR_NOMEM.
 * Balanced. */
MUSTUSE bool codec_encode(lua_State *L, int index, size_t max, struct buf *out, struct err *err);
/* The same for a result: a number beyond 2^53 is refused too. Lua cannot tell whether it was
 * counted exactly, and jsonb shows it with digits that nobody computed. */
MUSTUSE bool codec_encode_exact(lua_State *L, int index, size_t max, struct buf *out,
                                struct err *err);
void codec_mark_array(lua_State *L, int index);
