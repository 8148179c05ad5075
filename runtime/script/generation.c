/* generation.c: the tasks of one snapshot, loaded into a state of their own. */
#include "script/generation.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/interrupt.h"
#include "script/run_state.h"

static int open_ctx(lua_State *L);
static bool load_tasks(struct generation *generation, const struct snapshot *snapshot,
                       struct err *err);
static void generation_free(struct generation *generation);

bool generation_new(const struct script_host *host, const struct snapshot *snapshot,
                    struct generation **out, struct err *err)
{
    struct generation *generation = xcalloc(1, sizeof *generation);
    lua_State *owner = interrupt_owner();
    generation->host = host;
    generation->by_name = map_new();
    generation->definitions = xcalloc(snapshot->task_count, sizeof *generation->definitions);
    list_init(&generation->ready);
    list_init(&generation->round);
    loop_defer_init(&generation->turn, run_turn);
    generation->vm = vm_new(host, snapshot->trees, snapshot->tree_count, false, err);
    if (!generation->vm || !load_tasks(generation, snapshot, err)) {
        generation_free(generation);
        if (owner) interrupt_own(owner); /* what serves on is compiled as before */
        return false;
    }
    *out = generation;
    return true;
}

static bool load_tasks(struct generation *generation, const struct snapshot *snapshot,
                       struct err *err)
{
    lua_State *L = generation->vm->L;
    if (lua_cpcall(L, open_ctx, NULL) != 0) return err_set(err, ERR_NOMEM, "not enough memory");
    for (size_t i = 0; i < snapshot->task_count; i++) {
        const struct snapshot_task *task = &snapshot->tasks[i];
        struct task_definition *definition = &generation->definitions[i];
        struct vm_source source = { task->file, task->bytes, task->len, task->tree };
        if (!vm_load(generation->vm, &source, err)) return false;
        if (!definition_read(L, task->file, -1, definition, err)) return false;
        generation->definition_count++;
        memcpy(definition->version, task->version, sizeof definition->version);
        map_put(generation->by_name, definition->name, strlen(definition->name), definition);
    }
    return true;
}

static int open_ctx(lua_State *L)
{
    ctx_open(L);
    return 0;
}

const struct definition *generation_find(const struct generation *generation, const char *name)
{
    const struct task_definition *definition = generation_definition(generation, name);
    return definition ? &definition->shown : NULL;
}

struct task_definition *generation_definition(const struct generation *generation, const char *name)
{
    return map_find(generation->by_name, name, strlen(name));
}

size_t generation_count(const struct generation *generation)
{
    return generation->definition_count;
}

const struct definition *generation_at(const struct generation *generation, size_t i)
{
    return &generation->definitions[i].shown;
}

void generation_limit_memory(struct generation *generation, int64_t bytes)
{
    generation->vm->memory.limit = (size_t)bytes;
    /* Garbage counts as well: the collector starts early and runs fast. */
    lua_gc(generation->vm->L, LUA_GCSETPAUSE, 110);
    lua_gc(generation->vm->L, LUA_GCSETSTEPMUL, 400);
}

void generation_retire(struct generation *generation)
{
    generation->is_retired = true;
    interrupt_disown(generation->vm->L);
    if (generation->alive == 0) generation_free(generation);
}

void generation_release(struct generation *generation)
{
    generation->alive--;
    if (generation->is_retired && generation->alive == 0) generation_free(generation);
}

size_t generation_alive(const struct generation *generation) { return generation->alive; }

size_t generation_refs(const struct generation *generation) { return generation->refs; }

static void generation_free(struct generation *generation)
{
    loop_defer_cancel(&generation->turn);
    if (generation->vm) vm_free(generation->vm);
    for (size_t i = 0; i < generation->definition_count; i++)
        definition_close(&generation->definitions[i]);
    free(generation->definitions);
    map_free(generation->by_name);
    free(generation);
}
