/* completion.c: `completion SHELL`: a script for the shell, made from the table of commands. */
#include <string.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"

#define SHELLS "bash zsh fish"

static int run_completion(struct app *app, const struct cli_args *args);
static void write_bash(struct buf *out);
static void write_zsh(struct buf *out);
static void write_fish(struct buf *out);
static void add_commands(struct buf *out);
static void add_words(struct buf *out, const struct command *command);
static void add_verbs(struct buf *out, const struct command *sibling);
static void add_quoted(struct buf *out, const char *text);

const struct command command_completion = {
    .name = "completion",
    .usage = "bash | zsh | fish",
    .summary = "print a completion script for a shell",
    .details = "Examples:\n"
               "  eval \"$(ctutor-run completion bash)\"     in ~/.bashrc\n"
               "  eval \"$(ctutor-run completion zsh)\"      in ~/.zshrc, behind compinit\n"
               "  ctutor-run completion fish | source      in ~/.config/fish/config.fish\n",
    .run = run_completion,
    .offline = true,
};

static int run_completion(struct app *app, const struct cli_args *args)
{
    static const struct {
        const char *shell;
        void (*write)(struct buf *out);
    } shells[] = { { "bash", write_bash }, { "zsh", write_zsh }, { "fish", write_fish } };
    struct err err;
    struct buf out = BUF_EMPTY;
    if (!cli_expect_words(&command_completion, args, 1, 1, &err)) return app_fail(app, &err);
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (strcmp(shells[i].shell, args->words[0]) == 0) shells[i].write(&out);
    if (!out.len) {
        err_set(&err, ERR_INPUT, "for bash, zsh or fish, not '%.60s'", args->words[0]);
        return app_fail(app, &err);
    }
    output_text(&out);
    buf_close(&out);
    return 0;
}

/* One function for bash and, through its emulation of bash completion, for zsh. */
static void write_bash(struct buf *out)
{
    size_t at = 0;
    buf_add_text(out, "_ctutor_run() {\n"
                      "  local now=\"${COMP_WORDS[COMP_CWORD]}\" one=\"${COMP_WORDS[1]}\" words\n"
                      "  local two=\"$one ${COMP_WORDS[2]}\"\n"
                      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                      "    COMPREPLY=($(compgen -W '");
    add_commands(out);
    buf_add_text(out, "' -- \"$now\")); return\n"
                      "  fi\n"
                      "  case \"$two\" in\n");
    for (const struct command *command; (command = command_next(&at));) {
        if (!strchr(command->name, ' ')) continue;
        buf_addf(out, "    '%s') words='", command->name);
        add_words(out, command);
        buf_add_text(out, "' ;;\n");
    }
    buf_add_text(out, "    *) case \"$one\" in\n");
    at = 0;
    for (const struct command *command; (command = command_next(&at));) {
        if (strchr(command->name, ' ')) continue;
        buf_addf(out, "      %s) words='", command->name);
        add_words(out, command);
        buf_add_text(out, "' ;;\n");
    }
    buf_add_text(out,
                 "    esac ;;\n  esac\n  if [ \"$COMP_CWORD\" -eq 2 ]; then case \"$one\" in\n");
    at = 0;
    for (const struct command *command; (command = command_next(&at));) {
        const char *verb = strchr(command->name, ' ');
        if (verb)
            buf_addf(out, "    %.*s) words=\"$words %s\" ;;&\n", (int)(verb - command->name),
                     command->name, verb + 1);
    }
    buf_add_text(out, "  esac; fi\n"
                      "  COMPREPLY=($(compgen -W \"$words\" -- \"$now\"))\n"
                      "  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- \"$now\"))\n"
                      "}\n"
                      "complete -F _ctutor_run ctutor-run\n");
}

