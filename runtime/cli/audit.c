/* audit.c: `audit`: is every task that was accepted where it belongs? */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/table.h"
#include "lifecycle/audit.h"

#define BROKER_WAIT_US INT64_C(5000000)

static int run(struct app *app, const struct cli_args *args);
static bool audit(struct app *app, json_t **out, struct err *err);
static void print_json(const json_t *report);
static void print_counts(const struct app *app, const json_t *report);
static void print_differences(const struct app *app, const json_t *report);

static const struct cli_option options[] = { { 0 } };

const struct command command_audit = {
    .name = "audit",
    .usage = "",
    .summary = "is every accepted task where it belongs?",
    .details =
        "Counts what was submitted and what became of it, and compares the rows of every task "
        "with\n"
        "each other and with the hints in Redis. It only reads, may run beside working workers, "
        "and\n"
        "tells what is wrong by id with what to do. What may be under way is looked at twice, so\n"
        "that it can take a minute where something is amiss.\n"
        "Exit status 1 if there is any difference, 0 if there is none.\n\n"
        "Examples:\n"
        "  ctutor-run audit\n"
        "  ctutor-run audit --json\n",
    .options = options,
    .run = run,
};

static int run(struct app *app, const struct cli_args *args)
{
    struct err err;
    json_t *report = NULL;
    int64_t began_us = clock_boot_us();
    if (!cli_expect_words(&command_audit, args, 0, 0, &err) || !audit(app, &report, &err))
        return app_fail(app, &err);
    json_object_set_new(report, "seconds", json_real((double)(clock_boot_us() - began_us) / 1e6));
    int64_t differences = member_int(report, "difference_count");
    if (app->json) {
        print_json(report);
    } else {
        print_counts(app, report);
        print_differences(app, report);
    }
    json_decref(report);
    return differences ? 1 : 0;
}

static bool audit(struct app *app, json_t **out, struct err *err)
{
    if (!app_open_stores(app, err) || !app_need_broker(app, BROKER_WAIT_US, err)) return false;
    const struct audit_stores stores = { .loop = &app->loop,
                                         .ledger = app->ledger,
                                         .broker = app->broker,
                                         .lease_us = config_duration_us(app->config, SET_LEASE) };
    return audit_run(&stores, out, err);
}

static void print_json(const json_t *report)
{
    char *text = json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(6));
    output_stream_line(text, strlen(text));
    free(text);
}

static void add_row(struct table *table, const char *name, int64_t count, const char *sgr)
{
    char number[32];
    snprintf(number, sizeof number, "%" PRId64, count);
    table_cell(table, name);
    table_cell_colour(table, number, sgr);
}

static const struct table_column count_columns[] = { { "TASKS", false, false },
                                                     { "", true, false } };

static void print_counts(const struct app *app, const json_t *report)
{
    static const char *const going_on[] = { "submitted", "waiting", "delayed", "running" };
    static const char *const ends[] = { "SUCCESS", "FAILURE", "REVOKED" };
    const json_t *counts = json_object_get(report, "counts");
    const json_t *hints = json_object_get(report, "hints");
    int64_t differences = member_int(report, "difference_count");
    struct table *table = table_new(count_columns, COUNT_OF(count_columns));
    struct buf out = BUF_EMPTY;
    for (size_t i = 0; i < COUNT_OF(going_on); i++)
        add_row(table, going_on[i], member_int(counts, going_on[i]), NULL);
    for (size_t i = 0; i < COUNT_OF(ends); i++)
        add_row(table, ends[i], member_int(json_object_get(counts, "final"), ends[i]), NULL);
    add_row(table, "hints in Redis", member_int(hints, "waiting") + member_int(hints, "claimed"),
            NULL);
    add_row(table, "differences", differences, differences ? "31" : "32");
    table_print(table, output_width(STDOUT_FILENO), app->colour, &out);
    output_text(&out);
    table_free(table);
    buf_close(&out);
}

static const struct table_column columns[] = { { "TASK", false, false },
                                               { "KIND", false, false },
                                               { "WHAT IS WRONG", false, false },
                                               { "WHAT TO DO", false, false } };

static void print_differences(const struct app *app, const json_t *report)
{
    const json_t *differences = json_object_get(report, "differences");
    if (json_array_size(differences) == 0) return;
    struct table *table = table_new(columns, COUNT_OF(columns));
    struct buf out = BUF_EMPTY;
    size_t index;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)differences, index, item)
    {
        table_cell(table, member_text(item, "id"));
        table_cell_colour(table, member_text(item, "kind"), "31");
        table_cell(table, member_text(item, "message"));
        table_cell(table, member_text(item, "remedy"));
    }
    buf_add_char(&out, '\n');
    table_print(table, 0, app->colour, &out);
    output_text(&out);
    table_free(table);
    buf_close(&out);
    int64_t untold = member_int(report, "difference_count") - (int64_t)index;
    if (untold > 0) output_plain_note("and %lld more", (long long)untold);
}
