/* wait_tell.h: tells what is known of one task: each change once, as a line of JSON to
 * wait_options.news, and as a progress bar on a terminal. What was told last is in here. */
#pragma once
#include "base/clock.h"
#include "cli/wait.h"

struct telling {
    struct app *app;
    const struct wait_options *options;
    char id_text[IDENT_TEXT_SIZE];
    enum task_status status; /* what was told last */
    int64_t attempt;
    bool is_told;
    int64_t begin_us;
    /* private */
    double percent;
    json_t *metadata;
    char progress_at[TIME_TEXT_SIZE]; /* of that progress */
    bool has_bar;                     /* on stderr; not among JSON on the same terminal */
    int64_t shown_us;
};
/* Both are borrowed until telling_close. */
void telling_init(struct telling *telling, struct app *app, const struct wait_options *options,
                  const struct ident *id);
void telling_close(struct telling *telling);
/* at: when it happened; "": since when is not known. What was told already is not told again. */
void tell_status(struct telling *telling, enum task_status status, int64_t attempt, const char *at);
/* progress: {percentage, metadata}; nothing without a percentage, or older than what was told. */
void tell_progress(struct telling *telling, const json_t *progress, const char *at);
void tell_log(struct telling *telling, const json_t *log);
/* Shows the bar, if there is one; call it often. */
void tell_bar(struct telling *telling);