static void write_zsh(struct buf *out)
{
    size_t at = 0;
    buf_add_text(out, "_ctutor_run() {\n"
                      "  local -a commands verbs options\n"
                      "  commands=(");
    add_commands(out);
    buf_add_text(out, ")\n"
                      "  if (( CURRENT == 2 )); then compadd -- $commands; return; fi\n"
                      "  case \"$words[2]\" in\n");
    for (const struct command *command; (command = command_next(&at));) {
        if (strchr(command->name, ' ')) continue;
        buf_addf(out, "    %s) options=(", command->name);
        add_words(out, command);
        buf_add_text(out, ") ;;\n");
    }
    buf_add_text(out, "  esac\n  case \"$words[2] $words[3]\" in\n");
    at = 0;
    for (const struct command *command; (command = command_next(&at));) {
        if (!strchr(command->name, ' ')) continue;
        buf_addf(out, "    '%s') options=(", command->name);
        add_words(out, command);
        buf_add_text(out, ") ;;\n");
    }
    buf_add_text(out, "  esac\n");
    at = 0;
    for (const struct command *command; (command = command_next(&at));) {
        const char *verb = strchr(command->name, ' ');
        if (verb)
            buf_addf(out, "  [[ \"$words[2]\" == %.*s ]] && verbs+=(%s)\n",
                     (int)(verb - command->name), command->name, verb + 1);
    }
    buf_add_text(out, "  (( CURRENT == 3 )) && compadd -- $verbs\n"
                      "  compadd -- $options\n"
                      "  _files\n"
                      "}\n"
                      "compdef _ctutor_run ctutor-run\n");
}

static void add_fish_option(struct buf *out, const struct command *command, const char *name,
                            const char *argument, const char *help)
{
    const char *verb = strchr(command->name, ' ');
    int len = verb ? (int)(verb - command->name) : (int)strlen(command->name);
    buf_addf(out, "complete -c ctutor-run -n '__fish_seen_subcommand_from %.*s", len,
             command->name);
    if (verb) buf_addf(out, "; and __fish_seen_subcommand_from %s", verb + 1);
    buf_addf(out, "' -l %s%s -d ", name, argument && *argument != '[' ? " -r" : "");
    add_quoted(out, help);
    buf_add_char(out, '\n');
}

static void write_fish(struct buf *out)
{
    size_t at = 0;
    for (const struct command *command; (command = command_next(&at));) {
        const char *verb = strchr(command->name, ' ');
        if (verb) {
            buf_addf(out,
                     "complete -c ctutor-run -n '__fish_seen_subcommand_from %.*s; and not "
                     "__fish_seen_subcommand_from",
                     (int)(verb - command->name), command->name);
            add_verbs(out, command);
            buf_addf(out, "' -f -a %s -d ", verb + 1);
        } else {
            buf_addf(out, "complete -c ctutor-run -n __fish_use_subcommand -f -a %s -d ",
                     command->name);
        }
        add_quoted(out, command->summary);
        buf_add_char(out, '\n');
        for (const struct cli_option *option = command->options; option && option->name; option++)
            add_fish_option(out, command, option->name, option->argument, option->help);
        add_fish_option(out, command, "json", NULL, "output for programs");
        add_fish_option(out, command, "help", NULL, "show its options and examples");
    }
    buf_add_text(out,
                 "complete -c ctutor-run -n __fish_use_subcommand -f -a worker\n"
                 "complete -c ctutor-run -n '__fish_seen_subcommand_from completion' -f -a '" SHELLS
                 "'\ncomplete -c ctutor-run -n '__fish_seen_subcommand_from help' -f -a '");
    add_commands(out);
    buf_add_text(out, "config'\n");
}

/* The first words of all commands, each once. */
static void add_commands(struct buf *out)
{
    size_t at = 0;
    const char *last = "";
    for (const struct command *command; (command = command_next(&at));) {
        size_t len = strcspn(command->name, " ");
        if (strncmp(last, command->name, len) == 0 && (last[len] == ' ' || !last[len])) continue;
        buf_addf(out, "%.*s ", (int)len, command->name);
        last = command->name;
    }
}

/* What may follow a command: its fixed words and its options. */
static void add_words(struct buf *out, const struct command *command)
{
    if (command == &command_completion) buf_add_text(out, SHELLS " ");
    if (command == &command_help) add_commands(out);
    if (command == &command_help) buf_add_text(out, "config ");
    for (const struct cli_option *option = command->options; option && option->name; option++)
        buf_addf(out, "--%s ", option->name);
    buf_add_text(out, "--json --help");
}

/* The second words of all commands that share the first one with it. */
static void add_verbs(struct buf *out, const struct command *sibling)
{
    size_t at = 0, len = strcspn(sibling->name, " ") + 1;
    for (const struct command *command; (command = command_next(&at));)
        if (strncmp(command->name, sibling->name, len) == 0 && command->name[len - 1] == ' ')
            buf_addf(out, " %s", command->name + len);
}

static void add_quoted(struct buf *out, const char *text)
{
    buf_add_char(out, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            buf_add_text(out, "\\'");
        else
            buf_add_char(out, *text);
    }
    buf_add_char(out, '\'');
}
