/* migrate.c: `migrate`: the schema, made or brought to the version of this program. */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "lifecycle/await.h"

static int run(struct app *app, const struct cli_args *args);

static const struct cli_option options[] = { { 0 } };

const struct command command_migrate = {
    .name = "migrate",
    .usage = "",
    .summary = "make the schema in Postgres, or update it",
    .details =
        "Two at once are safe. Workers make an absent schema by themselves; an older one they\n"
        "refuse until this has run.\n",
    .options = options,
    .run = run,
};

static int run(struct app *app, const struct cli_args *args)
{
    struct err err;
    struct await await = { 0 };
    if (!cli_expect_words(&command_migrate, args, 0, 0, &err)) return app_fail(app, &err);
    if (!app_refuse_api(app, &err) || !app_open_ledger(app, &err)) return app_fail(app, &err);
    ledger_migrate(app->ledger, await_done, &await);
    if (!await_run(&app->loop, &await, &err)) return app_fail(app, &err);
    const char *schema = config_text(app->config, SET_NAMESPACE);
    if (app->json)
        printf("{\"schema\":\"%s\",\"version\":%d,\"applied\":%lld}\n", schema,
               LEDGER_SCHEMA_VERSION, (long long)await.count);
    else
        printf("schema %s has version %d (%lld steps were missing)\n", schema,
               LEDGER_SCHEMA_VERSION, (long long)await.count);
    return 0;
}
