/* table.c: see table.h. */
#include "cli/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/output.h"

#define GAP        2
#define COLUMN_MIN 6
#define ELLIPSIS   "\xE2\x80\xA6"

struct cell {
    char *text; /* owned, clean */
    const char *sgr;
};

struct table {
    const struct table_column *columns;
    size_t column_count;
    struct cell *cells;
    size_t cell_count, cell_room;
};

static void measure(const struct table *table, size_t *widths);
static void shrink(const struct table *table, size_t width, size_t *widths);
static void print_cell(const struct table *table, size_t column, const struct cell *cell,
                       size_t width, bool colour, struct buf *out);

struct table *table_new(const struct table_column *columns, size_t count)
{
    struct table *table = xcalloc(1, sizeof *table);
    table->columns = columns;
    table->column_count = count;
    return table;
}

void table_free(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++) free(table->cells[i].text);
    free(table->cells);
    free(table);
}

void table_cell(struct table *table, const char *text) { table_cell_colour(table, text, NULL); }

void table_cell_colour(struct table *table, const char *text, const char *sgr)
{
    if (table->cell_count == table->cell_room) {
        table->cell_room = table->cell_room ? 2 * table->cell_room : 64;
        table->cells = xrealloc(table->cells, table->cell_room * sizeof *table->cells);
    }
    struct buf clean = BUF_EMPTY;
    output_add_clean(&clean, text ? text : "", text ? strlen(text) : 0, false);
    if (!clean.len) buf_add_char(&clean, '-');
    table->cells[table->cell_count++] = (struct cell){ buf_take(&clean), sgr };
}

void table_print(const struct table *table, size_t width, bool colour, struct buf *out)
{
    size_t *widths = xcalloc(table->column_count, sizeof *widths);
    measure(table, widths);
    if (width) shrink(table, width, widths);
    for (size_t i = 0; i < table->column_count; i++) {
        struct cell title = { (char *)(uintptr_t)table->columns[i].title, "1" };
        print_cell(table, i, &title, widths[i], colour, out);
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t column = i % table->column_count;
        print_cell(table, column, &table->cells[i], widths[column], colour, out);
    }
    free(widths);
}

static void measure(const struct table *table, size_t *widths)
{
    for (size_t i = 0; i < table->column_count; i++) {
        const char *title = table->columns[i].title;
        widths[i] = output_columns(title, strlen(title));
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        const char *text = table->cells[i].text;
        size_t columns = output_columns(text, strlen(text));
        size_t *width = &widths[i % table->column_count];
        if (columns > *width) *width = columns;
    }
}

static void shrink(const struct table *table, size_t width, size_t *widths)
{
    size_t total = GAP * (table->column_count - 1);
    for (size_t i = 0; i < table->column_count; i++) total += widths[i];
    while (total > width) {
        size_t widest = table->column_count;
        for (size_t i = 0; i < table->column_count; i++) {
            bool may = table->columns[i].may_shrink && widths[i] > COLUMN_MIN;
            if (may && (widest == table->column_count || widths[i] > widths[widest])) widest = i;
        }
        if (widest == table->column_count) return; /* then the terminal wraps */
        widths[widest]--;
        total--;
    }
}

static void print_cell(const struct table *table, size_t column, const struct cell *cell,
                       size_t width, bool colour, struct buf *out)
{
    size_t len = strlen(cell->text), columns = output_columns(cell->text, len);
    bool is_last = column + 1 == table->column_count;
    bool is_cut = columns > width;
    if (is_cut) {
        len = output_fit(cell->text, len, width - 1);
        columns = output_columns(cell->text, len) + 1;
    }
    if (table->columns[column].is_number)
        for (size_t i = columns; i < width; i++) buf_add_char(out, ' ');
    if (colour && cell->sgr) buf_addf(out, "\033[%sm", cell->sgr);
    buf_add(out, cell->text, len);
    if (is_cut) buf_add_text(out, ELLIPSIS);
    if (colour && cell->sgr) buf_add_text(out, "\033[0m");
    size_t padding = is_last ? 0 : GAP;
    if (!is_last && !table->columns[column].is_number) padding += width - columns;
    for (size_t i = 0; i < padding; i++) buf_add_char(out, ' ');
    if (is_last) buf_add_char(out, '\n');
}
