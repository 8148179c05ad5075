/* operate_tasks.c: `cancel`, `retry` and `delete`: of ids, or of all that a filter matches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/filter.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/wait.h"
#include "lifecycle/operate.h"

#define AT_ONCE        500
#define MATCH_MAX      200000
#define BROKER_WAIT_US INT64_C(200000)

struct verb {
    enum operation operation;
    const char *word;     /* "cancel" */
    const char *statuses; /* that it can work on: what a filter without --status means */
};

struct tally {
    int64_t done, refused;
    int status; /* the first that is not 0 */
};

static int run_cancel(struct app *app, const struct cli_args *args);
static int run_retry(struct app *app, const struct cli_args *args);
static int run_delete(struct app *app, const struct cli_args *args);
static int run(struct app *app, const struct cli_args *args, const struct verb *verb);
static int operate_ids(struct app *app, const struct cli_args *args, const struct verb *verb);
static int operate_filter(struct app *app, const struct cli_args *args, const struct verb *verb,
                          const struct filter *filter);
static bool match(struct app *app, const struct filter *filter, struct ident **ids, size_t *count,
                  struct err *err);
static bool confirm(const struct cli_args *args, const struct verb *verb, size_t count,
                    struct err *err);
static bool operate_all(struct app *app, const struct verb *verb, const struct ident *ids,
                        size_t count, bool tells_each, struct tally *tally, struct err *err);
static void tell_answers(const struct buf *json, bool tells_each, struct tally *tally);
static void print_tally(struct app *app, const struct verb *verb, size_t matched,
                        const struct tally *tally, bool dry_run);

static const struct cli_option options[] = {
    FILTER_OPTIONS,
    { "dry-run", NULL, "only count what the filter matches", false },
    { "yes", NULL, "do not ask (needed where there is no terminal)", false },
    { 0 }
};
const struct command command_cancel = {
    .name = "cancel",
    .usage = "ID... | FILTERS [--dry-run] [--yes]",
    .summary = "cancel waiting and running tasks",
    .details =
        "A waiting task is final at once; a running one hears of it at its next wait and may\n"
        "clean up. With filters and without --status: all that are not final.\n\n"
        "Examples:\n"
        "  ctutor-run cancel 01932c07-4a80-7c3e-9f5d-2b8a6e1f0c34\n"
        "  ctutor-run cancel --name my_simple_task --since 1h --dry-run\n",
    .options = options,
    .run = run_cancel,
};
const struct command command_retry = {
    .name = "retry",
    .usage = "ID... | FILTERS [--dry-run] [--yes]",
    .summary = "run failed or cancelled tasks again",
    .details = "The same id, its budgets anew; attempts count on.\n\n"
               "Example:\n"
               "  ctutor-run retry --status FAILURE --name my_simple_task --since 1d\n",
    .options = options,
    .run = run_retry,
};
const struct command command_delete = {
    .name = "delete",
    .usage = "ID... | FILTERS [--dry-run] [--yes]",
    .summary = "forget final tasks and their results",
    .details = "Example:\n"
               "  ctutor-run delete --status SUCCESS --until 30d --yes\n",
    .options = options,
    .run = run_delete,
};

static int run_cancel(struct app *app, const struct cli_args *args)
{
    static const struct verb verb = { OPERATE_CANCEL, "cancel", "PENDING,STARTED,RETRY" };
    return run(app, args, &verb);
}

static int run_retry(struct app *app, const struct cli_args *args)
{
    static const struct verb verb = { OPERATE_RETRY, "retry", "FAILURE,REVOKED" };
    return run(app, args, &verb);
}

static int run_delete(struct app *app, const struct cli_args *args)
{
    static const struct verb verb = { OPERATE_DELETE, "delete", "SUCCESS,FAILURE,REVOKED" };
    return run(app, args, &verb);
}

static int run(struct app *app, const struct cli_args *args, const struct verb *verb)
{
    struct filter filter;
    struct err err;
    if (!filter_read(args, &filter, &err)) return app_fail(app, &err);
    bool good = true;
    if (filter.is_any && args->count > 0)
        good = err_set(&err, ERR_INPUT, "either ids or filters, not both");
    else if (!filter.is_any && args->count == 0)
        good = err_set(&err, ERR_INPUT, "which tasks? Give ids, or at least one filter");
    else if (!filter.is_any && cli_has(args, "dry-run"))
        good = err_set(&err, ERR_INPUT, "--dry-run counts what filters match; ids it cannot try");
    good = good && app_open_stores(app, &err);
    int status = 0;
    if (!good)
        status = app_fail(app, &err);
    else if (filter.is_any)
        status = operate_filter(app, args, verb, &filter);
    else
        status = operate_ids(app, args, verb);
    filter_close(&filter);
    return status;
}

static int operate_ids(struct app *app, const struct cli_args *args, const struct verb *verb)
{
    struct err err;
    struct tally tally = { 0 };
    struct ident *ids = xcalloc((size_t)args->count, sizeof *ids);
    bool good = true;
    for (int i = 0; good && i < args->count; i++) good = read_id(args->words[i], &ids[i], &err);
    good = good && operate_all(app, verb, ids, (size_t)args->count, true, &tally, &err);
    free(ids);
    return good ? tally.status : app_fail(app, &err);
}

