/* codec_encode.c: Lua value -> JSON text that gives the same value back, or a refusal that names
 * the culprit by its path.
 *
 * Tables are read raw: metamethods never run, so encoding cannot run a task's code. Whether a table
 * is an array is settled before anything of it is written. The path is a chain of C frames, one per
 * level, spelled out only when something is refused. */
#include "script/codec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/utf8.h"

#define DEPTH_MAX    64
#define EXACT_MAX    9007199254740992.0 /* 2^53 */
#define PATH_MAX_LEN 300

static char array_metatable; /* its address is the key in the registry */

struct place {
    const struct place *parent; /* NULL: the value itself */
    const char *key;            /* or NULL, then index */
    size_t index;
};

struct writer {
    lua_State *L;
    struct buf *out;
    size_t start, max;
    int depth;
    bool is_exact; /* numbers beyond 2^53 are refused */
    bool is_full;  /* there is no memory for all of it */
    struct err *err;
};

static bool encode(struct writer *w, int index);
static bool write_value(struct writer *w, int index, const struct place *place);
static bool write_number(struct writer *w, double value, const struct place *place);
static bool reads_back(const char *text, double value);
static bool write_string(struct writer *w, int index, const struct place *place);
static void add_quoted(struct writer *w, const char *text, size_t len);
static void add_escape(struct writer *w, unsigned char c);
static void put(struct writer *w, const char *text, size_t len);
static void put_text(struct writer *w, const char *text);
static void put_char(struct writer *w, char c);
static bool write_table(struct writer *w, int index, const struct place *place);
static bool write_array(struct writer *w, int index, size_t count, const struct place *place);
static bool is_proper_array(struct writer *w, int index, size_t count, const struct place *place);
static bool write_object(struct writer *w, int index, const struct place *place);
static bool write_key(struct writer *w, const struct place *place);
static bool is_marked_array(lua_State *L, int index);
static bool fits(struct writer *w, size_t more);
static bool refuse(struct writer *w, const struct place *place, const char *what);
static void spell_path(const struct place *place, struct buf *out);
static bool is_plain_name(const char *key);

