/* What the tests of params_*.c share: a schema from a task's table, JSON from text with ' for ". */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "task/params.h"

/* gives; ' becomes " so that the tests stay readable */
static inline char *quoted(const char *text)
{
    char *copy = xstrdup(text);
    for (char *c = copy; *c; c++) {
        if (*c == '\'') *c = '"';
    }
    return copy;
}

static inline json_t *value_of(const char *text)
{
    char *json = quoted(text);
    json_t *value = json_loads(json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!value) fail_msg("not JSON: %s", json);
    free(json);
    return value;
}

/* The schema text of a table, or "! " and the message. gives */
static inline char *table_result(const char *table, bool additional)
{
    struct buf out = BUF_EMPTY;
    struct err err;
    char *json = quoted(table);
    if (!params_schema_from_table(json, strlen(json), additional, &out, &err)) {
        assert_int_equal(out.len, 0);
        assert_int_equal(err.code, ERR_INPUT);
        buf_addf(&out, "! %s", err.text);
    }
    free(json);
    return buf_take(&out);
}

static inline struct params_schema *schema_of(const char *table)
{
    struct err err = { 0 };
    struct params_schema *schema = NULL;
    char *text = table_result(table, false);
    if (!params_schema_compile(text, strlen(text), &schema, &err)) fail_msg("%s", text);
    free(text);
    return schema;
}

static inline void expect_text(char *got, const char *expected)
{
    char *wanted = quoted(expected);
    assert_string_equal(got, wanted);
    free(wanted);
    free(got);
}
