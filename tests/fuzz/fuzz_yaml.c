/* fuzz_yaml.c: ctutor.yaml.decode. Whatever comes out can go out as JSON, but for what JSON cannot
 * say; a refusal says where. */
#include <ctype.h>
#include <lauxlib.h>

#include "base/buf.h"
#include "bindings/bind.h"
#include "fuzz/fuzz.h"
#include "script/codec.h"

/* stack: decode, text */
static int decode(lua_State *L)
{
    lua_call(L, 1, LUA_MULTRET);
    return lua_gettop(L);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lua_State *L = luaL_newstate();
    struct buf json = BUF_EMPTY;
    struct err err;
    codec_open(L);
    lua_pushcfunction(L, decode);
    bind_yaml_open(L);
    lua_getfield(L, -1, "decode");
    lua_remove(L, -2);
    lua_pushlstring(L, (const char *)data, size);
    require(lua_pcall(L, 2, LUA_MULTRET, 0) == 0);
    if (lua_gettop(L) == 1) {
        if (!codec_encode(L, 1, 0, &json, &err))
            require(strstr(err.text, "NUL") || strstr(err.text, "NaN") ||
                    strstr(err.text, "infinity"));
    } else {
        require(lua_gettop(L) == 3 && lua_isnil(L, 1));
        require_text(lua_tostring(L, 2));
        require(isdigit((unsigned char)*lua_tostring(L, 2)));
    }
    buf_close(&json);
    lua_close(L);
    return 0;
}
