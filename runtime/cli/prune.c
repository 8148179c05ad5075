/* prune.c: `prune`. */
#include "cli/commands.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"

static int run_prune(struct app *app, const struct cli_args *args);

static const struct cli_option options[] = { { "older-than", "D", "since they became final",
                                               false },
                                             { "dry-run", NULL, "only count", false },
                                             { 0 } };
const struct command command_prune = {
    .name = "prune",
    .usage = "--older-than D [--dry-run]",
    .summary = "forget final tasks that are old",
    .details = "CTUTOR_RESULT_TTL does the same by itself.\n\n"
               "Example:\n"
               "  ctutor-run prune --older-than 30d --dry-run\n",
    .options = options,
    .run = run_prune,
};

static int run_prune(struct app *app, const struct cli_args *args)
{
    struct err err;
    struct await await = { 0 };
    int64_t age_us = 0;
    bool dry_run = cli_has(args, "dry-run");
    bool good = cli_expect_words(&command_prune, args, 0, 0, &err);
    if (good && !cli_has(args, "older-than"))
        good = err_set(&err, ERR_INPUT, "how old? Give --older-than, as 30d");
    good = good && cli_duration(args, "older-than", &age_us, &err) && app_open_stores(app, &err);
    if (!good) return app_fail(app, &err);
    ledger_prune(app->ledger, age_us, dry_run, await_json, &await);
    good = await_run(&app->loop, &await, &err);
    if (good && app->json) {
        output_line(&await.json);
    } else if (good) {
        json_t *answer = params_load(buf_text(&await.json), await.json.len);
        struct buf out = BUF_EMPTY;
        buf_addf(&out, "%lld tasks%s", (long long)member_int(answer, "tasks"),
                 dry_run ? " would be forgotten" : " forgotten");
        output_line(&out);
        buf_close(&out);
        json_decref(answer);
    }
    await_close(&await);
    return good ? 0 : app_fail(app, &err);
}
