/* wait.h: follows one task until it is final.
 *
 * Redis announces what happens; what the ledger says once a second (more often at first) makes up
 * for every line that was lost, so it works without Redis. Final is what the ledger calls final. */
#pragma once
#include <jansson.h>

#include "cli/app.h"

struct wait_options {
    bool tells_id;      /* the id goes to stderr, once Ctrl-C would end the wait and no more */
    int64_t at_most_us; /* -1: as long as it takes */
    bool wants_logs;
    /* Every change once, in the form of `watch --json`; the final status is the last one. May be
     * NULL. Both arguments are borrowed. */
    void (*news)(void *arg, const char *line, const json_t *event);
    void *arg;
};
/* Shows a progress bar on a terminal. false: ERR_NOT_FOUND, ERR_DEADLINE, ERR_INTERRUPTED,
 * ERR_STORE. */
MUSTUSE bool wait_until_final(struct app *app, const struct ident *id,
                              const struct wait_options *options, struct err *err);
/* Of a task id on the command line. */
MUSTUSE bool read_id(const char *text, struct ident *id, struct err *err);
