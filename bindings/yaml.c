/* yaml.c: ctutor.yaml.decode(text): one YAML 1.2 document with the core schema, read by libyaml.
 *
 * Sequences become marked arrays, null becomes json.null, the keys of a mapping are always texts
 * ("1" and "true" too), so that whatever comes out can go out as JSON, but for .inf, .nan and text
 * with "\0". Refused, with line:column:
 * aliases (a few lines of them grow without bound), tags beyond the core schema, keys that are no
 * scalars or repeat, integers beyond 2^53 (Lua would round them), nesting beyond 64, a second
 * document.
 *
 * Everything that libyaml holds lies in a userdata, because pushing values may raise when memory is
 * gone. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/mem.h"
#include "bindings/bind.h"
#include "script/codec.h"

#define READER_TYPE "ctutor.yaml.reader"
#define DEPTH_MAX   64
#define TEXT_MAX    ((size_t)16 << 20)
#define INTEGER_MAX 9007199254740992.0 /* 2^53 */

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the present one */
    bool open;
    char problem[300]; /* "3:7: ..." */
};

static struct reader *push_reader(lua_State *L, const char *text, size_t len);
static void reader_close(struct reader *reader);
static bool read_document(lua_State *L, struct reader *reader);

static int bind_yaml_decode(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    if (len > TEXT_MAX) return bind_fail(L, "EFBIG", "the text is longer than 16 MiB");
    struct reader *reader = push_reader(L, text, len);
    bool ok = read_document(L, reader);
    reader_close(reader);
    return ok ? 1 : bind_fail(L, "EINVAL", reader->problem);
}

int bind_yaml_open(lua_State *L)
{
    static const struct bind_function functions[] = { { "decode", bind_yaml_decode, false } };
    bind_push_module(L, functions, COUNT_OF(functions));
    return 1;
}

/* ---- the reader ---- */

static int on_reader_collected(lua_State *L)
{
    reader_close(lua_touserdata(L, 1));
    return 0;
}

static struct reader *push_reader(lua_State *L, const char *text, size_t len)
{
    struct reader *reader = lua_newuserdata(L, sizeof *reader);
    memset(reader, 0, sizeof *reader);
    if (luaL_newmetatable(L, READER_TYPE)) { /* stack: reader, metatable */
        lua_pushcfunction(L, on_reader_collected);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    if (yaml_parser_initialize(&reader->parser) == 0) luaL_error(L, "not enough memory");
    reader->open = true;
    yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader->parser, (const unsigned char *)text, len);
    return reader;
}

static void reader_close(struct reader *reader)
{
    if (!reader->open) return;
    reader->open = false;
    yaml_event_delete(&reader->event);
    yaml_parser_delete(&reader->parser);
}

static bool refuse(struct reader *reader, yaml_mark_t mark, const char *what)
{
    snprintf(reader->problem, sizeof reader->problem, "%zu:%zu: %s", mark.line + 1, mark.column + 1,
             what);
    return false;
}

/* libyaml says what it was doing ("while parsing a flow sequence") and what was wrong there. */
static bool refuse_syntax(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    const char *problem = parser->problem != NULL ? parser->problem : "not enough memory";
    /* The byte reader runs ahead and knows no line of its own: what was parsed last is nearest. */
    bool is_marked = parser->error == YAML_SCANNER_ERROR || parser->error == YAML_PARSER_ERROR;
    char what[200];
    snprintf(what, sizeof what, "%s%s%s", parser->context != NULL ? parser->context : "",
             parser->context != NULL ? ": " : "", problem);
    return refuse(reader, is_marked ? parser->problem_mark : parser->mark, what);
}

static bool next_event(struct reader *reader)
{
    yaml_event_delete(&reader->event);
    return yaml_parser_parse(&reader->parser, &reader->event) != 0 || refuse_syntax(reader);
}

/* ---- scalars ---- */

enum tag { TAG_NONE, TAG_TEXT, TAG_NULL, TAG_BOOL, TAG_INT, TAG_FLOAT, TAG_UNKNOWN };

