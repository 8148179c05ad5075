/* environment.c: opens the standard libraries as the state's real globals and runs the embedded Lua
 * halves among them; what they return is kept in the registry.
 *
 * The library `io` and the loader of C modules are never opened, `ffi` only by LuaJIT itself when a
 * file holds a literal such as 1LL; no name leads to it. */
#include "script/vm.h"

#include <string.h>
#include <sys/random.h>

#include <lauxlib.h>
#include <lualib.h>

#include "base/log.h"
#include "script/codec.h"
#include "script/interrupt.h"
#include "script/run_state.h"

char vm_tag_wait, vm_tag_raise;

extern const char lua_environment[], lua_defaults[], lua_analysis[];

/* Keys in the registry; the addresses are what counts. */
static char parts_key[PART_COUNT], environment_key, module_key;

static void open_libraries(lua_State *L);
static void seed_random(lua_State *L);
static void run_environment(lua_State *L);
static int environment_print(lua_State *L);
static int environment_running(lua_State *L);
static int environment_interrupted(lua_State *L);
static void run_defaults(lua_State *L);
static void run_analysis(lua_State *L);
static void push_jit_util(lua_State *L);
static void load_half(lua_State *L, const char *text, const char *name);
static void keep(lua_State *L, void *key);
static void push_kept(lua_State *L, void *key);
static void open_tree(struct vm_tree *tree);
static int environment_compile(lua_State *L);
static int environment_find(lua_State *L);

/* stack: unchanged */
void environment_open(struct vm *vm)
{
    lua_State *L = vm->L;
    open_libraries(L);
    seed_random(L);
    codec_open(L);
    run_environment(L);
    run_defaults(L);
    if (vm->is_checking) run_analysis(L);
    lua_newtable(L);
    keep(L, &vm->bindings);
    for (size_t i = 0; i < vm->tree_count; i++) open_tree(&vm->trees[i]);
}

static void open_libraries(lua_State *L)
{
    static const luaL_Reg libraries[] = {
        { "", luaopen_base },
        { LUA_TABLIBNAME, luaopen_table },
        { LUA_STRLIBNAME, luaopen_string },
        { LUA_MATHLIBNAME, luaopen_math },
        { LUA_OSLIBNAME, luaopen_os },
        { LUA_BITLIBNAME, luaopen_bit },
        { LUA_DBLIBNAME, luaopen_debug },
        { LUA_JITLIBNAME, luaopen_jit },
    };
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        lua_pushcfunction(L, libraries[i].func);
        lua_pushstring(L, libraries[i].name);
        lua_call(L, 1, 0);
    }
}

/* LuaJIT starts every state with the same numbers. */
static void seed_random(lua_State *L)
{
    uint32_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) return;
    lua_getglobal(L, "math");
    lua_getfield(L, -1, "randomseed");
    lua_pushnumber(L, seed);
    lua_call(L, 1, 0);
    lua_pop(L, 1);
}

static void run_environment(lua_State *L)
{
    load_half(L, lua_environment, "=ctutor");
    lua_newtable(L);
    lua_pushlightuserdata(L, &vm_tag_wait);
    lua_setfield(L, -2, "wait");
    lua_pushlightuserdata(L, &vm_tag_raise);
    lua_setfield(L, -2, "raise");
    lua_pushcfunction(L, environment_print);
    lua_setfield(L, -2, "print");
    lua_pushcfunction(L, environment_running);
    lua_setfield(L, -2, "running");
    lua_pushcfunction(L, run_refuse);
    lua_setfield(L, -2, "refuse");
    lua_pushcfunction(L, environment_interrupted);
    lua_setfield(L, -2, "interrupted");
    lua_call(L, 1, 1); /* stack: the table of functions */
    lua_getfield(L, -1, "environment");
    keep(L, &environment_key);
    lua_getfield(L, -1, "module");
    keep(L, &module_key);
    lua_getfield(L, -1, "wrap");
    keep(L, &parts_key[PART_WRAP]);
    lua_getfield(L, -1, "name");
    keep(L, &parts_key[PART_NAME]);
    lua_getfield(L, -1, "absent");
    keep(L, &parts_key[PART_ANALYSE]); /* until run_analysis makes the real one of it */
    lua_pop(L, 1);
}

