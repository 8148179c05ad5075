/* definition.c: the table that a task file returned -> struct task_definition, by one table of
 * fields. The parameters' table goes through JSON to the params module, which knows the schema
 * words. */
#include "script/definition.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "script/codec.h"
#include "task/task.h"

#define SUMMARY_MAX        1000
#define SCHEMA_MAX         (1024 * 1024)
#define PRIORITY_MAX       10
#define MAX_LOSSES_DEFAULT 3
#define MAX_LOSSES_MAX     1000
#define MEMORY_MIN         (INT64_C(4) << 20) /* the state itself and the libraries need some */
#define MEMORY_MAX         (INT64_C(1024) << 30)

struct reading {
    lua_State *L;
    struct task_definition *out;
    struct buf params; /* as JSON, empty: not given */
    bool additional_params, has_timeout;
    struct err *err;
};

struct field {
    const char *name;
    bool (*read)(struct reading *r); /* the value is on top; NULL: a later version's */
};

struct guarded_read {
    const char *file;
    struct task_definition *out;
    struct err *err;
    bool is_good;
};

static int read_protected(lua_State *L);
static bool read_table(struct reading *r, const char *file);
static bool read_fields(struct reading *r);
static bool read_field(struct reading *r, const char *name);
static bool finish(struct reading *r, const char *file);
static bool make_schema(struct reading *r);
static void keep_functions(struct reading *r);
static bool read_name(struct reading *r);
static bool read_summary(struct reading *r);
static bool read_queue(struct reading *r);
static bool read_priority(struct reading *r);
static bool read_timeout(struct reading *r);
static bool read_retries(struct reading *r);
static bool read_max_losses(struct reading *r);
static bool read_isolate(struct reading *r);
static bool read_memory(struct reading *r);
static bool read_tags(struct reading *r);
static bool read_params(struct reading *r);
static bool read_additional_params(struct reading *r);
static bool read_function(struct reading *r);
static void write_retry(const struct retry_policy *retry, struct jsonw *w);
static void write_hooks(unsigned hooks, struct jsonw *w);

static const struct field fields[] = {
    { "name", read_name },
    { "summary", read_summary },
    { "queue", read_queue },
    { "priority", read_priority },
    { "timeout", read_timeout },
    { "retries", read_retries },
    { "max_losses", read_max_losses },
    { "isolate", read_isolate },
    { "memory", read_memory },
    { "tags", read_tags },
    { "params", read_params },
    { "additional_params", read_additional_params },
    { "execute", read_function },
    { "on_success", read_function },
    { "on_retry", read_function },
    { "on_failure", read_function },
    { "concurrency", NULL },
    { "schedule", NULL },
    { "retention", NULL },
    { "celery", NULL },
};

static const struct {
    const char *field, *name;
    unsigned bit;
} hook_table[] = {
    { "on_success", "success", HOOK_SUCCESS },
    { "on_retry", "retry", HOOK_RETRY },
    { "on_failure", "failure", HOOK_FAILURE },
};

bool definition_read(lua_State *L, const char *file, int64_t default_timeout_us,
                     struct task_definition *out, struct err *err)
{
    struct guarded_read read = { .file = file, .out = out, .err = err };
    *out = (struct task_definition){ .file = xstrdup(file),
                                     .priority = TASK_PRIORITY_DEFAULT,
                                     .timeout_us = default_timeout_us,
                                     .retry = RETRY_NONE,
                                     .max_losses = MAX_LOSSES_DEFAULT };
    buf_add_text(&out->tags, "[]");
    lua_pushcfunction(L, read_protected);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, &read);
    if (lua_pcall(L, 2, 0, 0) != 0) {
        err_set(err, ERR_NOMEM, "%s: %s", file, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    if (read.is_good) return true;
    definition_close(out);
    return false;
}

/* stack: table, read */
static int read_protected(lua_State *L)
{
    struct guarded_read *read = lua_touserdata(L, 2);
    struct reading r = { .L = L, .out = read->out, .err = read->err };
    lua_settop(L, 1);
    read->is_good = read_table(&r, read->file) || err_wrap(read->err, "%s", read->file);
    buf_close(&r.params);
    return 0;
}

static bool read_table(struct reading *r, const char *file)
{
    if (!lua_istable(r->L, 1))
        return err_set(r->err, ERR_INPUT, "must return a table, returned %s",
                       lua_isnil(r->L, 1) ? "nothing" : luaL_typename(r->L, 1));
    lua_newtable(r->L); /* stack: table, functions */
    return read_fields(r) && finish(r, file);
}

static bool read_fields(struct reading *r)
{
    lua_State *L = r->L;
    for (lua_pushnil(L); lua_next(L, 1); lua_settop(L, 3)) { /* stack: ..., key, value */
        if (lua_type(L, 3) != LUA_TSTRING)
            return err_set(r->err, ERR_INPUT, "a task has named fields only, found a %s as a name",
                           luaL_typename(L, 3));
        const char *name = lua_tostring(L, 3);
        if (!read_field(r, name)) return false;
    }
    return true;
}

static bool read_field(struct reading *r, const char *name)
{
    const char *known[COUNT_OF(fields)];
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        known[i] = fields[i].name;
        if (strcmp(fields[i].name, name) != 0) continue;
        if (!fields[i].read)
            return err_set(r->err, ERR_INPUT, "field '%s' is not available in this version", name);
        return fields[i].read(r) || err_wrap(r->err, "field '%s'", name);
    }
    char shown[64]; /* of a name that nobody chose well */
    struct buf clean = BUF_EMPTY;
    utf8_add_clean(&clean, name, strlen(name), sizeof shown - 1);
    memcpy(shown, buf_text(&clean), clean.len + 1);
    buf_close(&clean);
    return field_unknown(shown, known, COUNT_OF(known), r->err);
}