void codec_open(lua_State *L)
{
    lua_pushlightuserdata(L, &array_metatable);
    lua_newtable(L);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable"); /* shared by all tasks: out of their reach */
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void codec_mark_array(lua_State *L, int index)
{
    lua_pushvalue(L, index);
    lua_pushlightuserdata(L, &array_metatable);
    lua_rawget(L, LUA_REGISTRYINDEX); /* stack: table, metatable */
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

bool codec_encode(lua_State *L, int index, size_t max, struct buf *out, struct err *err)
{
    struct writer w = { .L = L, .out = out, .start = out->len, .max = max, .err = err };
    return encode(&w, index);
}

bool codec_encode_exact(lua_State *L, int index, size_t max, struct buf *out, struct err *err)
{
    struct writer w = {
        .L = L, .out = out, .start = out->len, .max = max, .is_exact = true, .err = err
    };
    return encode(&w, index);
}

static bool encode(struct writer *w, int index)
{
    lua_State *L = w->L;
    if (index < 0 && index > LUA_REGISTRYINDEX) index = lua_gettop(L) + index + 1;
    if (!lua_checkstack(L, DEPTH_MAX * 3 + 16))
        return err_set(w->err, ERR_DATA, "the Lua stack is full");
    int top = lua_gettop(L);
    bool is_good = write_value(w, index, NULL);
    lua_settop(L, top);
    return is_good;
}

static bool write_value(struct writer *w, int index, const struct place *place)
{
    switch (lua_type(w->L, index)) {
    case LUA_TNIL: put_text(w, "null"); break;
    case LUA_TBOOLEAN: put_text(w, lua_toboolean(w->L, index) ? "true" : "false"); break;
    case LUA_TNUMBER: return write_number(w, lua_tonumber(w->L, index), place);
    case LUA_TSTRING: return write_string(w, index, place);
    case LUA_TTABLE: return write_table(w, index, place);
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(w->L, index)) return refuse(w, place, "userdata cannot be stored");
        put_text(w, "null");
        break;
    case LUA_TFUNCTION: return refuse(w, place, "a function cannot be stored");
    case LUA_TTHREAD: return refuse(w, place, "a coroutine cannot be stored");
    default: return refuse(w, place, "userdata cannot be stored");
    }
    return fits(w, 0);
}

/* Integers beyond 2^53 get an exponent, so that no reader takes them for exact ones. */
static bool write_number(struct writer *w, double value, const struct place *place)
{
    if (isnan(value)) return refuse(w, place, "NaN cannot be stored");
    if (isinf(value)) return refuse(w, place, "infinity cannot be stored");
    if (w->is_exact && fabs(value) > EXACT_MAX)
        return refuse(w, place, "a number beyond 2^53 may have lost digits (return it as text)");
    char text[64];
    double whole = trunc(value);
    if (!(whole < value) && !(whole > value) && fabs(value) <= EXACT_MAX &&
        (value < 0 || !signbit(value))) {
        snprintf(text, sizeof text, "%.0f", value);
    } else {
        int digits = isnormal(value) ? 15 : 1; /* 15 always survive, except of the tiny ones */
        while (snprintf(text, sizeof text, "%.*g", digits, value), !reads_back(text, value))
            digits++;
        if (fabs(value) > EXACT_MAX && !strchr(text, 'e'))
            snprintf(text, sizeof text, "%.*e", digits - 1, value);
    }
    put_text(w, text);
    return fits(w, 0);
}

static bool reads_back(const char *text, double value)
{
    double back = strtod(text, NULL);
    return !(back < value) && !(back > value);
}

static bool write_string(struct writer *w, int index, const struct place *place)
{
    size_t len;
    const char *text = lua_tolstring(w->L, index, &len);
    if (!fits(w, len + 2)) return false;
    if (!utf8_is_valid(text, len))
        return refuse(w, place, "text that is not UTF-8 cannot be stored");
    if (memchr(text, '\0', len)) return refuse(w, place, "text with a NUL byte cannot be stored");
    add_quoted(w, text, len);
    return fits(w, 0);
}

static void add_quoted(struct writer *w, const char *text, size_t len)
{
    size_t plain = 0; /* start of the run that needs no change */
    put_char(w, '"');
    for (size_t at = 0; at < len; at++) {
        unsigned char c = (unsigned char)text[at];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        put(w, text + plain, at - plain);
        add_escape(w, c);
        plain = at + 1;
    }
    put(w, text + plain, len - plain);
    put_char(w, '"');
}

static void add_escape(struct writer *w, unsigned char c)
{
    char code[8];
    switch (c) {
    case '"': put_text(w, "\\\""); break;
    case '\\': put_text(w, "\\\\"); break;
    case '\n': put_text(w, "\\n"); break;
    case '\r': put_text(w, "\\r"); break;
    case '\t': put_text(w, "\\t"); break;
    default: snprintf(code, sizeof code, "\\u%04x", c); put_text(w, code);
    }
}

static void put(struct writer *w, const char *text, size_t len)
{
    w->is_full = w->is_full || !buf_try_add(w->out, text, len);
}

static void put_text(struct writer *w, const char *text) { put(w, text, strlen(text)); }

static void put_char(struct writer *w, char c) { put(w, &c, 1); }

static bool write_table(struct writer *w, int index, const struct place *place)
{
    if (++w->depth > DEPTH_MAX)
        return refuse(w, place, "nested deeper than 64 levels (or it holds itself)");
    size_t count = lua_objlen(w->L, index);
    bool is_good = count > 0 || is_marked_array(w->L, index) ? write_array(w, index, count, place)
                                                             : write_object(w, index, place);
    w->depth--;
    return is_good;
}

static bool write_array(struct writer *w, int index, size_t count, const struct place *place)
{
    if (!is_proper_array(w, index, count, place)) return false;
    put_char(w, '[');
    for (size_t i = 1; i <= count; i++) {
        struct place item = { .parent = place, .index = i };
        if (i > 1) put_char(w, ',');
        lua_rawgeti(w->L, index, (int)i);
        if (!write_value(w, lua_gettop(w->L), &item)) return false;
        lua_pop(w->L, 1);
    }
    put_char(w, ']');
    return fits(w, 0);
}

/* The length operator may answer any border: only counting tells. */
static bool is_proper_array(struct writer *w, int index, size_t count, const struct place *place)
{
    size_t seen = 0;
    for (lua_pushnil(w->L); lua_next(w->L, index); lua_pop(w->L, 1), seen++) {
        if (lua_type(w->L, -2) != LUA_TNUMBER)
            return refuse(w, place, "a table with both a list and named fields cannot be stored");
        double key = lua_tonumber(w->L, -2);
        if (key < 1 || key > (double)count || floor(key) < key)
            return refuse(w, place, "a list with holes cannot be stored (use json.null)");
    }
    if (seen != count)
        return refuse(w, place, "a list with holes cannot be stored (use json.null)");
    return true;
}

static bool write_object(struct writer *w, int index, const struct place *place)
{
    bool is_first = true;
    put_char(w, '{');
    for (lua_pushnil(w->L); lua_next(w->L, index); lua_pop(w->L, 1)) {
        if (!is_first) put_char(w, ',');
        is_first = false;
        if (!write_key(w, place)) return false; /* stack: ..., key, value */
        struct place member = { .parent = place, .key = lua_tostring(w->L, -2) };
        if (!write_value(w, lua_gettop(w->L), &member)) return false;
    }
    put_char(w, '}');
    return fits(w, 0);
}

static bool write_key(struct writer *w, const struct place *place)
{
    switch (lua_type(w->L, -2)) {
    case LUA_TSTRING: break;
    case LUA_TNUMBER: return refuse(w, place, "a list with holes cannot be stored (use json.null)");
    default: return refuse(w, place, "a key that is neither text nor a position cannot be stored");
    }
    if (!write_string(w, lua_gettop(w->L) - 1, place)) return err_wrap(w->err, "in a key");
    put_char(w, ':');
    return true;
}

static bool is_marked_array(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index)) return false;
    lua_pushlightuserdata(L, &array_metatable);
    lua_rawget(L, LUA_REGISTRYINDEX);
    bool is_marked = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is_marked;
}

