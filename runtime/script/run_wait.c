/* run_wait.c: waiting, waking, and what a run acquired.
 *
 * A wait yields vm_tag_wait, which the task's own coroutines pass up to run.c. Its end only queues
 * the run; the values are pushed when it is resumed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "script/run_state.h"

#define DURATION_MAX_S (10.0 * 365 * 86400)

struct run_cleanup {
    struct list node;
    void (*undo)(void *arg);
    void *arg;
};

static void push_refusal(lua_State *L);
static void push_function_name(lua_State *L, lua_Debug *frame);
static bool is_transparent(lua_State *L);
static bool push_library_name(lua_State *L);
static int push_nothing(lua_State *L, struct run_wait *wait);
static void abandon_sleep(struct run_wait *wait);

int run_wait(lua_State *L, struct run_wait *wait)
{
    struct run *run = run_current(L);
    wait->run = run;
    wait->pending = false;
    if (!lua_isyieldable(L)) {
        wait->abandon(wait);
        push_refusal(L);
        return luaL_error(L, "%s", lua_tostring(L, -1));
    }
    if (run->wait) run_abandon(run); /* an error on its way up cut it off */
    if (run->is_cancelled) {
        wait->abandon(wait);
        lua_pushlightuserdata(L, &vm_tag_raise);
        lua_pushliteral(L, "cancelled");
        lua_pushinteger(L, 0);
        return 3;
    }
    wait->pending = true;
    run->wait = wait;
    lua_pushlightuserdata(L, &vm_tag_wait);
    return lua_yield(L, 1);
}

/* Names the C function in whose callback the task tried to wait. */
static void push_refusal(lua_State *L)
{
    lua_Debug frame;
    for (int level = 1; lua_getstack(L, level, &frame); level++) {
        lua_getinfo(L, "nSf", &frame); /* stack: function */
        if (strcmp(frame.what, "C") == 0 && !is_transparent(L)) {
            push_function_name(L, &frame);
            lua_pushfstring(L, "cannot wait inside %s (a C function that calls back)",
                            lua_tostring(L, -1));
            return;
        }
        lua_pop(L, 1);
    }
    lua_pushliteral(L, "cannot wait inside the handler of xpcall");
}

int run_refuse(lua_State *L)
{
    struct run *run = run_current(L);
    if (run->is_decided) {
        lua_pushliteral(L, "the run has ended");
        return 1;
    }
    run_abandon(run);
    push_refusal(L);
    return 1;
}

/* pcall and xpcall let waits through; error calls nothing back but a handler. stack: function */
static bool is_transparent(lua_State *L)
{
    static const char *const names[] = { "pcall", "xpcall", "error" };
    bool is_found = false;
    for (size_t i = 0; i < COUNT_OF(names) && !is_found; i++) {
        lua_getglobal(L, names[i]);
        is_found = lua_rawequal(L, -1, -2);
        lua_pop(L, 1);
    }
    return is_found;
}

/* stack: function, + name */
static void push_function_name(lua_State *L, lua_Debug *frame)
{
    if (!push_library_name(L)) lua_pushstring(L, frame->name ? frame->name : "a C function");
}

/* stack: function, + "table.sort" if it is one of the standard ones */
static bool push_library_name(lua_State *L)
{
    static const char *const libraries[] = { "table", "string", "debug" };
    int function = lua_gettop(L);
    for (size_t i = 0; i < COUNT_OF(libraries); i++) {
        lua_getglobal(L, libraries[i]);
        for (lua_pushnil(L); lua_next(L, function + 1); lua_pop(L, 1)) {
            if (!lua_rawequal(L, -1, function)) continue;
            lua_pushfstring(L, "%s.%s", libraries[i], lua_tostring(L, -2));
            lua_replace(L, function + 1);
            lua_settop(L, function + 1);
            return true;
        }
        lua_settop(L, function);
    }
    return false;
}

void run_wake(struct run_wait *wait, int (*push)(lua_State *L, struct run_wait *wait),
              void (*release)(struct run_wait *wait))
{
    struct run *run = wait->run;
    wait->pending = false;
    run->wait = NULL;
    run->push = push;
    run->release = release;
    run->woken = wait;
    run_make_ready(run);
}

/* Whatever of the wait is still there: pending, or woken and not delivered. */
void run_abandon(struct run *run)
{
    struct run_wait *wait = run->wait;
    run->wait = NULL;
    if (wait) {
        wait->pending = false;
        wait->abandon(wait);
    }
    if (run->woken && run->release) run->release(run->woken);
    run->woken = NULL;
    run->release = NULL;
    run->push = NULL;
}

void run_wrap(lua_State *L)
{
    environment_push_part(L, PART_WRAP);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
}

int run_sleep(lua_State *L, int64_t us)
{
    struct run *run = run_current(L);
    if (!run) return luaL_error(L, "cannot wait while a file loads");
    run->sleep.abandon = abandon_sleep;
    timer_start(&run->sleep_timer, us);
    return run_wait(L, &run->sleep);
}

static void abandon_sleep(struct run_wait *wait) { timer_stop(&wait->run->sleep_timer); }

void run_on_sleep_over(struct timer *timer)
{
    struct run *run = container_of(timer, struct run, sleep_timer);
    if (run->sleep.pending) run_wake(&run->sleep, push_nothing, NULL);
}

static int push_nothing(lua_State *L, struct run_wait *wait)
{
    (void)L;
    (void)wait;
    return 0;
}

int64_t run_check_duration(lua_State *L, int index)
{
    int64_t us;
    struct err err;
    if (lua_type(L, index) == LUA_TNUMBER) {
        double seconds = lua_tonumber(L, index);
        if (seconds >= 0 && seconds <= DURATION_MAX_S) return llround(seconds * 1e6);
        luaL_argerror(L, index, "a duration of 0 seconds to 10 years expected");
    }
    const char *text = luaL_checkstring(L, index);
    if (duration_parse(text, &us, &err)) return us;
    lua_pushstring(L, err.text);
    luaL_argerror(L, index, lua_tostring(L, -1));
    return 0;
}

struct run_cleanup *run_defer(struct run *run, void (*undo)(void *arg), void *arg)
{
    struct run_cleanup *cleanup = xcalloc(1, sizeof *cleanup);
    cleanup->undo = undo;
    cleanup->arg = arg;
    list_push_back(&run->cleanups, &cleanup->node);
    return cleanup;
}

void run_undefer(struct run *run, struct run_cleanup *cleanup)
{
    (void)run;
    list_del(&cleanup->node);
    free(cleanup);
}

/* In reverse; an undo may register or forget others. */
void run_clean_up(struct run *run)
{
    while (!list_is_empty(&run->cleanups)) {
        struct run_cleanup *cleanup = container_of(run->cleanups.prev, struct run_cleanup, node);
        list_del(&cleanup->node);
        cleanup->undo(cleanup->arg);
        free(cleanup);
    }
}