/* stack: table, functions */
static bool finish(struct reading *r, const char *file)
{
    struct task_definition *out = r->out;
    if (!out->name) {
        size_t len = strlen(file);
        out->name = xstrndup(file, len > 4 ? len - 4 : len); /* without .lua */
        if (!task_name_is_valid(out->name))
            return err_set(r->err, ERR_INPUT, "'%s' is no valid task name; give the field 'name'",
                           out->name);
    }
    lua_getfield(r->L, 2, "execute");
    if (lua_isnil(r->L, -1))
        return err_set(r->err, ERR_INPUT,
                       "field 'execute' is missing: function(ctx, params) ... end");
    lua_pop(r->L, 1);
    if (!make_schema(r)) return err_wrap(r->err, "field 'params'");
    keep_functions(r);
    if (out->shown.memory) out->isolate = true;
    out->shown.name = out->name;
    out->shown.version = out->version;
    out->shown.schema_hash = out->schema_hash;
    return true;
}

static bool make_schema(struct reading *r)
{
    struct task_definition *out = r->out;
    struct digest digest;
    const char *json = r->params.len > 0 ? r->params.data : "{}";
    if (!params_schema_from_table(json, strlen(json), r->additional_params, &out->schema, r->err))
        return false;
    if (!params_schema_compile(out->schema.data, out->schema.len, &out->compiled, r->err))
        return false;
    digest_init(&digest);
    digest_add(&digest, out->schema.data, out->schema.len);
    digest_end_short(&digest, out->schema_hash);
    return codec_decode(r->L, out->schema.data, out->schema.len, r->err);
}

