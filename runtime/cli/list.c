/* list.c: `list`. */
#include <math.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/filter.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/source.h"
#include "cli/table.h"

#define WIDE 110 /* columns from which on the list says more */

static int run_list(struct app *app, const struct cli_args *args);
static void print_list(struct app *app, const json_t *answer);
static void add_task(struct table *table, const json_t *task, bool is_wide);

static const struct cli_option list_options[] = { FILTER_OPTIONS,
                                                  { "limit", "N", "rows, 1 to 1000; default 100",
                                                    false },
                                                  { "offset", "N", "rows that are skipped", false },
                                                  { 0 } };
const struct command command_list = {
    .name = "list",
    .usage = "[FILTERS]",
    .summary = "list tasks, newest first",
    .details = "Examples:\n"
               "  ctutor-run list --status FAILURE --since 1d\n"
               "  ctutor-run list --name my_simple_task --tag night --limit 20\n",
    .options = list_options,
    .run = run_list,
};
static int run_list(struct app *app, const struct cli_args *args)
{
    struct filter filter;
    struct err err;
    struct await await = { 0 };
    if (!cli_expect_words(&command_list, args, 0, 0, &err) || !filter_read(args, &filter, &err))
        return app_fail(app, &err);
    filter.filter.limit = 100;
    bool good = cli_int(args, "limit", 1, 1000, &filter.filter.limit, &err) &&
                cli_int(args, "offset", 0, INT32_MAX, &filter.filter.offset, &err) &&
                source_open(app, &err);
    if (good) {
        source_list(app, &filter.filter, await_json, &await);
        good = await_run(&app->loop, &await, &err);
    }
    if (good && app->json) {
        output_line(&await.json);
    } else if (good) {
        json_t *answer = params_load(buf_text(&await.json), await.json.len);
        print_list(app, answer);
        json_decref(answer);
    }
    filter_close(&filter);
    await_close(&await);
    return good ? 0 : app_fail(app, &err);
}

static const struct table_column list_columns[] = {
    { "ID", false, false },   { "NAME", false, true }, { "STATUS", false, false },
    { "QUEUE", false, true }, { "TRY", true, false },  { "%", true, false },
    { "AGE", true, false },   { "TOOK", true, false }, { "WORKER", false, true },
};

static void print_list(struct app *app, const json_t *answer)
{
    const json_t *tasks = json_object_get(answer, "tasks");
    size_t width = output_width(STDOUT_FILENO), index;
    bool is_wide = width == 0 || width >= WIDE;
    struct table *table = table_new(list_columns, COUNT_OF(list_columns) - (is_wide ? 0 : 2));
    struct buf out = BUF_EMPTY;
    json_t *task;
    json_array_foreach((json_t *)(uintptr_t)tasks, index, task) add_task(table, task, is_wide);
    if (json_array_size(tasks)) table_print(table, width, app->colour, &out);
    output_text(&out);
    table_free(table);
    buf_close(&out);
    if (json_array_size(tasks) == 0) output_plain_note("no tasks");
    if (json_is_true(json_object_get(answer, "has_more")))
        output_plain_note(
            "%zu of %lld%s; --offset %lld shows more", json_array_size(tasks),
            (long long)member_int(answer, "total"),
            json_is_true(json_object_get(answer, "total_capped")) ? " or more" : "",
            (long long)(member_int(answer, "offset") + (int64_t)json_array_size(tasks)));
}

static void add_task(struct table *table, const json_t *task, bool is_wide)
{
    struct buf cell = BUF_EMPTY;
    int64_t created_us;
    const char *status = member_text(task, "status"), *created = member_text(task, "created_at");
    const json_t *percent = json_object_get(json_object_get(task, "progress"), "percentage");
    const json_t *duration = json_object_get(task, "duration");
    table_cell(table, member_text(task, "task_id"));
    table_cell(table, member_text(task, "task_name"));
    table_cell_colour(table, status, output_status_colour(status));
    table_cell(table, member_text(task, "queue"));
    buf_addf(&cell, "%lld", (long long)member_int(task, "attempt"));
    table_cell(table, buf_text(&cell));
    buf_clear(&cell);
    if (json_is_number(percent)) buf_addf(&cell, "%.0f", floor(json_number_value(percent)));
    table_cell(table, buf_text(&cell));
    buf_clear(&cell);
    if (time_parse(created, &created_us, NULL))
        output_add_span(&cell, clock_wall_us() > created_us ? clock_wall_us() - created_us : 0);
    table_cell(table, buf_text(&cell));
    buf_clear(&cell);
    if (json_is_number(duration))
        output_add_span(&cell, (int64_t)(json_number_value(duration) * 1e6));
    if (is_wide) table_cell(table, buf_text(&cell));
    if (is_wide) table_cell(table, member_text(task, "worker"));
    buf_close(&cell);
}
