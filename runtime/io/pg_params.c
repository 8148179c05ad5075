/* pg_params.c: parameters in Postgres' binary format, one behind the other in one buffer.
 *
 * An array is: number of dimensions, whether it holds nulls, element type, length, lower bound;
 * then each item with its length in front. The array's length is counted up in place while items
 * come. An empty one may be sent as one dimension of length 0. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/pg.h"

#define ARRAY_NULLS_AT 4
#define ARRAY_COUNT_AT 12
#define NOT_IN_ARRAY   (-1)

static const struct {
    uint32_t element, array;
} array_types[] = {
    { PG_OID_BOOL, 1000 }, { PG_OID_INT8, 1016 },   { PG_OID_INT4, 1007 },
    { PG_OID_TEXT, 1009 }, { PG_OID_FLOAT8, 1022 }, { PG_OID_UUID, 2951 },
};

static void begin(struct pg_params *params, uint32_t oid);
static void end(struct pg_params *params);
static void begin_item(struct pg_params *params, int32_t len);
static void set_u32(struct pg_params *params, int32_t at, uint32_t value);
static uint32_t get_u32(const struct pg_params *params, int32_t at);
static uint64_t float8_bits(double value);
static void require(bool ok, const char *what);

void pg_params_init(struct pg_params *params)
{
    params->bytes = BUF_EMPTY;
    params->count = 0;
    params->array_start = NOT_IN_ARRAY;
}

void pg_params_close(struct pg_params *params)
{
    buf_close(&params->bytes);
    params->count = 0;
}

void pg_null(struct pg_params *params, uint32_t oid)
{
    begin(params, oid);
    params->at[params->count++].len = -1;
}

void pg_bool(struct pg_params *params, bool value)
{
    begin(params, PG_OID_BOOL);
    buf_add_char(&params->bytes, value);
    end(params);
}

void pg_int4(struct pg_params *params, int32_t value)
{
    begin(params, PG_OID_INT4);
    buf_add_u32be(&params->bytes, (uint32_t)value);
    end(params);
}

void pg_int8(struct pg_params *params, int64_t value)
{
    begin(params, PG_OID_INT8);
    buf_add_u64be(&params->bytes, (uint64_t)value);
    end(params);
}

void pg_float8(struct pg_params *params, double value)
{
    begin(params, PG_OID_FLOAT8);
    buf_add_u64be(&params->bytes, float8_bits(value));
    end(params);
}

void pg_uuid(struct pg_params *params, const struct ident *id)
{
    begin(params, PG_OID_UUID);
    buf_add(&params->bytes, id->bytes, sizeof id->bytes);
    end(params);
}

void pg_text(struct pg_params *params, const char *text)
{
    pg_text_len(params, text, text ? strlen(text) : 0);
}

void pg_text_len(struct pg_params *params, const char *text, size_t len)
{
    if (!text) {
        pg_null(params, PG_OID_TEXT);
        return;
    }
    begin(params, PG_OID_TEXT);
    buf_add(&params->bytes, text, len);
    end(params);
}

void pg_array(struct pg_params *params, uint32_t element_oid)
{
    uint32_t oid = 0;
    for (size_t i = 0; i < COUNT_OF(array_types); i++) {
        if (array_types[i].element == element_oid) oid = array_types[i].array;
    }
    require(oid != 0, "an array of a type that is not known");
    begin(params, oid);
    params->array_start = params->at[params->count].offset;
    buf_add_u32be(&params->bytes, 1); /* dimensions */
    buf_add_u32be(&params->bytes, 0); /* holds nulls */
    buf_add_u32be(&params->bytes, element_oid);
    buf_add_u32be(&params->bytes, 0); /* items */
    buf_add_u32be(&params->bytes, 1); /* lower bound */
}

void pg_array_end(struct pg_params *params)
{
    require(params->array_start != NOT_IN_ARRAY, "pg_array_end without pg_array");
    params->array_start = NOT_IN_ARRAY;
    end(params);
}

void pg_item_null(struct pg_params *params)
{
    begin_item(params, -1);
    set_u32(params, params->array_start + ARRAY_NULLS_AT, 1);
}

void pg_item_bool(struct pg_params *params, bool value)
{
    begin_item(params, 1);
    buf_add_char(&params->bytes, value);
}

void pg_item_int4(struct pg_params *params, int32_t value)
{
    begin_item(params, 4);
    buf_add_u32be(&params->bytes, (uint32_t)value);
}

void pg_item_int8(struct pg_params *params, int64_t value)
{
    begin_item(params, 8);
    buf_add_u64be(&params->bytes, (uint64_t)value);
}

void pg_item_float8(struct pg_params *params, double value)
{
    begin_item(params, 8);
    buf_add_u64be(&params->bytes, float8_bits(value));
}

void pg_item_uuid(struct pg_params *params, const struct ident *id)
{
    begin_item(params, (int32_t)sizeof id->bytes);
    buf_add(&params->bytes, id->bytes, sizeof id->bytes);
}

void pg_item_text(struct pg_params *params, const char *text, size_t len)
{
    if (!text) {
        pg_item_null(params);
        return;
    }
    begin_item(params, (int32_t)len);
    buf_add(&params->bytes, text, len);
}

/* What exceeds 31 bits here is refused as a whole when it is sent. */
static void begin(struct pg_params *params, uint32_t oid)
{
    require(params->array_start == NOT_IN_ARRAY, "a parameter within an array");
    require((size_t)params->count < COUNT_OF(params->at), "too many parameters");
    params->at[params->count].oid = oid;
    params->at[params->count].offset = (int32_t)params->bytes.len;
}

static void end(struct pg_params *params)
{
    int32_t offset = params->at[params->count].offset;
    params->at[params->count++].len = (int32_t)(params->bytes.len - (size_t)offset);
}

static void begin_item(struct pg_params *params, int32_t len)
{
    require(params->array_start != NOT_IN_ARRAY, "an item outside of an array");
    int32_t at = params->array_start + ARRAY_COUNT_AT;
    set_u32(params, at, get_u32(params, at) + 1);
    buf_add_u32be(&params->bytes, (uint32_t)len);
}

static void set_u32(struct pg_params *params, int32_t at, uint32_t value)
{
    unsigned char *byte = (unsigned char *)params->bytes.data + at;
    for (int i = 3; i >= 0; i--, value >>= 8) byte[i] = (unsigned char)value;
}

static uint32_t get_u32(const struct pg_params *params, int32_t at)
{
    const unsigned char *byte = (const unsigned char *)params->bytes.data + at;
    return (uint32_t)byte[0] << 24 | (uint32_t)byte[1] << 16 | (uint32_t)byte[2] << 8 | byte[3];
}

static uint64_t float8_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void require(bool ok, const char *what)
{
    if (ok) return;
    log_error("Postgres parameters: %s", what);
    abort();
}
