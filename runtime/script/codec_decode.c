/* codec_decode.c: strict RFC 8259 text -> Lua value, by recursive descent onto the Lua stack.
 *
 * The whole text is checked for UTF-8 once, before anything is made. An integer whose digits a
 * double would not give back is refused; so is a number that overflows. Every array carries the
 * array metatable, so that one that is emptied later still goes out as []. Of equal keys the last
 * one wins.
 */
#include "script/codec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/utf8.h"

#define DEPTH_MAX    64
#define EXACT_MAX    UINT64_C(9007199254740992) /* 2^53 */
#define DIGITS_MAX   17                         /* a double has no more to give back */
#define STACK_NEEDED (DEPTH_MAX * 3 + 64)       /* table and key per level; a string being built */

struct reader {
    lua_State *L;
    const char *start, *at, *end;
    int depth;
    struct err *err;
};

struct number_text {
    const char *start;
    size_t len, digits; /* digits: of the integer part */
    bool is_negative, is_integer;
};

static bool read_value(struct reader *r);
static bool read_object(struct reader *r);
static bool read_member(struct reader *r);
static bool read_array(struct reader *r);
static bool enter(struct reader *r);
static bool read_string(struct reader *r);
static bool read_escaped_string(struct reader *r);
static bool read_escape(struct reader *r, luaL_Buffer *text);
static bool read_unicode(struct reader *r, luaL_Buffer *text);
static bool read_hex(struct reader *r, unsigned *out);
static void add_character(luaL_Buffer *text, unsigned c);
static bool read_number(struct reader *r);
static bool scan_number(struct reader *r, struct number_text *number);
static size_t scan_digits(struct reader *r);
static bool push_number(struct reader *r, const struct number_text *number);
static bool is_kept_by_double(const struct number_text *number, double value);
static bool read_word(struct reader *r);
static bool take(struct reader *r, char c);
static void skip_space(struct reader *r);
static bool fail(struct reader *r, const char *what);

bool codec_decode(lua_State *L, const char *json, size_t len, struct err *err)
{
    struct reader r = { .L = L, .start = json, .at = json, .end = json + len, .err = err };
    if (!utf8_is_valid(json, len)) return err_set(err, ERR_DATA, "invalid JSON: not UTF-8");
    if (!lua_checkstack(L, STACK_NEEDED))
        return err_set(err, ERR_DATA, "invalid JSON: the stack is full");
    int top = lua_gettop(L);
    bool is_good = read_value(&r);
    skip_space(&r);
    if (is_good && r.at < r.end) is_good = fail(&r, "expected the end");
    if (!is_good) lua_settop(L, top);
    return is_good;
}

static bool read_value(struct reader *r)
{
    skip_space(r);
    if (r->at == r->end) return fail(r, "unexpected end");
    switch (*r->at) {
    case '{': return read_object(r);
    case '[': return read_array(r);
    case '"': return read_string(r);
    case 't':
    case 'f':
    case 'n': return read_word(r);
    default: return read_number(r);
    }
}

/* stack: -, + object */
static bool read_object(struct reader *r)
{
    if (!enter(r)) return false;
    lua_newtable(r->L);
    if (!take(r, '}')) {
        do {
            if (!read_member(r)) return false;
        } while (take(r, ','));
        if (!take(r, '}')) return fail(r, "expected ',' or '}'");
    }
    r->depth--;
    return true;
}

static bool read_member(struct reader *r)
{
    skip_space(r);
    if (r->at == r->end || *r->at != '"') return fail(r, "expected a key in double quotes");
    if (!read_string(r)) return false;
    if (!take(r, ':')) return fail(r, "expected ':'");
    if (!read_value(r)) return false;
    lua_rawset(r->L, -3); /* stack: object */
    return true;
}

/* stack: -, + array */
static bool read_array(struct reader *r)
{
    if (!enter(r)) return false;
    lua_newtable(r->L);
    codec_mark_array(r->L, -1);
    if (!take(r, ']')) {
        int count = 0;
        do {
            if (!read_value(r)) return false;
            lua_rawseti(r->L, -2, ++count);
        } while (take(r, ','));
        if (!take(r, ']')) return fail(r, "expected ',' or ']'");
    }
    r->depth--;
    return true;
}

static bool enter(struct reader *r)
{
    if (++r->depth > DEPTH_MAX) return fail(r, "nested deeper than 64 levels");
    r->at++;
    return true;
}

/* Nearly all strings have no escapes: they are found by their end and copied once. */
static bool read_string(struct reader *r)
{
    const char *start = r->at + 1;
    for (const char *at = start; at < r->end; at++) {
        if (*at == '"') {
            lua_pushlstring(r->L, start, (size_t)(at - start));
            r->at = at + 1;
            return true;
        }
        if (*at == '\\') return read_escaped_string(r);
        if ((unsigned char)*at < 0x20) {
            r->at = at;
            return fail(r, "control character in a string");
        }
    }
    return fail(r, "unfinished string");
}

static bool read_escaped_string(struct reader *r)
{
    luaL_Buffer text;
    luaL_buffinit(r->L, &text);
    const char *open = r->at++;
    while (r->at < r->end && *r->at != '"') {
        if ((unsigned char)*r->at < 0x20) return fail(r, "control character in a string");
        if (*r->at != '\\')
            luaL_addchar(&text, *r->at++);
        else if (!read_escape(r, &text))
            return false;
    }
    if (r->at == r->end) {
        r->at = open;
        return fail(r, "unfinished string");
    }
    r->at++;
    luaL_pushresult(&text);
    return true;
}

