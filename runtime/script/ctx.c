/* ctx.c: the first argument of execute and of the hooks. Its functions act on the run that is on
 * the CPU, so all runs share them; ctx.f(x) and ctx:f(x) are told apart by the metatable of the
 * first argument.
 *
 * fatal, retry_in and snooze decide how the run ends and then yield for good: the run is never
 * resumed, so nothing can catch it. Where that is impossible they raise; the decision stands
 * anyway. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "script/codec.h"
#include "script/describe.h"
#include "script/run_state.h"

#define METADATA_MAX 65536

static char metatable_key;

static void set_text(lua_State *L, const char *name, const char *text);
static void set_integer(lua_State *L, const char *name, int64_t value);
static void set_times(lua_State *L, const struct run *run);
static struct run *enter(lua_State *L);
static int ctx_progress(lua_State *L);
static void take_metadata(lua_State *L, struct run *run, int index);
static int ctx_log(lua_State *L);
static int ctx_info(lua_State *L);
static int ctx_warn(lua_State *L);
static int log_value(lua_State *L, struct run *run, const char *level, int index);
static int ctx_sleep(lua_State *L);
static int ctx_cancelled(lua_State *L);
static int ctx_fatal(lua_State *L);
static int ctx_retry_in(lua_State *L);
static int ctx_snooze(lua_State *L);
static int end_run(lua_State *L);

static const luaL_Reg functions[] = {
    { "progress", ctx_progress }, { "log", ctx_log },           { "info", ctx_info },
    { "warn", ctx_warn },         { "sleep", ctx_sleep },       { "cancelled", ctx_cancelled },
    { "fatal", ctx_fatal },       { "retry_in", ctx_retry_in }, { "snooze", ctx_snooze },
};

void ctx_open(lua_State *L)
{
    lua_pushlightuserdata(L, &metatable_key);
    lua_newtable(L);
    lua_newtable(L); /* stack: key, metatable, functions */
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        lua_pushcfunction(L, functions[i].func);
        run_wrap(L);
        environment_push_part(L, PART_NAME);
        lua_pushvalue(L, -2);
        lua_pushfstring(L, "ctx.%s", functions[i].name);
        lua_call(L, 2, 0);
        lua_setfield(L, -2, functions[i].name);
    }
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_rawset(L, LUA_REGISTRYINDEX);
}

/* stack: - params, + ctx */
void ctx_push(lua_State *L, struct run *run)
{
    char id[IDENT_TEXT_SIZE];
    lua_newtable(L);
    lua_insert(L, -2);
    lua_setfield(L, -2, "params");
    ident_text(&run->id, id);
    set_text(L, "id", id);
    set_text(L, "name", run->name);
    set_text(L, "queue", run->queue);
    set_text(L, "worker", run->worker);
    set_integer(L, "priority", run->priority);
    set_integer(L, "attempt", run->attempt);
    set_integer(L, "failures", run->failures);
    set_integer(L, "max_attempts", run->max_attempts);
    set_times(L, run);
    lua_pushlightuserdata(L, &metatable_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_setmetatable(L, -2);
}

static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, int64_t value)
{
    lua_pushnumber(L, (double)value);
    lua_setfield(L, -2, name);
}

static void set_times(lua_State *L, const struct run *run)
{
    lua_pushnumber(L, (double)run->created_at_us / 1e6);
    lua_setfield(L, -2, "created_at");
    if (run->deadline_us == INT64_MAX) return;
    int64_t left = run->deadline_us - clock_boot_us();
    lua_pushnumber(L, (double)(clock_wall_us() + left) / 1e6);
    lua_setfield(L, -2, "deadline");
}

/* Takes ctx itself off the arguments, if it was called as a method. */
static struct run *enter(lua_State *L)
{
    struct run *run = run_current(L);
    if (!run) luaL_error(L, "ctx is used while no task runs");
    if (lua_istable(L, 1) && lua_getmetatable(L, 1)) {
        lua_pushlightuserdata(L, &metatable_key);
        lua_rawget(L, LUA_REGISTRYINDEX);
        bool is_ctx = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
        if (is_ctx) lua_remove(L, 1);
    }
    return run;
}

