/* fuzz_task.c: the bytes of a task file, looked through, loaded and read as the checker does it. A
 * task that was accepted is within bounds and has a catalogue entry that is JSON; a refused file is
 * named in the reason.
 *
 * What begins with { is no Lua: it is taken as the table itself, written as JSON, where the text
 * "function" stands for one. So the fields are reached without a way through Lua's grammar. */
#include <jansson.h>
#include <lauxlib.h>

#include "fuzz/fuzz.h"
#include "script/codec.h"
#include "script/definition.h"
#include "script/interrupt.h"
#include "script/vm.h"
#include "task/task.h"

#define FILE_NAME "fuzzed.lua"

static void try_file(const uint8_t *data, size_t size);
static void try_table(const uint8_t *data, size_t size);
static void put_functions(lua_State *L);
static void check_outcome(bool is_good, struct task_definition *definition, const struct err *err);
static bool read_file(struct vm *vm, const uint8_t *data, size_t size,
                      struct task_definition *definition, struct err *err);
static void check_definition(struct task_definition *definition);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == '{')
        try_table(data, size);
    else
        try_file(data, size);
    return 0;
}

static void try_file(const uint8_t *data, size_t size)
{
    static bool is_started;
    if (!is_started) interrupt_start(NULL);
    is_started = true;
    struct script_host host = { 0 };
    struct snapshot_tree tree = { .hash = "0" };
    struct task_definition definition = { 0 };
    struct err err;
    struct vm *vm = vm_new(&host, &tree, 1, true, &err);
    require(vm);
    check_outcome(read_file(vm, data, size, &definition, &err), &definition, &err);
    require(lua_gettop(vm->L) == 0);
    vm_free(vm);
}

static void try_table(const uint8_t *data, size_t size)
{
    lua_State *L = luaL_newstate();
    struct task_definition definition = { 0 };
    struct err err;
    codec_open(L);
    if (codec_decode(L, (const char *)data, size, &err)) {
        put_functions(L);
        check_outcome(definition_read(L, FILE_NAME, 1000000, &definition, &err), &definition, &err);
    }
    require(lua_gettop(L) == 0);
    lua_close(L);
}

/* stack: table */
static void put_functions(lua_State *L)
{
    luaL_loadstring(L, "");
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) { /* stack: table, function, key, value */
        const char *text = lua_type(L, 4) == LUA_TSTRING ? lua_tostring(L, 4) : "";
        if (strcmp(text, "function") != 0) continue;
        lua_pushvalue(L, 3);
        lua_pushvalue(L, 2);
        lua_rawset(L, 1);
    }
    lua_settop(L, 1);
}

static void check_outcome(bool is_good, struct task_definition *definition, const struct err *err)
{
    if (is_good) {
        check_definition(definition);
        definition_close(definition);
    } else {
        require_refusal(err);
        require(strstr(err->text, FILE_NAME));
    }
}

static bool read_file(struct vm *vm, const uint8_t *data, size_t size,
                      struct task_definition *definition, struct err *err)
{
    struct vm_source source = { .file = FILE_NAME, .bytes = (const char *)data, .len = size };
    struct buf warnings = BUF_EMPTY;
    bool used[1] = { false };
    bool good = vm_analyse(vm, &source, used, &warnings, err) && vm_load(vm, &source, err) &&
                definition_read(vm->L, FILE_NAME, 1000000, definition, err);
    json_t *list = json_loadb(buf_text(&warnings), warnings.len, 0, NULL);
    require(!good || json_is_array(list));
    json_decref(list);
    buf_close(&warnings);
    return good;
}

static void check_definition(struct task_definition *definition)
{
    struct buf text = BUF_EMPTY;
    struct jsonw w;
    require(task_name_is_valid(definition->name));
    require(!definition->queue || queue_name_is_valid(definition->queue));
    require(definition->priority >= 0 && definition->priority <= 10);
    require(definition->timeout_us == -1 || definition->timeout_us > 0);
    require(definition->retry.max >= 0 && definition->max_losses >= 0);
    jsonw_init(&w, &text);
    definition_write(definition, &w);
    json_t *entry = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    require(json_is_object(entry) && json_is_object(json_object_get(entry, "schema")));
    require(json_array_size(json_object_get(entry, "tags")) <= TASK_TAGS_MAX);
    json_decref(entry);
    buf_close(&text);
}
