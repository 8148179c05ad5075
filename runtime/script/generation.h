/* generation.h: one Lua state made from one snapshot. New runs go to the newest; an old one is
 * closed when its last coroutine ends.
 *
 * The newest owns LuaJIT's profiler (see interrupt.h); a retired one is flushed and interpreted
 * from then on. Never patched while alive. All: loop thread only. */
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "loop/loop.h"
#include "script/snapshot.h"

struct generation; /* opaque */

/* A module for tasks: open pushes the module's table. Passed in by the composition root: runtime/
 * never includes bindings/. */
struct binding {
    const char *name; /* "ctutor.fs", "cjson" */
    int (*open)(lua_State *L);
};

/* What all generations of a process share. */
struct script_host {
    struct loop *loop;
    const struct binding *bindings;
    size_t binding_count;
    const char
        *run_directory; /* tempdirs of runs are made below it; NULL while checking (nothing runs) */
    size_t max_result;  /* bytes of JSON */
    const char *worker_marker; /* "CTUTOR_WORKER=<incarnation>": in the environment of every
                                  subprocess, or NULL */
    bool is_isolated;          /* one run has the process to itself: its Lua memory is counted */
};

enum { HOOK_SUCCESS = 1, HOOK_RETRY = 2, HOOK_FAILURE = 4 };
struct definition { /* of one task, as its file says; borrowed from the generation */
    const char *name, *version, *schema_hash;
    unsigned hooks; /* or-ed */
    int64_t memory; /* bytes that its run may take; 0: no limit of its own */
};

/* host and snapshot are borrowed: host for ever, snapshot for the call. Loads every file anew.
 * Error: names the file (does not happen after a check). */
MUSTUSE bool generation_new(const struct script_host *host, const struct snapshot *snapshot,
                            struct generation **out, struct err *err);
const struct definition *generation_find(const struct generation *generation,
                                         const char *name); /* NULL when it does not carry it */
size_t generation_count(const struct generation *generation);
const struct definition *generation_at(const struct generation *generation, size_t i);
/* Of an isolated process: what the Lua state may hold while the task runs; beyond it the run ends
 * as END_MEMORY. What we do for the run (its error, its result) has no limit. */
void generation_limit_memory(struct generation *generation, int64_t bytes);
/* A newer one takes over: this one gives up the profiler and its JIT, and is freed once no
 * coroutine is left. Call before generation_new of the next only if that must own the profiler at
 * once; generation_new takes it from whoever has it. */
void generation_retire(struct generation *generation);
/* How many coroutines live in it; how many registry references are held (leak checks). */
size_t generation_alive(const struct generation *generation);
size_t generation_refs(const struct generation *generation);
