/* vm.h: one Lua state with the environment that task files see, and the loading of files into it.
 *
 * What tasks cannot reach stays in the state's real globals: the environment of a file is an empty,
 * write-protected table whose reads go to the read-only standard names. Files of one lib tree share
 * one: nothing can be added to it. Loop thread only. */
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "script/generation.h"
#include "script/snapshot.h"

/* Tags that only C and the embedded Lua halves know (light userdata, out of reach for tasks). */
extern char
    vm_tag_wait; /* yielded: the run waits or ends; passed up through the task's own coroutines */
extern char
    vm_tag_raise; /* resumed with: tag, message, level: becomes an error at the waiting call */

struct vm_tree { /* one lib tree and what of it was loaded */
    struct vm *vm;
    struct snapshot_tree files;                /* owned copy */
    char environment, names, modules, analyse; /* their addresses are keys in the registry */
};

struct vm_memory {      /* of a state that is alone in its process */
    size_t used, limit; /* bytes; limit 0: none */
    bool is_limited;    /* now: the task's own code runs */
    bool was_refused;   /* since the slice began */
};

struct vm {
    lua_State *L; /* the main thread */
    struct vm_memory memory;
    const struct script_host *host;
    struct vm_tree *trees;
    size_t tree_count;
    bool is_checking; /* files are looked through for undeclared globals before they run */
    char bindings;    /* its address is the key of the table of opened bindings */
};

/* Takes the profiler. NULL and err when memory is gone. */
struct vm *vm_new(const struct script_host *host, const struct snapshot_tree *trees,
                  size_t tree_count, bool is_checking, struct err *err);
void vm_free(struct vm *vm);

struct vm_source {
    const char *file, *bytes;
    size_t len, tree;
};
#define VM_LOAD_LIMIT_US 2000000
/* Runs the file and pushes the one value it returned. Error: "grade.lua:12: ..." */
MUSTUSE bool vm_load(struct vm *vm, const struct vm_source *source, struct err *err);
/* Only of a checking vm: looks through the source and the lib files it requires, without running
 * them. used: one flag for each file of the tree, set where it may be required; warnings: JSON
 * array of texts. Error: what it does with undeclared globals. */
MUSTUSE bool vm_analyse(struct vm *vm, const struct vm_source *source, bool *used,
                        struct buf *warnings, struct err *err);

/* ---- environment.c, module.c ---- */
void environment_open(struct vm *vm); /* inside a protected call */
/* Each pushes one value; L is any thread of the state. */
void environment_push(lua_State *L, struct vm_tree *tree); /* the environment */
void environment_push_names(lua_State *L,
                            struct vm_tree *tree); /* the table of the names found in it */
void environment_push_analyse(lua_State *L, struct vm_tree *tree);
void environment_push_module(
    lua_State *L, const char *name); /* for the table on top (popped): its read-only proxy */
enum environment_part { PART_WRAP, PART_NAME, PART_FILL, PART_ANALYSE, PART_COUNT };
void environment_push_part(lua_State *L,
                           enum environment_part part); /* a function of the embedded Lua halves */
/* + chunk in the tree's environment, or false and + message */
MUSTUSE bool module_compile(lua_State *L, struct vm_tree *tree, const char *chunk_name,
                            const char *bytes, size_t len);
int module_require(lua_State *L); /* upvalue 1: the tree */
const struct snapshot_file *module_find(const struct vm_tree *tree,
                                        const char *name); /* NULL: none */
