/* table.h: rows and columns for people. Cells are cleaned as they come in. Where the table would
 * be wider than the terminal, columns that may shrink give way, the widest first. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct table_column {
    const char *title;
    bool is_number;  /* right-aligned */
    bool may_shrink; /* its texts may be cut with an ellipsis */
};
struct table; /* opaque */

struct table *table_new(const struct table_column *columns, size_t count); /* borrows columns */
void table_free(struct table *table);
/* Cells of a row from left to right; after the last column the next row begins. */
void table_cell(struct table *table, const char *text); /* NULL or "": a dash */
void table_cell_colour(struct table *table, const char *text, const char *sgr); /* NULL: none */
/* width 0: as wide as it gets. Column titles come first. */
void table_print(const struct table *table, size_t width, bool colour, struct buf *out);