static enum tag tag_of(const unsigned char *tag)
{
    static const struct {
        const char *name;
        enum tag tag;
    } known[] = {
        { YAML_STR_TAG, TAG_TEXT },  { "!", TAG_TEXT },         { YAML_NULL_TAG, TAG_NULL },
        { YAML_BOOL_TAG, TAG_BOOL }, { YAML_INT_TAG, TAG_INT }, { YAML_FLOAT_TAG, TAG_FLOAT },
    };
    if (tag == NULL) return TAG_NONE;
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (strcmp((const char *)tag, known[i].name) == 0) return known[i].tag;
    }
    return TAG_UNKNOWN;
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcmp(text, *words) == 0) return true;
    }
    return false;
}

static bool is_null(const char *text)
{
    static const char *const words[] = { "", "~", "null", "Null", "NULL", NULL };
    return is_one_of(text, words);
}

static bool parse_bool(const char *text, bool *value)
{
    static const char *const yes[] = { "true", "True", "TRUE", NULL };
    static const char *const no[] = { "false", "False", "FALSE", NULL };
    *value = is_one_of(text, yes);
    return *value || is_one_of(text, no);
}

static size_t skip_sign(const char *text) { return *text == '-' || *text == '+'; }

/* [-+]?[0-9]+ | 0o[0-7]+ | 0x[0-9a-fA-F]+ */
static bool parse_integer(const char *text, double *value)
{
    static const struct {
        const char *prefix, *digits;
        int base;
    } forms[] = { { "0o", "01234567", 8 }, { "0x", "0123456789abcdefABCDEF", 16 } };
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        if (strncmp(text, forms[i].prefix, 2) != 0) continue;
        const char *digits = text + 2;
        if (*digits == '\0' || digits[strspn(digits, forms[i].digits)] != '\0') return false;
        *value = (double)strtoull(digits, NULL, forms[i].base);
        return true;
    }
    const char *digits = text + skip_sign(text);
    if (*digits == '\0' || digits[strspn(digits, "0123456789")] != '\0') return false;
    *value = strtod(text, NULL);
    return true;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? | [-+]?\.inf | \.nan */
static bool parse_float(const char *text, double *value)
{
    static const char *const infinite[] = { ".inf", ".Inf", ".INF", NULL };
    static const char *const undefined[] = { ".nan", ".NaN", ".NAN", NULL };
    const char *at = text + skip_sign(text);
    *value = *text == '-' ? -__builtin_inf() : __builtin_inf();
    if (is_one_of(at, infinite)) return true;
    *value = __builtin_nan("");
    if (is_one_of(text, undefined)) return true;
    size_t before = strspn(at, "0123456789"), after = 0;
    at += before;
    if (*at == '.') {
        after = strspn(++at, "0123456789");
        at += after;
    }
    if (before + after == 0) return false;
    if (*at == 'e' || *at == 'E') {
        at += 1 + skip_sign(at + 1);
        size_t digits = strspn(at, "0123456789");
        if (digits == 0) return false;
        at += digits;
    }
    *value = strtod(text, NULL);
    return *at == '\0';
}

/* Plain text means what it looks like. */
static enum tag resolve(const char *text)
{
    bool flag;
    double number;
    if (is_null(text)) return TAG_NULL;
    if (parse_bool(text, &flag)) return TAG_BOOL;
    if (parse_integer(text, &number)) return TAG_INT;
    return parse_float(text, &number) ? TAG_FLOAT : TAG_TEXT;
}

static bool push_integer(lua_State *L, struct reader *reader, const char *text)
{
    double number;
    yaml_mark_t mark = reader->event.start_mark;
    if (!parse_integer(text, &number)) return refuse(reader, mark, "not an integer");
    if (number >= INTEGER_MAX || number <= -INTEGER_MAX) { /* 2^53 may be a rounded 2^53 + 1 */
        return refuse(reader, mark, "an integer beyond 2^53 loses digits: write it in quotes");
    }
    lua_pushnumber(L, number);
    return true;
}

static bool push_tagged(lua_State *L, struct reader *reader, enum tag tag, const char *text,
                        size_t len)
{
    bool flag;
    double number;
    yaml_mark_t mark = reader->event.start_mark;
    switch (tag) {
    case TAG_NULL:
        if (!is_null(text)) return refuse(reader, mark, "not a null");
        lua_pushlightuserdata(L, NULL);
        return true;
    case TAG_BOOL:
        if (!parse_bool(text, &flag)) return refuse(reader, mark, "neither true nor false");
        lua_pushboolean(L, flag);
        return true;
    case TAG_INT: return push_integer(L, reader, text);
    case TAG_FLOAT:
        if (!parse_float(text, &number)) return refuse(reader, mark, "not a number");
        lua_pushnumber(L, number);
        return true;
    case TAG_UNKNOWN: return refuse(reader, mark, "only the tags of the core schema are known");
    case TAG_NONE:
    case TAG_TEXT: break;
    }
    lua_pushlstring(L, text, len);
    return true;
}

