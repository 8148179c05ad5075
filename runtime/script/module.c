/* module.c: require, and the compiling of files and of text that a task loads.
 *
 * A module is found among the bindings and in the lib tree of the file that asks, by name only:
 * nothing is read from disk. Modules of a tree live as long as the state. require is a C function,
 * so the top level of a module cannot wait, and a circle or an interruption half-way leaves nothing
 * behind. */
#include "script/vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "task/suggest.h"

#define NAME_MAX_LEN 200
#define LIST_MAX_LEN 1500

struct listing {
    luaL_Buffer text;
    size_t len;
    struct suggestion near;
    char nearest[NAME_MAX_LEN];
};

static char loading_tag; /* stands for a module whose top level is running */

static bool push_binding(lua_State *L, struct vm *vm, const char *name);
static int load_module(lua_State *L, struct vm_tree *tree, const char *name,
                       const struct snapshot_file *file);
static void set_loaded(lua_State *L, struct vm_tree *tree, const char *name);
static void push_chunk_name(lua_State *L, const char *path);
static int refuse(lua_State *L, const struct vm_tree *tree, const char *name);
static void list_module(struct listing *listing, const char *name);
static void path_to_name(const char *path, char out[NAME_MAX_LEN]);

int module_require(lua_State *L)
{
    struct vm_tree *tree = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    if (push_binding(L, tree->vm, name)) return 1;
    lua_pushlightuserdata(L, &tree->modules);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -1, name); /* stack: name, modules, value */
    if (lua_touserdata(L, -1) == &loading_tag)
        return luaL_error(L, "module '%s' requires itself in a circle", name);
    if (!lua_isnil(L, -1)) return 1;
    const struct snapshot_file *file = module_find(tree, name);
    return file ? load_module(L, tree, name, file) : refuse(L, tree, name);
}

/* stack: -, + module */
static bool push_binding(lua_State *L, struct vm *vm, const char *name)
{
    const struct script_host *host = vm->host;
    const struct binding *binding = NULL;
    for (size_t i = 0; i < host->binding_count && !binding; i++)
        if (strcmp(host->bindings[i].name, name) == 0) binding = &host->bindings[i];
    if (!binding) return false;
    lua_pushlightuserdata(L, &vm->bindings);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -1, name); /* stack: opened, module */
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushcfunction(L, binding->open);
        lua_call(L, 0, 1);
        environment_push_module(L, name);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, name);
    }
    lua_remove(L, -2);
    return true;
}

static int load_module(lua_State *L, struct vm_tree *tree, const char *name,
                       const struct snapshot_file *file)
{
    push_chunk_name(L, file->path);
    if (!module_compile(L, tree, lua_tostring(L, -1), file->bytes, file->len)) return lua_error(L);
    lua_pushlightuserdata(L, &loading_tag);
    set_loaded(L, tree, name);
    lua_pushstring(L, name); /* stack: ..., chunk, name */
    int status = lua_pcall(L, 1, 1, 0);
    if (status != 0) {
        lua_pushnil(L);
        set_loaded(L, tree, name);
        return lua_error(L);
    }
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    lua_pushvalue(L, -1);
    set_loaded(L, tree, name);
    return 1;
}

/* stack: - value */
static void set_loaded(lua_State *L, struct vm_tree *tree, const char *name)
{
    lua_pushlightuserdata(L, &tree->modules);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_insert(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

static void push_chunk_name(lua_State *L, const char *path) { lua_pushfstring(L, "@lib/%s", path); }

bool module_compile(lua_State *L, struct vm_tree *tree, const char *chunk_name, const char *bytes,
                    size_t len)
{
    if (luaL_loadbufferx(L, bytes, len, chunk_name, "t") != 0) return false;
    environment_push(L, tree);
    lua_setfenv(L, -2);
    return true;
}

const struct snapshot_file *module_find(const struct vm_tree *tree, const char *name)
{
    char path[NAME_MAX_LEN + 16], folder[NAME_MAX_LEN + 16];
    size_t len = strlen(name);
    if (len == 0 || len >= NAME_MAX_LEN || strchr(name, '/')) return NULL;
    memcpy(path, name, len + 1);
    for (char *c = path; *c; c++)
        if (*c == '.') *c = '/';
    memcpy(folder, path, len);
    memcpy(path + len, ".lua", sizeof ".lua");
    memcpy(folder + len, "/init.lua", sizeof "/init.lua");
    const struct snapshot_file *found = NULL;
    for (size_t i = 0; i < tree->files.count; i++) {
        const struct snapshot_file *file = &tree->files.files[i];
        if (strcmp(file->path, path) == 0) return file;
        if (strcmp(file->path, folder) == 0) found = file;
    }
    return found;
}

static int refuse(lua_State *L, const struct vm_tree *tree, const char *name)
{
    struct listing listing = { .near.word = name };
    luaL_buffinit(L, &listing.text);
    for (size_t i = 0; i < tree->vm->host->binding_count; i++)
        list_module(&listing, tree->vm->host->bindings[i].name);
    for (size_t i = 0; i < tree->files.count; i++) {
        char module[NAME_MAX_LEN];
        path_to_name(tree->files.files[i].path, module);
        list_module(&listing, module);
    }
    luaL_pushresult(&listing.text);
    if (listing.near.nearest)
        return luaL_error(L, "module '%s' not found; did you mean '%s'?", name, listing.nearest);
    return luaL_error(L, "module '%s' not found; there are: %s", name, lua_tostring(L, -1));
}

static void list_module(struct listing *listing, const char *name)
{
    suggest_consider(&listing->near, name);
    if (listing->near.nearest == name) { /* it may live in a buffer of the caller */
        snprintf(listing->nearest, sizeof listing->nearest, "%s", name);
        listing->near.nearest = listing->nearest;
    }
    if (listing->len > LIST_MAX_LEN) return;
    if (listing->len > 0) luaL_addstring(&listing->text, ", ");
    luaL_addstring(&listing->text, name);
    listing->len += strlen(name) + 2;
}

/* "a/b.lua" and "a/b/init.lua" are both "a.b". */
static void path_to_name(const char *path, char out[NAME_MAX_LEN])
{
    size_t len = strlen(path);
    const char *const endings[] = { "/init.lua", ".lua" };
    for (size_t i = 0; i < 2; i++) {
        size_t end = strlen(endings[i]);
        if (len > end && strcmp(path + len - end, endings[i]) == 0) len -= end;
    }
    if (len >= NAME_MAX_LEN) len = NAME_MAX_LEN - 1;
    for (size_t i = 0; i < len; i++) out[i] = path[i] == '/' ? '.' : path[i];
    out[len] = '\0';
}
