/* fuzz_codec.c: JSON text -> Lua value -> JSON text: the same value to jansson's eyes, [] and {}
 * kept apart, the second round byte for byte the first, and nothing left on the Lua stack. */
#include <lauxlib.h>

#include "base/buf.h"
#include "fuzz/fuzz.h"
#include "script/codec.h"
#include "task/params_schema.h"

static void check_round(lua_State *L, const json_t *expected);
static json_t *load(const char *text, size_t len);
static bool is_same(const json_t *a, const json_t *b);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    lua_State *L = luaL_newstate();
    struct err err;
    json_t *value = NULL, *loose = load(text, size);
    codec_open(L);
    bool is_strict = params_parse(text, size, "", &value, &err);
    if (codec_decode(L, text, size, &err)) {
        require(lua_gettop(L) == 1);
        check_round(L, loose);
    } else {
        require_refusal_at(&err, "invalid JSON");
        require(lua_gettop(L) == 0 && !is_strict); /* what a door lets in, a task can read */
    }
    json_decref(value);
    json_decref(loose);
    lua_close(L);
    return 0;
}

/* expected: the value as jansson reads it, or NULL. */
static void check_round(lua_State *L, const json_t *expected)
{
    struct buf once = BUF_EMPTY, twice = BUF_EMPTY;
    struct err err;
    if (codec_encode(L, 1, 0, &once, &err)) {
        json_t *back = load(once.data, once.len);
        require(back && (!expected || is_same(expected, back)));
        json_decref(back);
        require(codec_decode(L, once.data, once.len, &err));
        require(codec_encode(L, -1, once.len, &twice, &err));
        require(once.len == twice.len); /* the order of members may differ */
        buf_clear(&twice);
        require(once.len == 1 || !codec_encode(L, -1, once.len - 1, &twice, &err)); /* 0: none */
        lua_settop(L, 1);
    } else {
        require_refusal(&err);
        require(strstr(err.text, "NUL")); /* the one thing that can be read but not written */
    }
    require(lua_gettop(L) == 1);
    buf_close(&once);
    buf_close(&twice);
}

static json_t *load(const char *text, size_t len)
{
    return json_loadb(text, len, JSON_DECODE_ANY, NULL);
}

/* Numbers by value, and exactly: jansson holds integers that no double does. */
static bool is_same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return !(json_number_value(a) < json_number_value(b)) &&
               !(json_number_value(a) > json_number_value(b));
    return params_is_equal(a, b);
}
