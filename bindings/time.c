/* time.c: ctutor.time: seconds since 1970, their text, durations, sleep. */
#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bindings/bind.h"

#define YEAR_10000_S 253402300800.0
#define YEAR_0_S     (-62167219200.0)

static void push_seconds(lua_State *L, int64_t us) { lua_pushnumber(L, (double)us / 1e6); }

static int bind_time_now(lua_State *L)
{
    push_seconds(L, clock_wall_us());
    return 1;
}

static int bind_time_monotonic(lua_State *L)
{
    push_seconds(L, clock_mono_us());
    return 1;
}

/* iso([seconds]): RFC 3339 in UTC with milliseconds; without an argument the present moment. */
static int bind_time_iso(lua_State *L)
{
    char text[TIME_TEXT_SIZE];
    int64_t us = clock_wall_us();
    if (!lua_isnoneornil(L, 1)) {
        double seconds = luaL_checknumber(L, 1);
        /* Written so that NaN is refused too. */
        if (!(seconds >= YEAR_0_S && seconds < YEAR_10000_S)) {
            return luaL_argerror(L, 1, "a time lies between the years 0 and 9999");
        }
        us = (int64_t)floor(seconds * 1e6 + 0.5);
    }
    time_text(us, text);
    lua_pushstring(L, text);
    return 1;
}

static int bind_time_parse(lua_State *L)
{
    struct err err;
    int64_t us;
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    if (strlen(text) != len) return bind_fail(L, "EINVAL", "a time holds no NUL byte");
    if (!time_parse(text, &us, &err)) return bind_fail(L, "EINVAL", err.text);
    push_seconds(L, us);
    return 1;
}

/* duration("5m") -> 300: for a task's own parameters. */
static int bind_time_duration(lua_State *L)
{
    push_seconds(L, run_check_duration(L, 1));
    return 1;
}

static int bind_time_sleep(lua_State *L)
{
    bind_run(L, "ctutor.time.sleep");
    return run_sleep(L, run_check_duration(L, 1));
}

int bind_time_open(lua_State *L)
{
    static const struct bind_function functions[] = {
        { "now", bind_time_now, false },           { "monotonic", bind_time_monotonic, false },
        { "iso", bind_time_iso, false },           { "parse", bind_time_parse, false },
        { "duration", bind_time_duration, false }, { "sleep", bind_time_sleep, true },
    };
    bind_push_module(L, functions, COUNT_OF(functions));
    return 1;
}
