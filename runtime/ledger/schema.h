/* schema.h (private to this folder): the SQL of the first migration, in the order it is applied.
 *
 * A function with LANGUAGE plpgsql is bound to the schema by SET search_path FROM CURRENT, a view
 * or a SQL function by being parsed when it is made: the same text serves every namespace. */
#pragma once

extern const char schema_tables[];
extern const char schema_words[];
extern const char schema_partitions[];
extern const char schema_ends[];
extern const char schema_operate[];
extern const char schema_catalogue[];
