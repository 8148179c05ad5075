/* bind.h: what the modules share: their open functions, failures as Lua sees them, and memory that
 * outlives a raised error.
 *
 * Rules of every module: misuse raises, naming the argument; what the world refuses returns nil,
 * message, code. Nothing may raise while C holds memory that Lua's collector does not know. Loop
 * thread only. */
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "script/run.h"

int bind_cjson_open(lua_State *L);
int bind_fs_open(lua_State *L);
int bind_json_open(lua_State *L);
int bind_process_open(lua_State *L);
int bind_time_open(lua_State *L);
int bind_yaml_open(lua_State *L);

struct bind_function {
    const char *name;
    lua_CFunction call;
    bool waits; /* may end in run_wait */
};
/* Pushes a table of these functions. */
void bind_push_module(lua_State *L, const struct bind_function *functions, size_t count);

/* Pushes nil, message, code; gives 3, so that `return bind_fail(...)` reads well. */
int bind_fail(lua_State *L, const char *code, const char *message);
/* The name of an errno ("ENOENT"); never NULL. */
const char *bind_errno_name(int number);

/* The calling run; raises while a file loads. */
struct run *bind_run(lua_State *L, const char *function);
/* A text argument without NUL bytes and not empty; raises otherwise. Borrowed from the stack. */
const char *bind_check_path(lua_State *L, int index);
/* Pushes a buffer that the collector closes, so that a raised error does not leak it. */
struct buf *bind_push_buf(lua_State *L);
