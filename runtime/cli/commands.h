/* commands.h: every command of the program. Each is defined in the file that runs it; main.c puts
 * them into groups, in the order of `help`. */
#pragma once
#include "cli/app.h"

extern const struct command command_up, command_serve, command_worker_start, command_worker_status,
    command_worker_reload, command_worker_stop;
extern const struct command command_submit, command_status, command_result, command_watch,
    command_logs, command_list;
extern const struct command command_cancel, command_retry, command_delete;
extern const struct command command_tasks, command_tasks_show, command_tasks_check,
    command_tasks_run;
extern const struct command command_queues, command_queues_pause, command_queues_resume,
    command_workers, command_audit, command_doctor, command_prune;
extern const struct command command_token_create, command_token_list, command_token_revoke;
extern const struct command command_migrate, command_version, command_help, command_completion;
extern const struct command command_internal_runner, command_internal_isolated,
    command_internal_checker;

struct command_group {
    const char *title;                    /* "Run tasks"; NULL ends the groups */
    const struct command *const *members; /* ends with NULL */
};
extern const struct command_group command_groups[];

/* The command that the first words name; used: how many of them (1 or 2). NULL: there is none. */
const struct command *command_find(int count, char *const *words, int *used);
/* Fills err with ERR_INPUT: unknown, what was meant perhaps, which verbs it takes. */
void command_explain_unknown(int count, char *const *words, struct err *err);
/* Walks all commands that are shown; NULL at the end. Start with *at = 0. */
const struct command *command_next(size_t *at);
