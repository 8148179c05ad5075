/* help_faults.c: `help faults`: the table of base/fault.h. */
#include <unistd.h>

#include "base/fault.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "cli/help.h"
#include "cli/output.h"
#include "cli/table.h"

static void add_json(struct buf *out);
static void add_words(struct jsonw *w, const char *key, unsigned set,
                      const char *(*name_of)(unsigned));
static void add_table(struct app *app, struct buf *out);
static void join(struct buf *out, unsigned set, const char *(*name_of)(unsigned));
static const char *role_name(unsigned role);
static const char *action_name(unsigned action);

int help_faults(struct app *app)
{
    struct buf out = BUF_EMPTY;
    if (app->json)
        add_json(&out);
    else
        add_table(app, &out);
    output_text(&out);
    buf_close(&out);
    return 0;
}

static void add_json(struct buf *out)
{
    struct jsonw w;
    jsonw_init(&w, out);
    jsonw_array(&w);
    for (const struct fault_point *point = fault_points; point->name; point++) {
        jsonw_object(&w);
        jsonw_key_text(&w, "name", point->name);
        jsonw_key_text(&w, "races", point->races);
        add_words(&w, "processes", point->roles, role_name);
        add_words(&w, "actions", point->actions, action_name);
        jsonw_key_text(&w, "sentence", point->sentence);
        jsonw_object_end(&w);
    }
    jsonw_array_end(&w);
    buf_add_char(out, '\n');
}

static void add_words(struct jsonw *w, const char *key, unsigned set,
                      const char *(*name_of)(unsigned))
{
    jsonw_key(w, key);
    jsonw_array(w);
    for (unsigned bit = 1; bit <= set; bit <<= 1)
        if (set & bit) jsonw_text(w, name_of(bit));
    jsonw_array_end(w);
}

static void add_table(struct app *app, struct buf *out)
{
    static const struct table_column columns[] = { { "POINT", false, false },
                                                   { "RACES", false, false },
                                                   { "PROCESSES", false, false },
                                                   { "ACTIONS", false, false },
                                                   { "WHEN", false, true } };
    struct table *table = table_new(columns, COUNT_OF(columns));
    struct buf cell = BUF_EMPTY;
    for (const struct fault_point *point = fault_points; point->name; point++) {
        table_cell(table, point->name);
        table_cell(table, point->races);
        join(&cell, point->roles, role_name);
        table_cell(table, buf_text(&cell));
        buf_clear(&cell);
        join(&cell, point->actions, action_name);
        table_cell(table, buf_text(&cell));
        buf_clear(&cell);
        table_cell(table, point->sentence);
    }
    table_print(table, output_width(STDOUT_FILENO), app->colour, out);
    buf_add_text(out, "\nArmed only by tests: " FAULTS_VARIABLE "=N, N an open file of lines\n"
                      "  POINT ACTION [after K] [times N] [in PROCESS] [for SUBJECT]\n"
                      "to which is added what was reached and what was done.\n");
    table_free(table);
    buf_close(&cell);
}

static void join(struct buf *out, unsigned set, const char *(*name_of)(unsigned))
{
    for (unsigned bit = 1; bit <= set; bit <<= 1)
        if (set & bit) buf_addf(out, "%s%s", out->len ? " " : "", name_of(bit));
}

static const char *role_name(unsigned role) { return fault_role_name((enum fault_role)role); }

static const char *action_name(unsigned action)
{
    return fault_action_name((enum fault_action)action);
}