/* stack: table, functions, schema */
static void keep_functions(struct reading *r)
{
    lua_State *L = r->L;
    lua_setfield(L, 2, "schema");
    for (size_t i = 0; i < COUNT_OF(hook_table); i++) {
        lua_getfield(L, 2, hook_table[i].field);
        if (!lua_isnil(L, -1)) r->out->shown.hooks |= hook_table[i].bit;
        lua_pop(L, 1);
    }
    lua_pushlightuserdata(L, &r->out->functions);
    lua_insert(L, 2);
    lua_settop(L, 3); /* stack: table, key, functions */
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static bool read_name(struct reading *r)
{
    if (!field_text(r->L, TASK_NAME_MAX, &r->out->name, r->err)) return false;
    return task_name_is_valid(r->out->name) ||
           err_set(r->err, ERR_INPUT, "'%s' is no valid name (letters, digits, _ . -)",
                   r->out->name);
}

static bool read_summary(struct reading *r)
{
    return field_text(r->L, SUMMARY_MAX, &r->out->summary, r->err);
}

static bool read_queue(struct reading *r)
{
    if (!field_text(r->L, QUEUE_NAME_MAX, &r->out->queue, r->err)) return false;
    return queue_name_is_valid(r->out->queue) ||
           err_set(r->err, ERR_INPUT, "'%s' is no valid queue name (a-z 0-9 _ . -)", r->out->queue);
}

static bool read_priority(struct reading *r)
{
    int64_t value;
    if (!field_integer(r->L, 0, PRIORITY_MAX, &value, r->err)) return false;
    r->out->priority = (int)value;
    return true;
}

static bool read_timeout(struct reading *r)
{
    if (lua_isboolean(r->L, -1) && !lua_toboolean(r->L, -1)) {
        r->out->timeout_us = -1;
        return true;
    }
    if (lua_isboolean(r->L, -1) || !field_duration(r->L, &r->out->timeout_us, r->err))
        return err_set(r->err, ERR_INPUT,
                       "must be a number of seconds, text such as \"5m\", or false for none");
    return r->out->timeout_us > 0 ||
           err_set(r->err, ERR_INPUT, "must be longer than 0 (false for none)");
}

static bool read_retries(struct reading *r) { return field_retries(r->L, &r->out->retry, r->err); }

static bool read_max_losses(struct reading *r)
{
    int64_t value;
    if (!field_integer(r->L, 0, MAX_LOSSES_MAX, &value, r->err)) return false;
    r->out->max_losses = (int32_t)value;
    return true;
}

static bool read_isolate(struct reading *r)
{
    r->out->isolate = lua_toboolean(r->L, -1);
    return lua_isboolean(r->L, -1) || err_set(r->err, ERR_INPUT, "must be true or false");
}

static bool read_memory(struct reading *r)
{
    return field_bytes(r->L, MEMORY_MIN, MEMORY_MAX, &r->out->shown.memory, r->err);
}

static bool read_tags(struct reading *r) { return field_tags(r->L, &r->out->tags, r->err); }

static bool read_params(struct reading *r)
{
    if (!lua_istable(r->L, -1))
        return err_set(r->err, ERR_INPUT, "must be a table, is a %s", luaL_typename(r->L, -1));
    buf_clear(&r->params);
    return codec_encode(r->L, -1, SCHEMA_MAX, &r->params, r->err);
}

static bool read_additional_params(struct reading *r)
{
    r->additional_params = lua_toboolean(r->L, -1);
    return lua_isboolean(r->L, -1) || err_set(r->err, ERR_INPUT, "must be true or false");
}

/* stack: table, functions, key, value */
static bool read_function(struct reading *r)
{
    if (!lua_isfunction(r->L, -1))
        return err_set(r->err, ERR_INPUT, "must be a function, is a %s", luaL_typename(r->L, -1));
    lua_pushvalue(r->L, -2);
    lua_pushvalue(r->L, -2);
    lua_rawset(r->L, 2);
    return true;
}

void definition_close(struct task_definition *definition)
{
    free(definition->name);
    free(definition->file);
    free(definition->summary);
    free(definition->queue);
    buf_close(&definition->tags);
    buf_close(&definition->schema);
    params_schema_free(definition->compiled);
    *definition = (struct task_definition){ 0 };
}

void definition_write(const struct task_definition *definition, struct jsonw *w)
{
    struct buf secrets = BUF_EMPTY, patterns = BUF_EMPTY;
    params_secret_names(definition->compiled, &secrets);
    params_patterns(definition->compiled, &patterns);
    jsonw_object(w);
    jsonw_key_text(w, "name", definition->name);
    jsonw_key_text(w, "file", definition->file);
    jsonw_key_text(w, "summary", definition->summary);
    jsonw_key_text(w, "queue", definition->queue);
    jsonw_key_int(w, "priority", definition->priority);
    jsonw_key_int(w, "timeout_us", definition->timeout_us);
    jsonw_key(w, "retry");
    write_retry(&definition->retry, w);
    jsonw_key_int(w, "max_losses", definition->max_losses);
    jsonw_key_bool(w, "isolate", definition->isolate);
    jsonw_key_int(w, "memory", definition->shown.memory);
    jsonw_key(w, "tags");
    jsonw_raw(w, definition->tags.data, definition->tags.len);
    jsonw_key(w, "schema");
    jsonw_raw(w, definition->schema.data, definition->schema.len);
    jsonw_key_text(w, "schema_hash", definition->schema_hash);
    jsonw_key(w, "secrets");
    jsonw_raw(w, secrets.data, secrets.len);
    jsonw_key(w, "patterns");
    jsonw_raw(w, patterns.data, patterns.len);
    jsonw_key_text(w, "version", definition->version);
    jsonw_key(w, "hooks");
    write_hooks(definition->shown.hooks, w);
    jsonw_object_end(w);
    buf_close(&secrets);
    buf_close(&patterns);
}

static void write_retry(const struct retry_policy *retry, struct jsonw *w)
{
    static const char *const names[] = { [BACKOFF_EXPONENTIAL] = "exponential",
                                         [BACKOFF_LINEAR] = "linear",
                                         [BACKOFF_FIXED] = "fixed" };
    jsonw_object(w);
    jsonw_key_int(w, "max", retry->max);
    jsonw_key_text(w, "backoff", names[retry->backoff]);
    jsonw_key_int(w, "base_us", retry->base_us);
    jsonw_key_int(w, "cap_us", retry->cap_us);
    jsonw_key_bool(w, "jitter", retry->jitter);
    jsonw_object_end(w);
}

static void write_hooks(unsigned hooks, struct jsonw *w)
{
    jsonw_array(w);
    for (size_t i = 0; i < COUNT_OF(hook_table); i++)
        if (hooks & hook_table[i].bit) jsonw_text(w, hook_table[i].name);
    jsonw_array_end(w);
}

void definition_push(lua_State *L, const struct task_definition *definition, const char *what)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)&definition->functions);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -1, what);
    lua_remove(L, -2);
}
