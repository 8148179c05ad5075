/* cjson.c: `require "cjson"`: lua-cjson as its users know it, with settings that are safe and
 * cannot be changed.
 *
 * The settings belong to the Lua state, which many tasks share, so one task must not change what
 * another's JSON looks like: a setter raises and names cjson.new(), which gives a task an instance
 * of its own. */
#include <lauxlib.h>

#include "base/mem.h"
#include "bindings/bind.h"

int luaopen_cjson(lua_State *L); /* the installed header is C without a prototype for LuaJIT */

static void set_option(lua_State *L, const char *setter, int argument_count);
static int bind_cjson_refuse(lua_State *L);

int bind_cjson_open(lua_State *L)
{
    static const char *const setters[] = {
        "encode_sparse_array",     "encode_max_depth",   "decode_max_depth",
        "encode_number_precision", "encode_keep_buffer", "encode_invalid_numbers",
        "decode_invalid_numbers",
    };
    luaopen_cjson(L); /* stack: module */
    lua_pushinteger(L, 14);
    set_option(L, "encode_number_precision", 1);
    lua_pushboolean(L, false);
    set_option(L, "decode_invalid_numbers", 1);
    lua_pushboolean(L, false);
    set_option(L, "encode_keep_buffer", 1);
    lua_pushboolean(L, true);
    lua_pushinteger(L, 2);
    lua_pushinteger(L, 10);
    set_option(L, "encode_sparse_array", 3);
    for (size_t i = 0; i < COUNT_OF(setters); i++) {
        lua_pushstring(L, setters[i]);
        lua_pushcclosure(L, bind_cjson_refuse, 1);
        lua_setfield(L, -2, setters[i]);
    }
    return 1;
}

/* Takes the arguments off the stack; the module lies below them. */
static void set_option(lua_State *L, const char *setter, int argument_count)
{
    lua_getfield(L, -1 - argument_count, setter);
    lua_insert(L, -1 - argument_count);
    lua_call(L, argument_count, 0);
}

static int bind_cjson_refuse(lua_State *L)
{
    return luaL_error(L,
                      "cjson.%s: all tasks share these settings; "
                      "make an instance of your own with cjson.new()",
                      lua_tostring(L, lua_upvalueindex(1)));
}