static int operate_filter(struct app *app, const struct cli_args *args, const struct verb *verb,
                          const struct filter *filter)
{
    struct filter wanted = *filter;
    struct err err;
    struct tally tally = { 0 };
    struct ident *ids = NULL;
    size_t count = 0;
    bool dry_run = cli_has(args, "dry-run");
    if (!wanted.filter.statuses) wanted.filter.statuses = verb->statuses;
    bool good = match(app, &wanted, &ids, &count, &err) &&
                (dry_run || count == 0 || confirm(args, verb, count, &err)) &&
                (dry_run || operate_all(app, verb, ids, count, false, &tally, &err));
    if (good) print_tally(app, verb, count, &tally, dry_run);
    free(ids);
    return good ? 0 : app_fail(app, &err);
}

/* gives *ids */
static bool match(struct app *app, const struct filter *filter, struct ident **ids, size_t *count,
                  struct err *err)
{
    struct await await = { 0 };
    struct task_filter wanted = filter->filter;
    wanted.limit = MATCH_MAX;
    ledger_match(app->ledger, &wanted, await_json, &await);
    bool good = await_run(&app->loop, &await, err);
    json_t *all = params_load(buf_text(&await.json), await.json.len), *text;
    size_t index;
    *ids = xcalloc(json_array_size(all) + 1, sizeof **ids);
    json_array_foreach(all, index, text)
    {
        if (ident_parse(json_string_value(text), &(*ids)[*count])) (*count)++;
    }
    json_decref(all);
    await_close(&await);
    if (*count == MATCH_MAX)
        output_note("the first %d are taken; repeat the command for the rest", MATCH_MAX);
    return good;
}

static bool confirm(const struct cli_args *args, const struct verb *verb, size_t count,
                    struct err *err)
{
    char answer[16] = "";
    if (cli_has(args, "yes")) return true;
    if (isatty(STDIN_FILENO) != 1 || isatty(STDERR_FILENO) != 1)
        return err_set(err, ERR_INPUT, "%zu match: confirm with --yes (--dry-run only looks)",
                       count);
    fprintf(stderr, "%s %zu task%s? [y/N] ", verb->word, count, count == 1 ? "" : "s");
    if (fgets(answer, sizeof answer, stdin) && (*answer == 'y' || *answer == 'Y')) return true;
    return err_set(err, ERR_INPUT, "nothing was done");
}

/* With tells_each every answer is printed: one array with --json. */
static bool operate_all(struct app *app, const struct verb *verb, const struct ident *ids,
                        size_t count, bool tells_each, struct tally *tally, struct err *err)
{
    struct await await = { 0 };
    bool good = true;
    struct buf array = BUF_EMPTY;
    app_wait_broker(app, BROKER_WAIT_US);
    for (size_t at = 0; good && at < count; at += AT_ONCE) {
        size_t slice = count - at < AT_ONCE ? count - at : AT_ONCE;
        operate(app->ledger, app->broker, verb->operation, ids + at, slice, app_actor(), await_json,
                &await);
        good = await_run(&app->loop, &await, err);
        if (!good) break;
        buf_add_char(&array, at > 0 ? ',' : '[');
        if (await.json.len > 2) buf_add(&array, await.json.data + 1, await.json.len - 2);
        tell_answers(&await.json, tells_each && !app->json, tally);
    }
    buf_add_char(&array, ']');
    if (good && tells_each && app->json) output_line(&array);
    app_flush_broker(app);
    buf_close(&array);
    await_close(&await);
    return good;
}

static void tell_answers(const struct buf *json, bool tells_each, struct tally *tally)
{
    json_t *answers = params_load(buf_text(json), json->len), *answer;
    size_t index;
    json_array_foreach(answers, index, answer)
    {
        const char *status = json_string_value(json_object_get(answer, "status"));
        const char *word = json_string_value(json_object_get(answer, "task_status"));
        const char *id = json_string_value(json_object_get(answer, "task_id"));
        const char *message = json_string_value(json_object_get(answer, "message"));
        bool is_missing = strcmp(status, "not_found") == 0;
        bool is_refused = is_missing || strcmp(status, "refused") == 0;
        tally->done += !is_refused;
        tally->refused += is_refused;
        enum err_code code = is_missing ? ERR_NOT_FOUND : is_refused ? ERR_STATE : ERR_NONE;
        if (!tally->status) tally->status = err_exit_status(code);
        if (!tells_each) continue;
        if (is_refused)
            output_note("%s: %s%s%s", id, word ? word : "", word ? ", " : "", message);
        else
            printf("%s %s: %s\n", id, status, message);
    }
    json_decref(answers);
}

static void print_tally(struct app *app, const struct verb *verb, size_t matched,
                        const struct tally *tally, bool dry_run)
{
    struct buf out = BUF_EMPTY;
    struct jsonw w;
    jsonw_init(&w, &out);
    if (app->json) {
        jsonw_object(&w);
        jsonw_key_int(&w, "matched", (int64_t)matched);
        jsonw_key_int(&w, "done", tally->done);
        jsonw_key_int(&w, "refused", tally->refused);
        jsonw_object_end(&w);
    } else if (dry_run) {
        buf_addf(&out, "%zu match, nothing was done", matched);
    } else {
        buf_addf(&out, "%zu matched; %s: %lld done, %lld refused", matched, verb->word,
                 (long long)tally->done, (long long)tally->refused);
    }
    output_line(&out);
    buf_close(&out);
}