static bool push_scalar(lua_State *L, struct reader *reader)
{
    const char *text = (const char *)reader->event.data.scalar.value;
    enum tag tag = tag_of(reader->event.data.scalar.tag);
    bool is_plain = reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (tag == TAG_NONE && is_plain) tag = resolve(text);
    return push_tagged(L, reader, tag, text, reader->event.data.scalar.length);
}

/* ---- structure ---- */

static bool push_node(lua_State *L, struct reader *reader, int depth);

static bool has_core_tag(const unsigned char *tag, const char *core)
{
    return tag == NULL || strcmp((const char *)tag, core) == 0 ||
           strcmp((const char *)tag, "!") == 0;
}

static bool push_sequence(lua_State *L, struct reader *reader, int depth)
{
    if (!has_core_tag(reader->event.data.sequence_start.tag, YAML_SEQ_TAG)) {
        return refuse(reader, reader->event.start_mark,
                      "only the tags of the core schema are known");
    }
    lua_newtable(L);
    codec_mark_array(L, lua_gettop(L));
    for (int i = 1;; i++) { /* stack: sequence */
        if (!next_event(reader)) return false;
        if (reader->event.type == YAML_SEQUENCE_END_EVENT) return true;
        if (!push_node(L, reader, depth)) return false;
        lua_rawseti(L, -2, i);
    }
}

static bool push_key(lua_State *L, struct reader *reader)
{
    yaml_mark_t mark = reader->event.start_mark;
    if (reader->event.type != YAML_SCALAR_EVENT) {
        return refuse(reader, mark, "a key is one word or text, nothing composed");
    }
    lua_pushlstring(L, (const char *)reader->event.data.scalar.value,
                    reader->event.data.scalar.length);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3); /* stack: mapping, key, what it holds already */
    bool is_new = lua_isnil(L, -1);
    lua_pop(L, 1);
    return is_new || refuse(reader, mark, "this key stands in its mapping twice");
}

static bool push_mapping(lua_State *L, struct reader *reader, int depth)
{
    if (!has_core_tag(reader->event.data.mapping_start.tag, YAML_MAP_TAG)) {
        return refuse(reader, reader->event.start_mark,
                      "only the tags of the core schema are known");
    }
    lua_newtable(L);
    for (;;) { /* stack: mapping */
        if (!next_event(reader)) return false;
        if (reader->event.type == YAML_MAPPING_END_EVENT) return true;
        if (!push_key(L, reader) || !next_event(reader)) return false;
        if (!push_node(L, reader, depth)) return false;
        lua_rawset(L, -3);
    }
}

/* Of the present event; on failure the stack is left as it is. */
static bool push_node(lua_State *L, struct reader *reader, int depth)
{
    yaml_mark_t mark = reader->event.start_mark;
    if (depth == DEPTH_MAX) return refuse(reader, mark, "nested deeper than 64 levels");
    luaL_checkstack(L, 8, "nested too deep");
    if (reader->event.type == YAML_SCALAR_EVENT) return push_scalar(L, reader);
    if (reader->event.type == YAML_SEQUENCE_START_EVENT) return push_sequence(L, reader, depth + 1);
    if (reader->event.type == YAML_MAPPING_START_EVENT) return push_mapping(L, reader, depth + 1);
    return refuse(reader, mark, "aliases are not supported");
}

/* Stream start, perhaps document start, node, document end; stream end. Nothing at all is null. */
static bool read_document(lua_State *L, struct reader *reader)
{
    if (!next_event(reader) || !next_event(reader)) return false;
    if (reader->event.type == YAML_STREAM_END_EVENT) {
        lua_pushlightuserdata(L, NULL);
        return true;
    }
    if (!next_event(reader) || !push_node(L, reader, 0)) return false;
    if (!next_event(reader) || !next_event(reader)) return false;
    if (reader->event.type == YAML_STREAM_END_EVENT) return true;
    return refuse(reader, reader->event.start_mark, "a second document");
}
