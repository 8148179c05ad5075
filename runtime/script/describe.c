/* describe.c: text stands for itself; an object speaks through its __tostring, a table through its
 * `message` field or else as JSON; anything else is named by its type. */
#include "script/describe.h"

#include <string.h>

#include <lauxlib.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "script/codec.h"
#include "script/interrupt.h"

#define TOSTRING_LIMIT_US 1000000

static bool add_own_words(lua_State *L, int index, struct buf *out);
static void add_table(lua_State *L, int index, struct buf *out);
static void add_text_at(lua_State *L, int index, struct buf *out);
static int describe_protected(lua_State *L);

void describe_value(lua_State *L, int index, struct buf *out)
{
    if (index < 0) index = lua_gettop(L) + index + 1;
    int top = lua_gettop(L);
    if (lua_isstring(L, index))
        add_text_at(L, index, out);
    else if (lua_isboolean(L, index))
        buf_add_text(out, lua_toboolean(L, index) ? "true" : "false");
    else if (!add_own_words(L, index, out)) {
        if (lua_istable(L, index))
            add_table(L, index, out);
        else
            buf_addf(out, "(the error is a %s value)", luaL_typename(L, index));
    }
    lua_settop(L, top);
}

static bool add_own_words(lua_State *L, int index, struct buf *out)
{
    if (!luaL_callmeta(L, index, "__tostring")) return false;
    if (!lua_isstring(L, -1)) return false;
    add_text_at(L, -1, out);
    return true;
}

static void add_table(lua_State *L, int index, struct buf *out)
{
    lua_pushliteral(L, "message");
    lua_rawget(L, index);
    if (lua_isstring(L, -1)) {
        add_text_at(L, -1, out);
        return;
    }
    struct buf json = BUF_EMPTY;
    struct err err;
    if (codec_encode(L, index, MESSAGE_MAX, &json, &err))
        buf_add(out, json.data, json.len);
    else
        buf_addf(out, "(the error is a table; %s)", err.text);
    buf_close(&json);
}

static void add_text_at(lua_State *L, int index, struct buf *out)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    utf8_add_clean(out, text, len, MESSAGE_MAX);
}

void describe_guarded(lua_State *L, struct buf *out)
{
    if (lua_isstring(L, -1)) { /* nearly always: nothing of this can fail */
        add_text_at(L, -1, out);
        lua_pop(L, 1);
        return;
    }
    lua_pushcfunction(L, describe_protected);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, out);
    interrupt_enter(L, NULL, clock_boot_us() + TOSTRING_LIMIT_US);
    int status = lua_pcall(L, 2, 0, 0);
    interrupt_leave(L);
    if (status == 0) return;
    lua_pop(L, 1);
    buf_add_text(out, "(the error cannot be shown: its __tostring failed)");
}

/* stack: value, buf */
static int describe_protected(lua_State *L)
{
    describe_value(L, 1, lua_touserdata(L, 2));
    return 0;
}

void describe_traceback(lua_State *L, lua_State *of, int level, struct buf *out)
{
    luaL_traceback(L, of, NULL, level);
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    utf8_add_clean(out, text, len, TRACEBACK_MAX);
    lua_pop(L, 1);
}