static int environment_print(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct run *run = run_current(L);
    if (run)
        run_log(run, "info", text, len);
    else
        log_info("print: %s", text);
    return 0;
}

/* The coroutine of a run is its main thread: nil, as in plain Lua, so nobody else can resume it. */
static int environment_running(lua_State *L)
{
    struct run *run = run_current(L);
    if (lua_pushthread(L) || (run && run->L == L)) lua_pushnil(L);
    return 1;
}

static int environment_interrupted(lua_State *L)
{
    lua_pushboolean(L, interrupt_has_struck());
    return 1;
}

static void run_defaults(lua_State *L)
{
    load_half(L, lua_defaults, "=ctutor");
    lua_pushlightuserdata(L, NULL);
    lua_call(L, 1, 1);
    keep(L, &parts_key[PART_FILL]);
}

static void run_analysis(lua_State *L)
{
    load_half(L, lua_analysis, "=ctutor");
    push_jit_util(L);
    environment_push_part(L, PART_ANALYSE);
    lua_call(L, 2, 1);
    keep(L, &parts_key[PART_ANALYSE]);
}

static void push_jit_util(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "_PRELOAD");
    lua_getfield(L, -1, "jit.util");
    lua_pushliteral(L, "jit.util");
    lua_call(L, 1, 1);
    lua_remove(L, -2);
}

static void load_half(lua_State *L, const char *text, const char *name)
{
    if (luaL_loadbuffer(L, text, strlen(text), name) != 0) lua_error(L);
}

/* stack: - value */
static void keep(lua_State *L, void *key)
{
    lua_pushlightuserdata(L, key);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static void push_kept(lua_State *L, void *key)
{
    lua_pushlightuserdata(L, key);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

static void open_tree(struct vm_tree *tree)
{
    lua_State *L = tree->vm->L; /* environment_open runs on it */
    lua_newtable(L);
    keep(L, &tree->modules);
    push_kept(L, &environment_key);
    lua_pushlightuserdata(L, tree);
    lua_pushcclosure(L, module_require, 1);
    lua_pushlightuserdata(L, tree);
    lua_pushcclosure(L, environment_compile, 1);
    lua_call(L, 2, 2); /* stack: environment, the names in it */
    keep(L, &tree->names);
    keep(L, &tree->environment);
    if (!tree->vm->is_checking) return;
    environment_push_part(L, PART_ANALYSE);
    environment_push_names(L, tree);
    lua_pushlightuserdata(L, tree);
    lua_pushcclosure(L, environment_find, 1);
    lua_call(L, 2, 1);
    keep(L, &tree->analyse);
}

/* find(module) -> path, chunk or nil, message; or nothing */
static int environment_find(lua_State *L)
{
    struct vm_tree *tree = lua_touserdata(L, lua_upvalueindex(1));
    const struct snapshot_file *file = module_find(tree, luaL_checkstring(L, 1));
    if (!file) return 0;
    lua_pushstring(L, file->path);
    const char *name = lua_pushfstring(L, "@lib/%s", file->path);
    bool is_good = module_compile(L, tree, name, file->bytes, file->len);
    lua_remove(L, -2);
    if (is_good) return 2;
    lua_pushnil(L);
    lua_insert(L, -2); /* stack: path, nil, message */
    return 3;
}

void environment_push_analyse(lua_State *L, struct vm_tree *tree) { push_kept(L, &tree->analyse); }

/* compile(text, name) -> function | nil, message: load() of tasks */
static int environment_compile(lua_State *L)
{
    struct vm_tree *tree = lua_touserdata(L, lua_upvalueindex(1));
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    if (module_compile(L, tree, luaL_checkstring(L, 2), text, len)) return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

void environment_push(lua_State *L, struct vm_tree *tree) { push_kept(L, &tree->environment); }

void environment_push_names(lua_State *L, struct vm_tree *tree) { push_kept(L, &tree->names); }

/* stack: - members, + proxy */
void environment_push_module(lua_State *L, const char *name)
{
    push_kept(L, &module_key);
    lua_insert(L, -2);
    lua_pushstring(L, name);
    lua_insert(L, -2); /* stack: module, name, members */
    lua_call(L, 2, 1);
}

void environment_push_part(lua_State *L, enum environment_part part)
{
    push_kept(L, &parts_key[part]);
}
