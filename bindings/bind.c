/* bind.c: the shared half of the modules. */
#include "bindings/bind.h"

#include <lauxlib.h>
#include <string.h>

#define BUF_TYPE "ctutor.buf"

static int on_buf_collected(lua_State *L);

void bind_push_module(lua_State *L, const struct bind_function *functions, size_t count)
{
    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++) {
        lua_pushcfunction(L, functions[i].call); /* stack: module, function */
        if (functions[i].waits) run_wrap(L);
        lua_setfield(L, -2, functions[i].name);
    }
}

int bind_fail(lua_State *L, const char *code, const char *message)
{
    lua_pushnil(L);
    lua_pushstring(L, message);
    lua_pushstring(L, code);
    return 3;
}

const char *bind_errno_name(int number)
{
    const char *name = strerrorname_np(number);
    return name != NULL ? name : "EIO";
}

struct run *bind_run(lua_State *L, const char *function)
{
    struct run *run = run_current(L);
    if (run == NULL) {
        luaL_error(L, "%s works only while a task runs, not while its file loads", function);
    }
    return run;
}

const char *bind_check_path(lua_State *L, int index)
{
    size_t len;
    const char *path = luaL_checklstring(L, index, &len);
    if (len == 0) luaL_argerror(L, index, "the path is empty");
    if (strlen(path) != len) luaL_argerror(L, index, "the path contains a NUL byte");
    return path;
}

struct buf *bind_push_buf(lua_State *L)
{
    struct buf *buf = lua_newuserdata(L, sizeof *buf);
    *buf = BUF_EMPTY;
    if (luaL_newmetatable(L, BUF_TYPE)) { /* stack: buf, metatable */
        lua_pushcfunction(L, on_buf_collected);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return buf;
}

static int on_buf_collected(lua_State *L)
{
    buf_close(lua_touserdata(L, 1));
    return 0;
}
