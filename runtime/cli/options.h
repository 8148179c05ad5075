/* options.h: the words of the command line -> options and the words that are left. Pure.
 *
 * `--name=value` and `--name value`; a value of the second form does not begin with `--`. An
 * argument "[D]" takes the next word only if that is a duration. `--` ends the options. */
#pragma once
#include "cli/app.h"

struct options_common {
    bool json, help; /* --json and --help (-h), which every command has */
};

/* Borrows argv. false: ERR_INPUT; common.json is right even then. */
MUSTUSE bool options_parse(const struct command *command, int argc, char **argv,
                           struct cli_args *out, struct options_common *common, struct err *err);
void options_close(struct cli_args *args);

/* The value of an option as a number. false: ERR_INPUT, naming the option. Absent: as it was. */
MUSTUSE bool cli_int(const struct cli_args *args, const char *name, int64_t min, int64_t max,
                     int64_t *value, struct err *err);
MUSTUSE bool cli_duration(const struct cli_args *args, const char *name, int64_t *us,
                          struct err *err);
/* Of --wait [D], which may stand alone: then *us stays as it was. */
MUSTUSE bool cli_wait(const struct cli_args *args, int64_t *us, struct err *err);
/* Exactly as many words as the usage shows, else ERR_INPUT with it. */
MUSTUSE bool cli_expect_words(const struct command *command, const struct cli_args *args, int min,
                              int max, struct err *err);
