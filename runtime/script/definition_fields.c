/* definition_fields.c: the values of a task's fields. Tables are read raw, without metamethods, so
 * nothing of the task runs here. Messages do not name the field: the caller does. */
#include "script/definition.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/size.h"
#include "base/utf8.h"
#include "task/suggest.h"
#include "task/task.h"

#define RETRIES_MAX    1000000
#define DURATION_MAX_S (10.0 * 365 * 86400)

static bool read_retry_field(lua_State *L, const char *name, struct retry_policy *out,
                             struct err *err);
static bool read_backoff(lua_State *L, enum backoff *out, struct err *err);

bool field_text(lua_State *L, size_t max, char **out, struct err *err)
{
    size_t len;
    if (lua_type(L, -1) != LUA_TSTRING)
        return err_set(err, ERR_INPUT, "must be text, is a %s", luaL_typename(L, -1));
    const char *text = lua_tolstring(L, -1, &len);
    if (len == 0) return err_set(err, ERR_INPUT, "must not be empty");
    if (len > max) return err_set(err, ERR_INPUT, "must have at most %zu bytes", max);
    if (!utf8_is_valid(text, len) || memchr(text, '\0', len))
        return err_set(err, ERR_INPUT, "must be UTF-8 without NUL bytes");
    free(*out);
    *out = xstrdup(text);
    return true;
}

bool field_integer(lua_State *L, int64_t least, int64_t most, int64_t *out, struct err *err)
{
    double value = lua_tonumber(L, -1);
    bool is_good = lua_type(L, -1) == LUA_TNUMBER && !(floor(value) < value) &&
                   value >= (double)least && value <= (double)most;
    if (!is_good)
        return err_set(err, ERR_INPUT, "must be an integer from %lld to %lld", (long long)least,
                       (long long)most);
    *out = (int64_t)value;
    return true;
}

bool field_duration(lua_State *L, int64_t *us, struct err *err)
{
    if (lua_type(L, -1) == LUA_TSTRING) return duration_parse(lua_tostring(L, -1), us, err);
    double seconds = lua_tonumber(L, -1);
    if (lua_type(L, -1) != LUA_TNUMBER || !(seconds >= 0 && seconds <= DURATION_MAX_S))
        return err_set(err, ERR_INPUT, "must be a number of seconds or text such as \"5m\"");
    *us = llround(seconds * 1e6);
    return true;
}

/* A number of bytes, or text such as "256M". */
bool field_bytes(lua_State *L, int64_t least, int64_t most, int64_t *out, struct err *err)
{
    bool is_good = lua_type(L, -1) == LUA_TSTRING
                       ? size_parse(lua_tostring(L, -1), least, most, out)
                       : field_integer(L, least, most, out, NULL);
    return is_good || err_set(err, ERR_INPUT,
                              "must be a number of bytes or text such as \"256M\", from %lldM to "
                              "%lldG",
                              (long long)(least >> 20), (long long)(most >> 30));
}

/* A number, or a table. */
bool field_retries(lua_State *L, struct retry_policy *out, struct err *err)
{
    int64_t max;
    *out = RETRY_NONE;
    if (!lua_istable(L, -1)) {
        if (!field_integer(L, 0, RETRIES_MAX, &max, err))
            return err_set(err, ERR_INPUT,
                           "must be an integer from 0 to %d, or a table with max, "
                           "backoff, base, cap, jitter",
                           RETRIES_MAX);
        out->max = (int32_t)max;
        return true;
    }
    out->max = -1;
    int table = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) { /* stack: table, key, value */
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (!read_retry_field(L, name, out, err)) return false;
    }
    return out->max >= 0 || err_set(err, ERR_INPUT, "needs max, the number of retries");
}

static bool read_retry_field(lua_State *L, const char *name, struct retry_policy *out,
                             struct err *err)
{
    static const char *const known[] = { "max", "backoff", "base", "cap", "jitter" };
    int64_t max = 0;
    bool is_good;
    if (strcmp(name, "max") == 0) {
        is_good = field_integer(L, 0, RETRIES_MAX, &max, err);
        out->max = (int32_t)max;
    } else if (strcmp(name, "backoff") == 0) {
        is_good = read_backoff(L, &out->backoff, err);
    } else if (strcmp(name, "base") == 0) {
        is_good = field_duration(L, &out->base_us, err);
    } else if (strcmp(name, "cap") == 0) {
        is_good = field_duration(L, &out->cap_us, err);
    } else if (strcmp(name, "jitter") == 0) {
        out->jitter = lua_toboolean(L, -1);
        is_good = lua_isboolean(L, -1) || err_set(err, ERR_INPUT, "must be true or false");
    } else {
        return field_unknown(name, known, COUNT_OF(known), err);
    }
    return is_good || err_wrap(err, "%s", name);
}

static bool read_backoff(lua_State *L, enum backoff *out, struct err *err)
{
    static const char *const names[] = { "exponential", "linear", "fixed" };
    static const enum backoff values[] = { BACKOFF_EXPONENTIAL, BACKOFF_LINEAR, BACKOFF_FIXED };
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcmp(text, names[i]) != 0) continue;
        *out = values[i];
        return true;
    }
    return err_set(err, ERR_INPUT, "must be \"exponential\", \"linear\" or \"fixed\"");
}

bool field_tags(lua_State *L, struct buf *out, struct err *err)
{
    if (!lua_istable(L, -1)) return err_set(err, ERR_INPUT, "must be a list of texts");
    int table = lua_gettop(L);
    size_t count = lua_objlen(L, table), keys = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) keys++;
    if (keys != count) return err_set(err, ERR_INPUT, "must be a list of texts");
    if (count > TASK_TAGS_MAX)
        return err_set(err, ERR_INPUT, "must be at most %d, are %zu", TASK_TAGS_MAX, count);
    struct jsonw w;
    buf_clear(out);
    jsonw_init(&w, out);
    jsonw_array(&w);
    for (size_t i = 1; i <= count; i++) {
        char *tag = NULL;
        lua_rawgeti(L, table, (int)i);
        bool is_good = field_text(L, TASK_TAG_MAX, &tag, err) || err_wrap(err, "tag %zu", i);
        lua_pop(L, 1);
        if (is_good) jsonw_text(&w, tag);
        free(tag);
        if (!is_good) return false;
    }
    jsonw_array_end(&w);
    return true;
}

bool field_unknown(const char *name, const char *const *known, size_t count, struct err *err)
{
    struct suggestion near = { .word = name };
    for (size_t i = 0; i < count; i++) suggest_consider(&near, known[i]);
    if (near.nearest)
        return err_set(err, ERR_INPUT, "unknown field '%s'; did you mean '%s'?", name,
                       near.nearest);
    return err_set(err, ERR_INPUT, "unknown field '%s'", name);
}