static bool fits(struct writer *w, size_t more)
{
    if (w->is_full) return err_set(w->err, ERR_NOMEM, "not enough memory");
    if (w->max == 0 || w->out->len - w->start + more <= w->max) return true;
    return err_set(w->err, ERR_TOO_LARGE, "larger than %zu bytes as JSON", w->max);
}

static bool refuse(struct writer *w, const struct place *place, const char *what)
{
    struct buf path = BUF_EMPTY;
    if (place) spell_path(place, &path);
    err_set(w->err, ERR_DATA, "%s%s%s", buf_text(&path), place ? ": " : "", what);
    buf_close(&path);
    return false;
}

static void spell_path(const struct place *place, struct buf *out)
{
    if (place->parent) spell_path(place->parent, out);
    if (out->len > PATH_MAX_LEN) return;
    if (!place->key) {
        buf_addf(out, "[%zu]", place->index);
    } else if (is_plain_name(place->key)) {
        if (out->len > 0) buf_add_char(out, '.');
        utf8_add_clean(out, place->key, strlen(place->key), 100);
    } else {
        buf_add_text(out, "[\"");
        utf8_add_clean(out, place->key, strlen(place->key), 100);
        buf_add_text(out, "\"]");
    }
}

static bool is_plain_name(const char *key)
{
    if (!*key || (*key >= '0' && *key <= '9')) return false;
    for (; *key; key++) {
        char c = *key;
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!is_letter && (c < '0' || c > '9')) return false;
    }
    return true;
}
