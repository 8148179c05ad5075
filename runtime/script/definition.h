/* definition.h: what one task file says of its task, checked field by field. Loop thread only. */
#pragma once
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/jsonw.h"
#include "script/digest.h"
#include "script/generation.h"
#include "task/params.h"
#include "task/retry.h"

struct task_definition {
    struct definition shown; /* its strings are those below */
    char *name, *file;
    char *summary, *queue; /* NULL: not given */
    int priority;
    int64_t timeout_us; /* -1: none */
    struct retry_policy retry;
    int32_t max_losses;
    bool isolate;      /* runs in a process of its own */
    struct buf tags;   /* JSON array */
    struct buf schema; /* JSON Schema of the parameters */
    struct params_schema *compiled;
    char schema_hash[DIGEST_SHORT_SIZE], version[DIGEST_SHORT_SIZE];
    int64_t slice_told_us; /* when the last long slice of it was logged */
    char functions;        /* its address is the key of the table of functions in the registry */
};

/* The table on top of the stack (popped either way). The functions are kept in the registry, so
 * *out must not move. err: "grade.lua: field 'x': ..." */
MUSTUSE bool definition_read(lua_State *L, const char *file, int64_t default_timeout_us,
                             struct task_definition *out, struct err *err);
void definition_close(struct task_definition *definition); /* the registry goes with the state */
/* The object of the catalogue (ledger_catalogue_publish). version must be set. */
void definition_write(const struct task_definition *definition, struct jsonw *w);
/* Pushes "execute", "on_success", ..., or "schema" (the decoded JSON Schema). */
void definition_push(lua_State *L, const struct task_definition *definition, const char *what);

/* ---- definition_fields.c: one reader per kind of field; the value is on top of the stack ---- */
MUSTUSE bool field_text(lua_State *L, size_t max, char **out, struct err *err);
MUSTUSE bool field_integer(lua_State *L, int64_t least, int64_t most, int64_t *out,
                           struct err *err);
MUSTUSE bool field_duration(lua_State *L, int64_t *us, struct err *err);
MUSTUSE bool field_bytes(lua_State *L, int64_t least, int64_t most, int64_t *out, struct err *err);
MUSTUSE bool field_retries(lua_State *L, struct retry_policy *out, struct err *err);
MUSTUSE bool field_tags(lua_State *L, struct buf *out, struct err *err);
/* " unknown field 'timout'; did you mean 'timeout'?" */
bool field_unknown(const char *name, const char *const *known, size_t count, struct err *err);
