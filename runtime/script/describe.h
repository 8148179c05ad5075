/* describe.h: any Lua value that was raised, as a message for people: valid UTF-8 without NUL, at
 * most 8 KiB. Loop thread only. */
#pragma once
#include <lua.h>
#include <stdbool.h>

#include "base/buf.h"

#define MESSAGE_MAX   8192
#define TRACEBACK_MAX 32768
#define DETAILS_MAX   65536

/* Inside a protected call: may run a __tostring of the task. Balanced. */
void describe_value(lua_State *L, int index, struct buf *out);
/* The value on top of the main thread (popped), outside any protected call and slice; __tostring
 * gets a second. Never raises. */
void describe_guarded(lua_State *L, struct buf *out);
/* The stack of `of`, cleaned and cut; level as in luaL_traceback. Inside a protected call. */
void describe_traceback(lua_State *L, lua_State *of, int level, struct buf *out);
