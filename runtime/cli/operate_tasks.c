/* operate_tasks.c: `cancel`, `retry` and `delete`: of ids, or of all that a filter matches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/filter.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/source.h"
#include "cli/wait.h"

struct verb {
    enum operation operation;
    const char *word;     /* "cancel" */
    const char *statuses; /* that it can work on: what a filter without --status means */
};

static int run_cancel(struct app *app, const struct cli_args *args);
static int run_retry(struct app *app, const struct cli_args *args);
static int run_delete(struct app *app, const struct cli_args *args);
static int run(struct app *app, const struct cli_args *args, const struct verb *verb);
static int operate_ids(struct app *app, const struct cli_args *args, const struct verb *verb);
static int operate_filter(struct app *app, const struct cli_args *args, const struct verb *verb,
                          const struct filter *filter);
static bool confirm(const struct cli_args *args, const struct verb *verb,
                    const struct matched *matched, struct err *err);
static int print_answers(struct app *app, const struct buf *json);
static void print_tally(struct app *app, const struct verb *verb, const struct tally *tally,
                        bool dry_run, bool is_capped);

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
    good = good && source_open(app, &err);
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
    struct buf answers = BUF_EMPTY;
    struct ident *ids = xcalloc((size_t)args->count, sizeof *ids);
    int status = 0;
    bool good = true, has_begun = false;
    for (int i = 0; good && i < args->count; i++) good = read_id(args->words[i], &ids[i], &err);
    if (good) {
        has_begun = true;
        good = source_operate(app, verb->operation, ids, (size_t)args->count, &answers, &err);
    }
    if (has_begun && !(app->json && !good)) status = print_answers(app, &answers);
    free(ids);
    buf_close(&answers);
    return good ? status : app_fail(app, &err);
}

/* The exit status: of the first that was refused. */
static int print_answers(struct app *app, const struct buf *json)
{
    json_t *answers = params_load(buf_text(json), json->len), *answer;
    size_t index;
    int first = 0;
    json_array_foreach(answers, index, answer)
    {
        json_object_del(answer, "queue"); /* of the ledger's, for itself */
        const char *status = member_text(answer, "status"), *id = member_text(answer, "task_id");
        const char *word = member_text(answer, "task_status");
        const char *message = member_text(answer, "message");
        bool is_missing = strcmp(status, "not_found") == 0;
        bool is_refused = is_missing || strcmp(status, "refused") == 0;
        enum err_code code = is_missing ? ERR_NOT_FOUND : is_refused ? ERR_STATE : ERR_NONE;
        if (!first) first = err_exit_status(code);
        if (app->json) continue;
        if (is_refused)
            output_note("%s: %s%s%s", id, word, *word ? ", " : "", message);
        else
            printf("%s %s: %s\n", id, status, message);
    }
    char *text = app->json ? json_dumps(answers, JSON_COMPACT) : NULL;
    if (text) output_stream_line(text, strlen(text));
    free(text);
    json_decref(answers);
    return first;
}

static int operate_filter(struct app *app, const struct cli_args *args, const struct verb *verb,
                          const struct filter *filter)
{
    struct task_filter wanted = filter->filter;
    struct matched matched = { 0 };
    struct err err;
    struct tally tally = { 0 };
    bool dry_run = cli_has(args, "dry-run");
    if (!wanted.statuses) wanted.statuses = verb->statuses;
    bool good = source_match(app, &wanted, &matched, &err);
    bool is_over = dry_run || matched.count == 0;
    tally.matched = matched.count;
    good = good && (is_over || confirm(args, verb, &matched, &err)) &&
           (is_over || source_operate_matched(app, verb->operation, &matched, &tally, &err));
    if (good) print_tally(app, verb, &tally, dry_run, matched.is_capped);
    matched_close(&matched);
    return good ? 0 : app_fail(app, &err);
}

static bool confirm(const struct cli_args *args, const struct verb *verb,
                    const struct matched *matched, struct err *err)
{
    char answer[16] = "";
    long long count = matched->count;
    const char *or_more = matched->is_capped ? " or more" : "";
    if (cli_has(args, "yes")) return true;
    if (isatty(STDIN_FILENO) != 1 || isatty(STDERR_FILENO) != 1)
        return err_set(err, ERR_INPUT, "%lld%s match: confirm with --yes (--dry-run only looks)",
                       count, or_more);
    fprintf(stderr, "%s %lld%s task%s? [y/N] ", verb->word, count, or_more, count == 1 ? "" : "s");
    if (fgets(answer, sizeof answer, stdin) && (*answer == 'y' || *answer == 'Y')) return true;
    return err_set(err, ERR_INPUT, "nothing was done");
}

static void print_tally(struct app *app, const struct verb *verb, const struct tally *tally,
                        bool dry_run, bool is_capped)
{
    struct buf out = BUF_EMPTY;
    struct jsonw w;
    long long matched = tally->matched;
    jsonw_init(&w, &out);
    if (app->json) {
        jsonw_object(&w);
        jsonw_key_int(&w, "matched", tally->matched);
        jsonw_key_int(&w, "done", tally->done);
        jsonw_key_int(&w, "refused", tally->refused);
        jsonw_object_end(&w);
    } else if (dry_run) {
        buf_addf(&out, "%lld%s match, nothing was done", matched, is_capped ? " or more" : "");
    } else {
        buf_addf(&out, "%lld matched; %s: %lld done, %lld refused", matched, verb->word,
                 (long long)tally->done, (long long)tally->refused);
    }
    output_line(&out);
    buf_close(&out);
}
