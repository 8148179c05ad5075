/* main.c: argv -> a command of the table. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/options.h"
#include "cli/output.h"
#include "task/suggest.h"

static const struct command *const running[] = { &command_up,
                                                 &command_serve,
                                                 &command_worker_start,
                                                 &command_worker_status,
                                                 &command_worker_reload,
                                                 &command_worker_stop,
                                                 &command_workers,
                                                 NULL };
static const struct command *const one_task[] = { &command_submit, &command_status, &command_result,
                                                  &command_watch,  &command_logs,   NULL };
static const struct command *const many_tasks[] = { &command_list, &command_cancel, &command_retry,
                                                    &command_delete, NULL };
static const struct command *const catalogue[] = { &command_tasks, &command_tasks_show,
                                                   &command_tasks_check, &command_tasks_run, NULL };
static const struct command *const system_care[] = { &command_queues,
                                                     &command_queues_pause,
                                                     &command_queues_resume,
                                                     &command_audit,
                                                     &command_doctor,
                                                     &command_prune,
                                                     &command_token_create,
                                                     &command_token_list,
                                                     &command_token_revoke,
                                                     &command_migrate,
                                                     NULL };
static const struct command *const program[] = { &command_help, &command_version,
                                                 &command_completion, NULL };
static const struct command *const inner[] = { &command_internal_runner, &command_internal_isolated,
                                               &command_internal_checker, NULL };

const struct command_group command_groups[] = { { "Run tasks here", running },
                                                { "One task", one_task },
                                                { "Many tasks", many_tasks },
                                                { "Task files", catalogue },
                                                { "The system", system_care },
                                                { "This program", program },
                                                { "", inner },
                                                { 0 } };

static void open_standard_descriptors(void);
static void on_interrupt(int number);
static int run(struct app *app, int argc, char **argv);
static int run_command(struct app *app, const struct command *command, int argc, char **argv);
static bool apply_settings(struct app *app, const struct command *command,
                           const struct cli_args *args, struct err *err);
static const struct command *find_by_name(const char *name);
static int finish_output(int status);

int main(int argc, char **argv)
{
    struct app app;
    open_standard_descriptors();
    fault_init();
    signal(SIGPIPE, SIG_IGN); /* a reader that went away shows when stdout is flushed */
    if (signal(SIGINT, on_interrupt) == SIG_IGN)
        signal(SIGINT, SIG_IGN); /* sent to the background */
    app_init(&app);
    int status = run(&app, argc - 1, argv + 1);
    app_close(&app);
    return finish_output(status);
}

/* The first files and sockets must not become 0, 1 and 2 where those were closed: what is printed
 * would go into them. A closed stdout still fails when it is written. */
static void open_standard_descriptors(void)
{
    static const int modes[] = { O_RDONLY, O_RDONLY, O_WRONLY };
    for (int i = 0; i < 3; i++)
        if (fcntl(i, F_GETFD) < 0 && open("/dev/null", modes[i]) != i) _exit(EXIT_FAILURE);
}

/* Of commands that have nothing to end in order; the others take the signal over. */
static void on_interrupt(int number)
{
    (void)number;
    _exit(130);
}

static int run(struct app *app, int argc, char **argv)
{
    for (; argc > 0 && strcmp(argv[0], "--json") == 0; argc--, argv++) app->json = true;
    if (argc == 0) {
        help_overview(stderr);
        return 2;
    }
    static char help[] = "help", version[] = "version";
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) argv[0] = help;
    if (strcmp(argv[0], "--version") == 0) argv[0] = version;
    int used;
    const struct command *command = command_find(argc, argv, &used);
    if (command) return run_command(app, command, argc - used, argv + used);
    struct err err;
    command_explain_unknown(argc, argv, &err);
    return app_fail(app, &err);
}

static int run_command(struct app *app, const struct command *command, int argc, char **argv)
{
    struct cli_args args;
    struct options_common common = { .json = app->json };
    struct err err;
    bool good = options_parse(command, argc, argv, &args, &common, &err);
    app->json = common.json;
    if (!good) return app_fail(app, &err);
    int status = 0;
    if (common.help)
        help_command(stdout, command);
    else if (!apply_settings(app, command, &args, &err))
        status = app_fail(app, &err);
    else
        status = command->run(app, &args);
    options_close(&args);
    return status;
}

static bool apply_settings(struct app *app, const struct command *command,
                           const struct cli_args *args, struct err *err)
{
    if (!config_load(&app->config, err)) return command->offline;
    for (int i = 0; i < SETTING_COUNT; i++) {
        const char *flag = setting_table[i].flag;
        const char *text = flag ? cli_value(args, flag) : NULL;
        if (text && !config_set_flag(app->config, (enum setting)i, text, err)) return false;
    }
    enum log_level level = LOG_INFO;
    (void)log_level_parse(config_text(app->config, SET_LOG), &level);
    log_init(level, strcmp(config_text(app->config, SET_LOG_FORMAT), "json") == 0, "");
    return true;
}

const struct command *command_find(int count, char *const *words, int *used)
{
    char name[64];
    for (*used = count < 2 ? count : 2; *used > 0; (*used)--) {
        snprintf(name, sizeof name, "%s%s%s", words[0], *used == 2 ? " " : "",
                 *used == 2 ? words[1] : "");
        const struct command *command = find_by_name(name);
        if (command) return command;
    }
    return NULL;
}

static const struct command *find_by_name(const char *name)
{
    for (const struct command_group *group = command_groups; group->title; group++)
        for (const struct command *const *member = group->members; *member; member++)
            if (strcmp((*member)->name, name) == 0) return *member;
    return NULL;
}

const struct command *command_next(size_t *at)
{
    size_t n = 0;
    for (const struct command_group *group = command_groups; group->title; group++) {
        for (const struct command *const *member = group->members; *member; member++) {
            if ((*member)->hidden || n++ < *at) continue;
            (*at)++;
            return *member;
        }
    }
    return NULL;
}

void command_explain_unknown(int count, char *const *words, struct err *err)
{
    struct buf verbs = BUF_EMPTY;
    char both[64] = "";
    if (count > 1) snprintf(both, sizeof both, "%s %s", words[0], words[1]);
    struct suggestion near = { .word = words[0] }, near_both = { .word = both };
    size_t at = 0, len = strlen(words[0]);
    for (const struct command *command; (command = command_next(&at));) {
        bool is_verb = strncmp(command->name, words[0], len) == 0 && command->name[len] == ' ';
        if (is_verb) buf_addf(&verbs, "%s%s", verbs.len ? ", " : "", command->name + len + 1);
        suggest_consider(&near, command->name);
        if (*both) suggest_consider(&near_both, command->name);
    }
    const char *nearest = near_both.nearest ? near_both.nearest : near.nearest;
    if (verbs.len && !near_both.nearest)
        err_set(err, ERR_INPUT, "%.60s needs one of: %s", words[0], buf_text(&verbs));
    else if (nearest)
        err_set(err, ERR_INPUT, "there is no command '%.60s': did you mean %s?",
                near_both.nearest ? both : words[0], nearest);
    else
        err_set(err, ERR_INPUT, "there is no command '%.60s': see ctutor-run help", words[0]);
    buf_close(&verbs);
}

static int finish_output(int status)
{
    int why = output_finish();
    if (why == 0 || why == EPIPE) return status;
    fprintf(stderr, "ctutor-run: what it printed was not written: %s\n", strerror(why));
    return status ? status : 1;
}
