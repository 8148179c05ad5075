/* vm.c: making a state and running files in it, each under a deadline of its own. Everything that
 * may raise a Lua error happens inside a protected call. */
#include "script/vm.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "script/describe.h"
#include "script/interrupt.h"

#define ERRORS_SHOWN 5

static void *allocate(void *arg, void *block, size_t old, size_t size);
static int open_protected(lua_State *L);
static int load_protected(lua_State *L);
static bool call_limited(struct vm *vm, lua_CFunction function, void *argument, int results,
                         const char *file, struct err *err);
static bool fail_with_top(lua_State *L, const char *file, struct err *err);
static int analyse_protected(lua_State *L);
static void join_texts(lua_State *L, int list, struct buf *out);
static void write_texts(lua_State *L, int list, struct buf *out);

struct vm *vm_new(const struct script_host *host, const struct snapshot_tree *trees,
                  size_t tree_count, bool is_checking, struct err *err)
{
    struct vm *vm = xcalloc(1, sizeof *vm);
    *vm = (struct vm){ .host = host, .tree_count = tree_count, .is_checking = is_checking };
    vm->trees = xcalloc(tree_count, sizeof *vm->trees);
    for (size_t i = 0; i < tree_count; i++) {
        vm->trees[i].vm = vm;
        snapshot_copy_tree(&trees[i], &vm->trees[i].files);
    }
    vm->L = host->is_isolated ? lua_newstate(allocate, &vm->memory) : luaL_newstate();
    if (!vm->L || lua_cpcall(vm->L, open_protected, vm) != 0) {
        err_set(err, ERR_NOMEM, "cannot make a Lua state: %s",
                vm->L ? lua_tostring(vm->L, -1) : "not enough memory");
        vm_free(vm);
        return NULL;
    }
    interrupt_own(vm->L);
    return vm;
}

/* Shrinking never fails: Lua relies on it. */
static void *allocate(void *arg, void *block, size_t old, size_t size)
{
    struct vm_memory *memory = arg;
    if (size == 0) {
        free(block);
        memory->used -= old;
        return NULL;
    }
    bool is_bounded = memory->is_limited && memory->limit && size > old;
    if (is_bounded && memory->used + (size - old) > memory->limit) {
        memory->was_refused = true;
        return NULL;
    }
    void *fresh = realloc(block, size);
    if (fresh) memory->used += size - old;
    return fresh;
}

static int open_protected(lua_State *L)
{
    environment_open(lua_touserdata(L, 1));
    return 0;
}

void vm_free(struct vm *vm)
{
    if (vm->L) {
        interrupt_disown(vm->L);
        lua_close(vm->L);
    }
    for (size_t i = 0; i < vm->tree_count; i++) snapshot_close_tree(&vm->trees[i].files);
    free(vm->trees);
    free(vm);
}

struct load {
    struct vm *vm;
    const struct vm_source *source;
};

bool vm_load(struct vm *vm, const struct vm_source *source, struct err *err)
{
    struct load load = { vm, source };
    return call_limited(vm, load_protected, &load, 1, source->file, err);
}

/* stack: load, + what the file returned */
static int load_protected(lua_State *L)
{
    struct load *load = lua_touserdata(L, 1);
    const struct vm_source *source = load->source;
    struct vm_tree *tree = &load->vm->trees[source->tree];
    lua_pushfstring(L, "@%s", source->file);
    if (!module_compile(L, tree, lua_tostring(L, -1), source->bytes, source->len))
        return lua_error(L);
    lua_call(L, 0, 1);
    return 1;
}

/* Calls function(argument) under the deadline of loading. */
static bool call_limited(struct vm *vm, lua_CFunction function, void *argument, int results,
                         const char *file, struct err *err)
{
    lua_State *L = vm->L;
    lua_pushcfunction(L, function);
    lua_pushlightuserdata(L, argument);
    interrupt_enter(L, NULL, clock_boot_us() + VM_LOAD_LIMIT_US);
    int status = lua_pcall(L, 1, results, 0);
    bool was_interrupted = interrupt_leave(L);
    if (status == 0 && !was_interrupted) return true;
    if (!was_interrupted) return fail_with_top(L, file, err);
    lua_pop(L, status == 0 ? results : 1);
    return err_set(err, ERR_DEADLINE,
                   "%s: loading took longer than 2s (is there a loop at the top level?)", file);
}

/* Messages of Lua begin with the file and line already; one from lib/ names its own. stack: -
 * message
 */
static bool fail_with_top(lua_State *L, const char *file, struct err *err)
{
    struct buf message = BUF_EMPTY;
    describe_guarded(L, &message);
    size_t len = strlen(file);
    bool is_placed = strncmp(buf_text(&message), file, len) == 0 && buf_text(&message)[len] == ':';
    err_set(err, ERR_DATA, "%s%s%s", is_placed ? "" : file, is_placed ? "" : ": ",
            buf_text(&message));
    buf_close(&message);
    return false;
}

struct analysis {
    struct vm *vm;
    const struct vm_source *source;
    bool *used;
    struct buf *warnings, errors;
};

bool vm_analyse(struct vm *vm, const struct vm_source *source, bool *used, struct buf *warnings,
                struct err *err)
{
    struct analysis analysis = { vm, source, used, warnings, BUF_EMPTY };
    bool is_good = call_limited(vm, analyse_protected, &analysis, 0, source->file, err);
    if (is_good && analysis.errors.len > 0)
        is_good = err_set(err, ERR_DATA, "%s", buf_text(&analysis.errors));
    buf_close(&analysis.errors);
    return is_good;
}

static int analyse_protected(lua_State *L)
{
    struct analysis *analysis = lua_touserdata(L, 1);
    const struct vm_source *source = analysis->source;
    struct vm_tree *tree = &analysis->vm->trees[source->tree];
    environment_push_analyse(L, tree);
    const char *name = lua_pushfstring(L, "@%s", source->file);
    if (!module_compile(L, tree, name, source->bytes, source->len)) return lua_error(L);
    lua_replace(L, -2);
    lua_pushstring(L, source->file);
    lua_call(L, 2, 4); /* stack: ..., errors, warnings, used, is_open */
    int top = lua_gettop(L);
    join_texts(L, top - 3, &analysis->errors);
    write_texts(L, top - 2, analysis->warnings);
    for (size_t i = 0; i < tree->files.count; i++) {
        lua_getfield(L, top - 1, tree->files.files[i].path);
        analysis->used[i] = lua_toboolean(L, top) || lua_toboolean(L, -1);
        lua_pop(L, 1);
    }
    return 0;
}

static void join_texts(lua_State *L, int list, struct buf *out)
{
    size_t count = lua_objlen(L, list);
    for (size_t i = 1; i <= count && i <= ERRORS_SHOWN; i++) {
        lua_rawgeti(L, list, (int)i);
        if (i > 1) buf_add_text(out, "; ");
        buf_add_text(out, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    if (count > ERRORS_SHOWN) buf_addf(out, "; and %zu more", count - ERRORS_SHOWN);
}

static void write_texts(lua_State *L, int list, struct buf *out)
{
    struct jsonw w;
    jsonw_init(&w, out);
    jsonw_array(&w);
    for (size_t i = 1; i <= lua_objlen(L, list); i++) {
        lua_rawgeti(L, list, (int)i);
        jsonw_text(&w, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    jsonw_array_end(&w);
}