static bool read_escape(struct reader *r, luaL_Buffer *text)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    r->at++;
    if (r->at < r->end && *r->at == 'u') return read_unicode(r, text);
    const char *name = r->at < r->end && *r->at ? strchr(names, *r->at) : NULL;
    if (!name) return fail(r, "unknown escape");
    luaL_addchar(text, values[name - names]);
    r->at++;
    return true;
}

static bool read_unicode(struct reader *r, luaL_Buffer *text)
{
    unsigned c, low;
    if (!read_hex(r, &c)) return false;
    if (c >= 0xDC00 && c <= 0xDFFF) return fail(r, "lone surrogate");
    if (c >= 0xD800 && c <= 0xDBFF) {
        if (r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u')
            return fail(r, "lone surrogate");
        r->at++;
        if (!read_hex(r, &low)) return false;
        if (low < 0xDC00 || low > 0xDFFF) return fail(r, "lone surrogate");
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    add_character(text, c);
    return true;
}

/* at stands on the 'u'. */
static bool read_hex(struct reader *r, unsigned *out)
{
    unsigned value = 0;
    r->at++;
    for (int i = 0; i < 4; i++, r->at++) {
        char c = r->at < r->end ? *r->at : '\0';
        if (c >= '0' && c <= '9')
            value = value << 4 | (unsigned)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            value = value << 4 | (unsigned)((c | 0x20) - 'a' + 10);
        else
            return fail(r, "expected four hexadecimal digits");
    }
    *out = value;
    return true;
}

static void add_character(luaL_Buffer *text, unsigned c)
{
    if (c < 0x80) {
        luaL_addchar(text, (char)c);
        return;
    }
    if (c < 0x800) {
        luaL_addchar(text, (char)(0xC0 | c >> 6));
    } else {
        if (c < 0x10000) {
            luaL_addchar(text, (char)(0xE0 | c >> 12));
        } else {
            luaL_addchar(text, (char)(0xF0 | c >> 18));
            luaL_addchar(text, (char)(0x80 | (c >> 12 & 0x3F)));
        }
        luaL_addchar(text, (char)(0x80 | (c >> 6 & 0x3F)));
    }
    luaL_addchar(text, (char)(0x80 | (c & 0x3F)));
}

static bool read_number(struct reader *r)
{
    struct number_text number;
    return scan_number(r, &number) && push_number(r, &number);
}

static bool scan_number(struct reader *r, struct number_text *number)
{
    *number = (struct number_text){ .start = r->at, .is_integer = true };
    number->is_negative = *r->at == '-';
    if (number->is_negative) r->at++;
    const char *first = r->at;
    number->digits = scan_digits(r);
    if (number->digits == 0) return fail(r, "unexpected character");
    if (number->digits > 1 && *first == '0') return fail(r, "a number starts with 0");
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        number->is_integer = false;
        if (scan_digits(r) == 0) return fail(r, "expected a digit");
    }
    if (r->at < r->end && (*r->at | 0x20) == 'e') {
        r->at++;
        number->is_integer = false;
        if (r->at < r->end && (*r->at == '+' || *r->at == '-')) r->at++;
        if (scan_digits(r) == 0) return fail(r, "expected a digit");
    }
    number->len = (size_t)(r->at - number->start);
    return true;
}

static size_t scan_digits(struct reader *r)
{
    const char *start = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
    return (size_t)(r->at - start);
}

static bool push_number(struct reader *r, const struct number_text *number)
{
    if (number->is_integer && number->digits < 16) {
        int64_t value = 0;
        for (size_t i = number->is_negative; i < number->len; i++)
            value = value * 10 + (number->start[i] - '0');
        lua_pushnumber(r->L, number->is_negative ? -(double)value : (double)value);
        return true;
    }
    lua_pushlstring(r->L, number->start, number->len); /* strtod wants its end */
    double value = strtod(lua_tostring(r->L, -1), NULL);
    lua_pop(r->L, 1);
    if (!isfinite(value)) return fail(r, "a number is too large");
    if (number->is_integer && !is_kept_by_double(number, value))
        return fail(r, "an integer beyond 2^53 would lose digits (send it as text)");
    lua_pushnumber(r->L, value);
    return true;
}

/* Do the digits come back when the double is written with as many of them? */
static bool is_kept_by_double(const struct number_text *number, double value)
{
    if (fabs(value) < (double)EXACT_MAX) return true;
    const char *digits = number->start + number->is_negative;
    size_t significant = number->digits;
    while (significant > 1 && digits[significant - 1] == '0') significant--;
    if (significant > DIGITS_MAX) return false;
    char back[64];
    snprintf(back, sizeof back, "%.*e", (int)significant - 1, fabs(value));
    if (back[0] != digits[0]) return false;
    return significant == 1 || memcmp(back + 2, digits + 1, significant - 1) == 0;
}

static bool read_word(struct reader *r)
{
    static const char *const words[] = { "true", "false", "null" };
    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(words[i]);
        if ((size_t)(r->end - r->at) < len || memcmp(r->at, words[i], len) != 0) continue;
        r->at += len;
        if (i < 2)
            lua_pushboolean(r->L, i == 0);
        else
            lua_pushlightuserdata(r->L, NULL);
        return true;
    }
    return fail(r, "unknown word");
}

static bool take(struct reader *r, char c)
{
    skip_space(r);
    if (r->at == r->end || *r->at != c) return false;
    r->at++;
    return true;
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

static bool fail(struct reader *r, const char *what)
{
    return err_set(r->err, ERR_DATA, "invalid JSON at byte %zu: %s", (size_t)(r->at - r->start) + 1,
                   what);
}
