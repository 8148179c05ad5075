/* pg_rows.c: reads rows that came in binary. A getter that does not fit its column's type is a
 * mistake in our SQL, found by the first run of that statement: it aborts rather than misread. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/pg_private.h"

/* Types whose binary form is their text: text, "char", name, json, bpchar, varchar. */
static const Oid text_types[] = { PG_OID_TEXT, 18, 19, 114, 1042, 1043 };

static const unsigned char *value(const struct pg_rows *rows, int row, int column, Oid type);
static void refuse_type(const struct pg_rows *rows, int column);
static uint64_t read_be(const unsigned char *bytes, int size);

int pg_row_count(const struct pg_rows *rows) { return PQntuples(rows->result); }

bool pg_is_null(const struct pg_rows *rows, int row, int column)
{
    return PQgetisnull(rows->result, row, column);
}

bool pg_get_bool(const struct pg_rows *rows, int row, int column)
{
    const unsigned char *bytes = value(rows, row, column, PG_OID_BOOL);
    return bytes && bytes[0] != 0;
}

int32_t pg_get_int4(const struct pg_rows *rows, int row, int column)
{
    const unsigned char *bytes = value(rows, row, column, PG_OID_INT4);
    return bytes ? (int32_t)read_be(bytes, 4) : 0;
}

int64_t pg_get_int8(const struct pg_rows *rows, int row, int column)
{
    const unsigned char *bytes = value(rows, row, column, PG_OID_INT8);
    return bytes ? (int64_t)read_be(bytes, 8) : 0;
}

double pg_get_float8(const struct pg_rows *rows, int row, int column)
{
    const unsigned char *bytes = value(rows, row, column, PG_OID_FLOAT8);
    if (!bytes) return 0;
    uint64_t bits = read_be(bytes, 8);
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

struct ident pg_get_uuid(const struct pg_rows *rows, int row, int column)
{
    struct ident id = { { 0 } };
    const unsigned char *bytes = value(rows, row, column, PG_OID_UUID);
    if (bytes) memcpy(id.bytes, bytes, sizeof id.bytes);
    return id;
}

const char *pg_get_text(const struct pg_rows *rows, int row, int column, size_t *len)
{
    Oid type = PQftype(rows->result, column);
    size_t i = 0;
    while (i < COUNT_OF(text_types) && text_types[i] != type) i++;
    if (i == COUNT_OF(text_types)) refuse_type(rows, column);
    if (len) *len = (size_t)PQgetlength(rows->result, row, column);
    return PQgetvalue(rows->result, row, column);
}

/* NULL for a null. The lengths of these types are fixed. */
static const unsigned char *value(const struct pg_rows *rows, int row, int column, Oid type)
{
    if (PQftype(rows->result, column) != type || PQfformat(rows->result, column) != 1)
        refuse_type(rows, column);
    if (PQgetisnull(rows->result, row, column)) return NULL;
    return (const unsigned char *)PQgetvalue(rows->result, row, column);
}

static void refuse_type(const struct pg_rows *rows, int column)
{
    const char *name = PQfname(rows->result, column);
    log_error("a statement's column %d (%s) has type %u, which is not the one it is read as",
              column, name ? name : "absent", PQftype(rows->result, column));
    abort();
}

static uint64_t read_be(const unsigned char *bytes, int size)
{
    uint64_t number = 0;
    for (int i = 0; i < size; i++) number = number << 8 | bytes[i];
    return number;
}
