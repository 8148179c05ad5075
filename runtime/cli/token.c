/* token.c: `token create`, `token list`, `token revoke`. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/table.h"
#include "ledger/access.h"
#include "lifecycle/token.h"

static int run_create(struct app *app, const struct cli_args *args);
static int run_list(struct app *app, const struct cli_args *args);
static int run_revoke(struct app *app, const struct cli_args *args);
static bool read_wish(const struct cli_args *args, struct token_wish *wish, struct err *err);
static bool create(struct app *app, const struct token_wish *wish, struct await *await,
                   struct err *err);
static void print_tokens(struct app *app, const json_t *tokens);
static void add_rights(struct buf *out, const json_t *token);

static const struct cli_option create_options[] = {
    { "scope", "read|submit|admin", "what it may do; each holds those before it", false },
    { "tasks", "GLOB", "only tasks of such names, as grade_*", false },
    { "own", NULL, "only tasks that were submitted with this token", false },
    { "expires", "D", "how long it is good for, as 30d; default: until it is revoked", false },
    { 0 }
};
const struct command command_token_create = {
    .name = "token create",
    .usage = "[NAME] --scope read|submit|admin [--tasks GLOB] [--own] [--expires D]",
    .summary = "make a token for the REST API",
    .details =
        "read looks; submit also submits, cancels and retries; admin does everything. The token\n"
        "is printed once, and only its hash is kept. From the first token on, `serve` answers\n"
        "nobody without one, also when all are revoked. Tasks that are submitted with it carry\n"
        "token:NAME as created_by.\n\n"
        "Examples:\n"
        "  ctutor-run token create dashboard --scope read\n"
        "  ctutor-run token create grader --scope submit --tasks 'grade_*' --own --expires 90d\n",
    .options = create_options,
    .run = run_create,
};
const struct command command_token_list = {
    .name = "token list",
    .usage = "",
    .summary = "list the tokens, when they were used last, and open sessions",
    .details = "Example:\n"
               "  ctutor-run token list --json\n",
    .run = run_list,
};
const struct command command_token_revoke = {
    .name = "token revoke",
    .usage = "ID",
    .summary = "end a token, or a session, at once",
    .details = "Sessions that it has opened end with it.\n\n"
               "Example:\n"
               "  ctutor-run token revoke 3f9a0c5e71b2d846\n",
    .run = run_revoke,
};

static int run_create(struct app *app, const struct cli_args *args)
{
    struct err err;
    struct await await = { 0 };
    struct token_wish wish = { 0 };
    bool good = cli_expect_words(&command_token_create, args, 0, 1, &err) &&
                read_wish(args, &wish, &err) && app_open_stores(app, &err) &&
                create(app, &wish, &await, &err);
    await_close(&await);
    return good ? 0 : app_fail(app, &err);
}

static bool read_wish(const struct cli_args *args, struct token_wish *wish, struct err *err)
{
    const char *field;
    *wish = (struct token_wish){ .name = args->count ? args->words[0] : NULL,
                                 .scope = cli_value(args, "scope"),
                                 .tasks = cli_value(args, "tasks"),
                                 .own = cli_has(args, "own") };
    if (!cli_duration(args, "expires", &wish->expires_us, err)) return false;
    if (cli_has(args, "expires") && wish->expires_us == 0) wish->expires_us = -1;
    if (token_wish_check(wish, &field, err)) return true;
    bool is_option = strcmp(field, "name") != 0;
    return err_wrap(err, "%s%s", is_option ? "--" : "", field);
}

static bool create(struct app *app, const struct token_wish *wish, struct await *await,
                   struct err *err)
{
    struct token token;
    char text[TOKEN_TEXT_SIZE], hash[TOKEN_HEX_SIZE];
    struct buf out = BUF_EMPTY;
    token_make(&token, text);
    token_hash_text(&token, hash);
    const struct token_row row = { .id = token.id,
                                   .hash = hash,
                                   .name = wish->name ? wish->name : token.id,
                                   .scope = wish->scope,
                                   .tasks = wish->tasks,
                                   .own = wish->own,
                                   .lives_us = wish->expires_us };
    ledger_token_create(app->ledger, &row, app_actor(), await_json, await);
    bool good = await_run(&app->loop, await, err);
    if (good && await->json.len == 0)
        good = err_set(err, ERR_CONFLICT, "there is a token named %s: revoke it first", row.name);
    if (good && app->json) {
        buf_addf(&out, "{\"token\":\"%s\",", text);
        buf_add(&out, await->json.data + 1, await->json.len - 1);
    } else if (good) {
        output_note("token %s, id %s: it is shown this once", row.name, row.id);
        buf_add_text(&out, text);
    }
    if (good) output_line(&out);
    buf_close(&out);
    explicit_bzero(text, sizeof text);
    return good;
}

static int run_list(struct app *app, const struct cli_args *args)
{
    struct err err;
    struct await await = { 0 };
    if (!cli_expect_words(&command_token_list, args, 0, 0, &err) || !app_open_stores(app, &err))
        return app_fail(app, &err);
    ledger_tokens(app->ledger, await_json, &await);
    bool good = await_run(&app->loop, &await, &err);
    if (good && app->json) {
        output_line(&await.json);
    } else if (good) {
        json_t *root = params_load(buf_text(&await.json), await.json.len);
        print_tokens(app, json_object_get(root, "tokens"));
        json_decref(root);
    }
    await_close(&await);
    return good ? 0 : app_fail(app, &err);
}

static const struct table_column columns[] = {
    { "ID", false, false },     { "NAME", false, true },     { "MAY", false, true },
    { "STATE", false, false },  { "EXPIRES", false, false }, { "LAST USED", false, false },
    { "MADE BY", false, true },
};

static void print_tokens(struct app *app, const json_t *tokens)
{
    static const char *const times[] = { "expires_at", "last_used_at" };
    struct table *table = table_new(columns, COUNT_OF(columns));
    struct buf out = BUF_EMPTY, cell = BUF_EMPTY;
    size_t index;
    json_t *token;
    json_array_foreach((json_t *)(uintptr_t)tokens, index, token)
    {
        const char *state = member_text(token, "state");
        bool is_session = json_is_true(json_object_get(token, "session"));
        table_cell(table, member_text(token, "id"));
        buf_addf(&cell, "%s%s", is_session ? "session of " : "", member_text(token, "name"));
        table_cell(table, buf_text(&cell));
        buf_clear(&cell);
        add_rights(&cell, token);
        table_cell(table, buf_text(&cell));
        buf_clear(&cell);
        table_cell_colour(table, state, strcmp(state, "active") == 0 ? "32" : "31");
        for (size_t i = 0; i < COUNT_OF(times); i++) {
            int64_t at_us;
            if (time_parse(member_text(token, times[i]), &at_us, NULL))
                output_add_local_time(&cell, at_us);
            table_cell(table, buf_text(&cell));
            buf_clear(&cell);
        }
        table_cell(table, member_text(token, "created_by"));
    }
    table_print(table, output_width(STDOUT_FILENO), app->colour, &out);
    output_text(&out);
    table_free(table);
    buf_close(&cell);
    buf_close(&out);
}

static void add_rights(struct buf *out, const json_t *token)
{
    const char *tasks = member_text(token, "tasks");
    buf_addf(out, "%s%s%s", member_text(token, "scope"), *tasks ? " " : "", tasks);
    if (json_is_true(json_object_get(token, "own"))) buf_add_text(out, " (own)");
}

static int run_revoke(struct app *app, const struct cli_args *args)
{
    struct err err;
    struct await await = { 0 };
    if (!cli_expect_words(&command_token_revoke, args, 1, 1, &err) || !app_open_stores(app, &err))
        return app_fail(app, &err);
    ledger_token_revoke(app->ledger, args->words[0], app_actor(), await_json, &await);
    bool good = await_run(&app->loop, &await, &err);
    if (good && await.json.len == 0)
        good = err_set(&err, ERR_NOT_FOUND, "there is no token %.64s: see ctutor-run token list",
                       args->words[0]);
    if (good && app->json) {
        output_line(&await.json);
    } else if (good) {
        struct buf out = BUF_EMPTY;
        buf_addf(&out, "%.64s is revoked", args->words[0]);
        output_line(&out);
        buf_close(&out);
    }
    await_close(&await);
    return good ? 0 : app_fail(app, &err);
}
