/* migrate.c: `migrate`: the schema, made or brought to the version of this program, and who may use
 * its doors. */
#include <string.h>

#include "base/jsonw.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "lifecycle/await.h"

static int run(struct app *app, const struct cli_args *args);
static bool check(const struct cli_args *args, struct err *err);
static bool migrate(struct app *app, const char *door, const char *role, int64_t *applied,
                    struct err *err);
static void show(const struct app *app, const char *door, const char *role, int64_t applied);

static const struct cli_option options[] = {
    { "grant", "submit|read", "let a role of Postgres submit and cancel, or read the tasks",
      false },
    { 0 }
};

const struct command command_migrate = {
    .name = "migrate",
    .usage = "[--grant submit|read ROLE]",
    .summary = "make the schema in Postgres, or update it",
    .details =
        "Two at once are safe. Workers make an absent schema by themselves; an older one they\n"
        "refuse until this has run.\n\n"
        "--grant lets a role of Postgres that exists call the functions submit and cancel, or\n"
        "read the view task_info. Nothing else of the schema opens, and nobody may do it unasked.\n"
        "Granting twice does no harm; REVOKE ALL ON ALL FUNCTIONS (or task_info) takes it back.\n\n"
        "Example:\n"
        "  ctutor-run migrate --grant submit web_app\n",
    .options = options,
    .run = run,
};

static int run(struct app *app, const struct cli_args *args)
{
    struct err err;
    const char *door = cli_value(args, "grant"), *role = door && args->count ? args->words[0] : "";
    int64_t applied = 0;
    if (!check(args, &err) || !app_refuse_api(app, &err) || !app_open_ledger(app, &err) ||
        !migrate(app, door, role, &applied, &err)) {
        return app_fail(app, &err);
    }
    show(app, door, role, applied);
    return 0;
}

static bool check(const struct cli_args *args, struct err *err)
{
    const char *door = cli_value(args, "grant");
    if (door && strcmp(door, "submit") != 0 && strcmp(door, "read") != 0) {
        return err_set(err, ERR_INPUT, "--grant %.100s: there is submit and read", door);
    }
    if (door && args->count == 0) {
        return err_set(err, ERR_INPUT, "--grant %s: to which role? usage: ctutor-run migrate %s",
                       door, command_migrate.usage);
    }
    return cli_expect_words(&command_migrate, args, 0, door ? 1 : 0, err);
}

static bool migrate(struct app *app, const char *door, const char *role, int64_t *applied,
                    struct err *err)
{
    struct await await = { 0 };
    ledger_migrate(app->ledger, await_done, &await);
    if (!await_run(&app->loop, &await, err)) return false;
    *applied = await.count;
    if (!door) return true;
    await = (struct await){ 0 };
    ledger_grant(app->ledger, door, role, await_done, &await);
    if (!await_run(&app->loop, &await, err)) return err_wrap(err, "--grant %s %.100s", door, role);
    return await.count ||
           err_set(err, ERR_INPUT, "Postgres has no role %.100s: make it with CREATE ROLE", role);
}

static void show(const struct app *app, const char *door, const char *role, int64_t applied)
{
    const char *schema = config_text(app->config, SET_NAMESPACE);
    struct buf out = BUF_EMPTY;
    if (app->json) {
        struct jsonw w;
        jsonw_init(&w, &out);
        jsonw_object(&w);
        jsonw_key_text(&w, "schema", schema);
        jsonw_key_int(&w, "version", LEDGER_SCHEMA_VERSION);
        jsonw_key_int(&w, "applied", applied);
        if (door) {
            jsonw_key_text(&w, "granted", door);
            jsonw_key_text(&w, "role", role);
        }
        jsonw_object_end(&w);
    } else {
        buf_addf(&out, "schema %s has version %d (%lld steps were missing)", schema,
                 LEDGER_SCHEMA_VERSION, (long long)applied);
        if (door) buf_addf(&out, "\nrole %s may %s", role, door);
    }
    output_line(&out);
    buf_close(&out);
}
