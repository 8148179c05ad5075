/* help.c: `help`, `version`, and the --help of every command. */
#include "cli/help.h"

#include <string.h>

#include "base/jsonw.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "http/openapi.h"

static int run_help(struct app *app, const struct cli_args *args);
static int run_version(struct app *app, const struct cli_args *args);
static int help_config(struct app *app);
static int help_rest(void);
static bool help_verbs(FILE *out, const char *word, const struct command *but);
static void print_option(FILE *out, const char *name, const char *argument, const char *help);

const struct command command_help = {
    .name = "help",
    .usage = "[COMMAND | config | faults | rest]",
    .summary = "explain the program, a command or the settings",
    .details = "Examples:\n"
               "  ctutor-run help submit\n"
               "  ctutor-run help config      every setting, its value and where it comes from\n"
               "  ctutor-run help faults      where tests may break the program, and how\n"
               "  ctutor-run help rest        every route of the REST API, as in docs/rest.md\n",
    .run = run_help,
    .offline = true,
};
const struct command command_version = {
    .name = "version",
    .usage = "",
    .summary = "say which version this is",
    .run = run_version,
    .offline = true,
};

static int run_help(struct app *app, const struct cli_args *args)
{
    int used;
    if (args->count == 0) {
        help_overview(stdout);
        return 0;
    }
    if (args->count == 1 && strcmp(args->words[0], "config") == 0) return help_config(app);
    if (args->count == 1 && strcmp(args->words[0], "faults") == 0) return help_faults(app);
    if (args->count == 1 && strcmp(args->words[0], "rest") == 0) return help_rest();
    const struct command *command = command_find(args->count, args->words, &used);
    if (command && used == args->count) {
        help_command(stdout, command);
        return 0;
    }
    if (args->count == 1 && help_verbs(stdout, args->words[0], NULL)) return 0;
    struct err err;
    command_explain_unknown(args->count, args->words, &err);
    return app_fail(app, &err);
}

static int help_config(struct app *app)
{
    struct buf out = BUF_EMPTY;
    struct err err;
    if (!app->config && !config_load(&app->config, &err)) return app_fail(app, &err);
    config_print(app->config, &out, app->json);
    if (app->json) buf_add_char(&out, '\n');
    output_text(&out);
    buf_close(&out);
    return 0;
}

static int help_rest(void)
{
    struct buf out = BUF_EMPTY;
    openapi_reference(&out);
    output_text(&out);
    buf_close(&out);
    return 0;
}

void help_overview(FILE *out)
{
    fputs("ctutor-run runs tasks written in Lua: durable in Postgres, handed out by Redis.\n\n"
          "usage: ctutor-run COMMAND [WORDS] [--OPTIONS]\n",
          out);
    for (const struct command_group *group = command_groups; group->title; group++) {
        if (!*group->title) continue;
        fprintf(out, "\n%s\n", group->title);
        for (const struct command *const *member = group->members; *member; member++)
            fprintf(out, "  %-16s %s\n", (*member)->name, (*member)->summary);
    }
    fputs("\nEvery command knows --help, and --json for output that programs read.\n"
          "`ctutor-run help COMMAND` shows its options and examples, `ctutor-run help config` the\n"
          "settings. Exit status: 0 done, 1 the task failed, 2 refused, 3 a store or the API is "
          "away,\n"
          "4 no such task, 5 not final yet, 6 its status forbids it, 124 waited too long, 130\n"
          "interrupted.\n",
          out);
}

void help_command(FILE *out, const struct command *command)
{
    fprintf(out, "ctutor-run %s: %s\n\nusage: ctutor-run %s%s%s\n", command->name, command->summary,
            command->name, *command->usage ? " " : "", command->usage);
    if (command->details) fprintf(out, "\n%s", command->details);
    fputs("\nOptions:\n", out);
    for (const struct cli_option *option = command->options; option && option->name; option++)
        print_option(out, option->name, option->argument, option->help);
    print_option(out, "json", NULL, "output for programs: one JSON document, or one a line");
    print_option(out, "help", NULL, "show this");
    if (!strchr(command->name, ' ')) help_verbs(out, command->name, command);
}

/* The commands that begin with this word. false: there is none but that one. */
static bool help_verbs(FILE *out, const char *word, const struct command *but)
{
    size_t at = 0, len = strlen(word), count = 0;
    for (const struct command *command; (command = command_next(&at));) {
        if (command == but || strncmp(command->name, word, len) != 0 || command->name[len] != ' ')
            continue;
        if (count++ == 0 && but) fputs("\nSee also:\n", out);
        fprintf(out, "  %-16s %s\n", command->name, command->summary);
    }
    return count > 0;
}

static void print_option(FILE *out, const char *name, const char *argument, const char *help)
{
    char text[80];
    snprintf(text, sizeof text, "--%s%s%s", name, argument ? " " : "", argument ? argument : "");
    fprintf(out, "  %-22s %s\n", text, help);
}

static int run_version(struct app *app, const struct cli_args *args)
{
    struct buf out = BUF_EMPTY;
    struct jsonw w;
    struct err err;
    if (!cli_expect_words(&command_version, args, 0, 0, &err)) return app_fail(app, &err);
    jsonw_init(&w, &out);
    if (app->json) {
        jsonw_object(&w);
        jsonw_key_text(&w, "version", CTUTOR_VERSION);
        jsonw_key_int(&w, "schema", LEDGER_SCHEMA_VERSION);
        jsonw_object_end(&w);
    } else {
        buf_add_text(&out, "ctutor-run " CTUTOR_VERSION);
    }
    output_line(&out);
    buf_close(&out);
    return 0;
}