static int ctx_progress(lua_State *L)
{
    struct run *run = enter(L);
    luaL_argcheck(L, lua_type(L, 1) == LUA_TNUMBER, 1, "a number from 0 to 100 expected");
    double percent = lua_tonumber(L, 1);
    luaL_argcheck(L, isfinite(percent), 1, "a number from 0 to 100 expected");
    if (!lua_isnoneornil(L, 2)) take_metadata(L, run, 2);
    run_progress(run, percent < 0 ? 0 : percent > 100 ? 100 : percent);
    return 0;
}

static void take_metadata(lua_State *L, struct run *run, int index)
{
    struct buf json = BUF_EMPTY;
    struct err err;
    luaL_argcheck(L, lua_istable(L, index), index, "metadata must be a table");
    if (!codec_encode(L, index, METADATA_MAX, &json, &err)) {
        buf_close(&json);
        lua_pushfstring(L, "metadata: %s", err.text);
        luaL_argerror(L, index, lua_tostring(L, -1));
    }
    free(run->metadata);
    run->metadata = buf_take(&json);
}

static int ctx_log(lua_State *L)
{
    static const char *const levels[] = { "error", "warn", "info", "debug", NULL };
    struct run *run = enter(L);
    return log_value(L, run, levels[luaL_checkoption(L, 1, NULL, levels)], 2);
}

static int ctx_info(lua_State *L) { return log_value(L, enter(L), "info", 1); }

static int ctx_warn(lua_State *L) { return log_value(L, enter(L), "warn", 1); }

static int log_value(lua_State *L, struct run *run, const char *level, int index)
{
    size_t len;
    luaL_checkany(L, index);
    if (!lua_isstring(L, index)) { /* what tostring makes of it */
        lua_getglobal(L, "tostring");
        lua_pushvalue(L, index);
        lua_call(L, 1, 1);
        lua_replace(L, index);
    }
    const char *text = lua_tolstring(L, index, &len);
    run_log(run, level, text, len);
    return 0;
}

static int ctx_sleep(lua_State *L)
{
    enter(L);
    return run_sleep(L, run_check_duration(L, 1));
}

static int ctx_cancelled(lua_State *L)
{
    lua_pushboolean(L, enter(L)->is_cancelled);
    return 1;
}

static int ctx_fatal(lua_State *L)
{
    struct run *run = enter(L);
    bool has_message = !lua_isnoneornil(L, 1), has_details = !lua_isnoneornil(L, 2);
    if (has_details) {
        struct buf json = BUF_EMPTY;
        struct err err;
        bool is_good = codec_encode(L, 2, DETAILS_MAX, &json, &err);
        buf_close(&json);
        if (!is_good) return luaL_error(L, "details: %s", err.text);
    }
    describe_traceback(L, L, 3, &run->traceback); /* behind this, pcall and the wrapper */
    run_decide_value(L, run, END_FATAL, has_message ? 1 : 0, has_details ? 2 : 0);
    return end_run(L);
}

static int ctx_retry_in(lua_State *L)
{
    struct run *run = enter(L);
    int64_t delay_us = run_check_duration(L, 1);
    describe_traceback(L, L, 3, &run->traceback);
    run->delay_us = delay_us;
    run_decide_value(L, run, END_RETRY_IN, lua_isnoneornil(L, 2) ? 0 : 2, 0);
    return end_run(L);
}

static int ctx_snooze(lua_State *L)
{
    struct run *run = enter(L);
    run->delay_us = run_check_duration(L, 1);
    if (lua_isstring(L, 2)) {
        lua_pushfstring(L, "snoozed: %s", lua_tostring(L, 2));
        log_value(L, run, "info", lua_gettop(L));
    }
    run_decide(run, END_SNOOZED);
    return end_run(L);
}

static int end_run(lua_State *L)
{
    if (!lua_isyieldable(L)) return luaL_error(L, "the run has ended");
    lua_pushlightuserdata(L, &vm_tag_wait);
    return lua_yield(L, 1);
}
