/* schema.h (private to this folder): the SQL of the schema. Tables change by numbered migrations;
 * functions and views are made anew behind each of them, so their texts are those of today.
 *
 * A function with LANGUAGE plpgsql is bound to the schema by SET search_path FROM CURRENT (or is
 * called by such a one only), a view or a SQL function by being parsed when it is made: the same
 * text serves every namespace. */
#pragma once

/* Names that run in processes of their own: their entry says so, or the version that is published
 * has blocked a loop. Looked up once for each statement, through an index that holds only these. */
#define ISOLATED_NAMES "ARRAY(SELECT i.name FROM catalogue i WHERE i.isolated)"
/* The list in which the hint of a row (alias) lies. */
#define HINT_QUEUE(row) "hint_queue(" row ".queue, " row ".name, " ISOLATED_NAMES ")"

/* Processes that may die of one hook. */
#define HOOK_LOSSES_MAX "3"
/* These are there from the start and always. */
#define FIRST_QUEUES "VALUES ('high_priority'), ('default'), ('low_priority')"

/* Migrations. */
extern const char schema_tables[];
extern const char schema_second[];
/* Functions and views, in the order they are made. */
extern const char schema_words[];
extern const char schema_partitions[];
extern const char schema_ends[];
extern const char schema_access[];
extern const char schema_operate[];
extern const char schema_catalogue[];
extern const char schema_check[];
extern const char schema_door[];
extern const char schema_figures[];
extern const char schema_news[];
