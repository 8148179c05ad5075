/* params.h: the params schema of a task: JSON Schema 2020-12 restricted to the words of the
 * contract, compiled once, checked at the doors (and by the runner when the schema changed since
 * submission). Uses jansson. Pure: no I/O. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct params_schema; /* opaque, immutable */

/* json: {"type":"object","properties":{...},"required":[...],"additionalProperties":bool} as
 * params_schema_from_table made it. */
MUSTUSE bool params_schema_compile(const char *json, size_t len, struct params_schema **out,
                                   struct err *err);
void params_schema_free(struct params_schema *schema);

/* A task file's `params` table, as JSON:
 * {"message":"string","count":{"type":"integer","default":1,...}} -> the JSON Schema of the
 * parameters, written to out. Required unless `default` or `optional = true`; `secret = true`
 * becomes writeOnly. Every unknown word, wrong type of a word, bad pattern, bad enum, default that
 * does not fit is an error naming the parameter and the word, with "did you mean". */
MUSTUSE bool params_schema_from_table(const char *json, size_t len, bool additional_params,
                                      struct buf *out, struct err *err);

struct params_error {
    char field[200];   /* "count", "items[2].name"; "" for the whole */
    char message[400]; /* "must be at least 1, is 0" */
};
/* All errors, up to max (at least 1); returns their number (0: valid). null counts as not given,
 * but for a parameter whose type, enum or const names null. Messages show values shortened, secret
 * ones never. */
size_t params_check(const struct params_schema *schema, const json_t *params,
                    struct params_error *errors, size_t max);

/* CLI `key=text`: convert by the schema's type of key into a JSON value. false with a teaching
 * error if the type cannot be written so (use `:=`) or the text does not convert ("count must be an
 * integer, is 'x'"). Unknown keys stay text. gives *value */
MUSTUSE bool params_convert_text(const struct params_schema *schema, const char *key,
                                 const char *text, json_t **value, struct err *err);

/* Parse text from a user: strict UTF-8, no duplicate keys, depth <= 64, no \u0000, no integers
 * beyond 2^53, finite numbers. what names it in errors. */
MUSTUSE bool params_parse(const char *text, size_t len, const char *what, json_t **out,
                          struct err *err);
/* The same for what goes around parameters: how deep those are is for the door to ask. */
MUSTUSE bool params_parse_body(const char *text, size_t len, const char *what, json_t **out,
                               struct err *err);
/* JSON that the ledger answers, or NULL. jsonb writes 1e300 with all its digits, for which jansson
 * has no integer: such a number becomes a real. gives */
json_t *params_load(const char *json, size_t len);
/* Can Postgres and Lua hold this value? (depth, NUL, lone surrogates, integers beyond 2^53). path
 * of the first culprit goes into err. */
MUSTUSE bool params_is_storable(const json_t *value, struct err *err);
/* A copy with the values of secret parameters replaced by "********". gives */
json_t *params_masked(const struct params_schema *schema, const json_t *params);
/* What `execute` gets: a copy with defaults filled in (also inside objects and lists) and
 * parameters that count as not given left out. For params that params_check found valid. gives */
json_t *params_with_defaults(const struct params_schema *schema, const json_t *params);
/* Names of the top-level parameters that are secret or hold something secret, as a JSON array text,
 * for the ledger's view. */
void params_secret_names(const struct params_schema *schema, struct buf *out);
/* The patterns of the schema as POSIX writes them, for the ledger's own checks: a JSON object
 * {pattern: {"posix": text, "longest": bytes that it may be matched against}}. */
void params_patterns(const struct params_schema *schema, struct buf *out);
/* Writes JSON with sorted keys and the shortest numbers: equal values give equal text. Depth is
 * that of the value (params_is_storable bounds it). */
void params_write(struct buf *out, const json_t *value);
