/* options.c: see options.h. Everything refers to argv, nothing is copied. */
#include "cli/options.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "task/suggest.h"

struct cli_values {
    size_t count;
    struct {
        const char *name, *text;
    } at[];
};

static bool take_option(const struct command *command, int argc, char **argv, int *at,
                        struct cli_args *out, struct options_common *common, struct err *err);
static const struct cli_option *find_option(const struct command *command, const char *name,
                                            size_t len);
static bool names_file(const struct cli_option *option);
static bool refuse_unknown(const struct command *command, const char *word, size_t len,
                           struct err *err);

bool options_parse(const struct command *command, int argc, char **argv, struct cli_args *out,
                   struct options_common *common, struct err *err)
{
    size_t room = (size_t)argc + 1;
    *out = (struct cli_args){ .words = xcalloc(room, sizeof *out->words) };
    out->values = xcalloc(1, sizeof *out->values + room * sizeof out->values->at[0]);
    for (int at = 0; at < argc; at++) {
        if (strcmp(argv[at], "--") == 0) {
            while (++at < argc) out->words[out->count++] = argv[at];
        } else if (argv[at][0] != '-' || argv[at][1] == '\0') {
            out->words[out->count++] = argv[at];
        } else if (!take_option(command, argc, argv, &at, out, common, err)) {
            for (; at < argc && strcmp(argv[at], "--") != 0; at++)
                common->json |= strcmp(argv[at], "--json") == 0;
            options_close(out);
            return false;
        }
    }
    return true;
}

void options_close(struct cli_args *args)
{
    free(args->values);
    free(args->words);
    *args = (struct cli_args){ 0 };
}

const char *cli_value(const struct cli_args *args, const char *name)
{
    size_t count = cli_count(args, name);
    return count ? cli_at(args, name, count - 1) : NULL;
}

bool cli_has(const struct cli_args *args, const char *name) { return cli_count(args, name) > 0; }

size_t cli_count(const struct cli_args *args, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < args->values->count; i++)
        if (strcmp(args->values->at[i].name, name) == 0) count++;
    return count;
}

const char *cli_at(const struct cli_args *args, const char *name, size_t nth)
{
    for (size_t i = 0; i < args->values->count; i++)
        if (strcmp(args->values->at[i].name, name) == 0 && nth-- == 0)
            return args->values->at[i].text;
    return NULL;
}

bool cli_int(const struct cli_args *args, const char *name, int64_t min, int64_t max,
             int64_t *value, struct err *err)
{
    const char *text = cli_value(args, name);
    if (!text) return true;
    char *end;
    bool is_number = text[text[0] == '-'] >= '0' && text[text[0] == '-'] <= '9';
    long long number = strtoll(text, &end, 10);
    if (!is_number || *end || number < min || number > max)
        return err_set(err, ERR_INPUT, "--%s must be a whole number from %lld to %lld, is '%.60s'",
                       name, (long long)min, (long long)max, text);
    *value = number;
    return true;
}

bool cli_duration(const struct cli_args *args, const char *name, int64_t *us, struct err *err)
{
    const char *text = cli_value(args, name);
    if (!text) return true;
    return duration_parse(text, us, err) || err_wrap(err, "--%s", name);
}

bool cli_wait(const struct cli_args *args, int64_t *us, struct err *err)
{
    const char *text = cli_value(args, "wait");
    return !text || !*text || cli_duration(args, "wait", us, err);
}

bool cli_expect_words(const struct command *command, const struct cli_args *args, int min, int max,
                      struct err *err)
{
    if (args->count >= min && args->count <= max) return true;
    if (args->count > max)
        return err_set(err, ERR_INPUT, "'%.100s' is too much; usage: ctutor-run %s %s",
                       args->words[max], command->name, command->usage);
    return err_set(err, ERR_INPUT, "something is missing; usage: ctutor-run %s %s", command->name,
                   command->usage);
}

/* Leaves *at on the last word that was taken. */
static bool take_option(const struct command *command, int argc, char **argv, int *at,
                        struct cli_args *out, struct options_common *common, struct err *err)
{
    const char *word = argv[*at];
    const char *name = word + 2;
    size_t len = strcspn(word, "=") - (word[1] == '-' ? 2 : 0);
    const char *text = word[1] == '-' && name[len] == '=' ? name + len + 1 : NULL;
    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) return common->help = true;
    if (strcmp(word, "--json") == 0) return common->json = true;
    const struct cli_option *option = word[1] == '-' ? find_option(command, name, len) : NULL;
    if (!option) return refuse_unknown(command, word, strcspn(word, "="), err);
    if (!option->argument && text)
        return err_set(err, ERR_INPUT, "--%s takes no value", option->name);
    const char *next = *at + 1 < argc ? argv[*at + 1] : NULL;
    if (option->argument && !text && option->argument[0] == '[') {
        int64_t ignored;
        if (next && duration_parse(next, &ignored, NULL)) text = argv[++*at];
    } else if (option->argument && !text) {
        if (!next || strncmp(next, "--", 2) == 0)
            return err_set(err, ERR_INPUT, "--%s needs a value: --%s=%s", option->name,
                           option->name, option->argument);
        text = argv[++*at];
    }
    if (text && !names_file(option) && !utf8_is_valid(text, strlen(text)))
        return err_set(err, ERR_INPUT, "--%s is not valid UTF-8", option->name);
    struct cli_values *values = out->values;
    values->at[values->count].name = option->name;
    values->at[values->count++].text = text ? text : "";
    return true;
}

/* Paths are bytes. */
static bool names_file(const struct cli_option *option)
{
    return strstr(option->argument, "FILE") || strstr(option->argument, "DIR");
}

static const struct cli_option *find_option(const struct command *command, const char *name,
                                            size_t len)
{
    for (const struct cli_option *option = command->options; option && option->name; option++)
        if (strncmp(option->name, name, len) == 0 && option->name[len] == '\0') return option;
    return NULL;
}

static bool refuse_unknown(const struct command *command, const char *word, size_t len,
                           struct err *err)
{
    char *given = xstrndup(word, len);
    struct suggestion near = { .word = given + strspn(given, "-") };
    suggest_consider(&near, "json");
    suggest_consider(&near, "help");
    for (const struct cli_option *option = command->options; option && option->name; option++)
        suggest_consider(&near, option->name);
    if (near.nearest)
        err_set(err, ERR_INPUT, "%s has no option %.60s: did you mean --%s?", command->name, given,
                near.nearest);
    else
        err_set(err, ERR_INPUT, "%s has no option %.60s: see ctutor-run help %s", command->name,
                given, command->name);
    free(given);
    return false;
}
