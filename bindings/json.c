/* json.c: ctutor.json: exact JSON, the same codec that carries parameters and results.
 *
 * A value that has no JSON form is misuse and raises, naming its path; a text that is no JSON comes
 * from the world and returns nil, message, code. `null` is what null decodes to, also at the top:
 * only a failure is nil. */
#include <lauxlib.h>

#include "base/mem.h"
#include "bindings/bind.h"
#include "script/codec.h"

static int bind_json_encode(lua_State *L)
{
    struct err err;
    luaL_checkany(L, 1);
    struct buf *json = bind_push_buf(L);
    if (!codec_encode(L, 1, 0, json, &err)) {
        if (err.code != ERR_NOMEM) return luaL_error(L, "%s", err.text);
        buf_close(json);
        lua_pushliteral(
            L, "not enough memory"); /* without a place: the words that fail a run as `memory` */
        return lua_error(L);
    }
    lua_pushlstring(L, buf_text(json), json->len);
    buf_close(json); /* now, not when the collector comes by */
    return 1;
}

static int bind_json_decode(lua_State *L)
{
    struct err err;
    size_t len;
    const char *json = luaL_checklstring(L, 1, &len);
    if (!codec_decode(L, json, len, &err)) return bind_fail(L, "EINVAL", err.text);
    return 1;
}

static int bind_json_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    codec_mark_array(L, 1);
    lua_settop(L, 1);
    return 1;
}

int bind_json_open(lua_State *L)
{
    static const struct bind_function functions[] = {
        { "encode", bind_json_encode, false },
        { "decode", bind_json_decode, false },
        { "array", bind_json_array, false },
    };
    bind_push_module(L, functions, COUNT_OF(functions));
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
