/* err.h: what went wrong, in words for a person and a code for the edge.
 *
 * Use: a fallible function returns bool and fills a `struct err` that the caller owns (on its
 * stack, or embedded). Each layer that knows more adds it with err_wrap; only the edge (cli, http,
 * settle) decides wording and exit status. Any thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define MUSTUSE                 __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

enum err_code {
    ERR_NONE = 0,
    ERR_INPUT,       /* refused: wrong usage, bad value, invalid parameters (exit 2) */
    ERR_DENIED,      /* not allowed: no right, or no proof of one (exit 2) */
    ERR_CONFLICT,    /* the id is in use by another task (exit 2) */
    ERR_TOO_LARGE,   /* over a limit (exit 2) */
    ERR_STORE,       /* Redis or Postgres cannot be reached, or did not answer in time (exit 3) */
    ERR_NOT_FOUND,   /* no such task or id (exit 4) */
    ERR_NOT_FINAL,   /* exit 5 */
    ERR_STATE,       /* its status forbids it (exit 6) */
    ERR_DEADLINE,    /* a wait ran out of time (exit 124) */
    ERR_INTERRUPTED, /* exit 130 */
    ERR_CANCELLED,   /* the operation was cancelled by its owner */
    ERR_DATA,        /* Postgres refused the data of a statement: repeating it is pointless */
    ERR_RETRY,       /* deadlock or serialisation failure: repeat the statement */
    ERR_FULL,        /* a queue is at CTUTOR_MAX_WAITING (exit 3, REST 503) */
    ERR_NOMEM,
    ERR_IO,      /* a file, pipe or process failed */
    ERR_INTERNAL /* our bug */
};

struct err {
    enum err_code code;
    char text[1000];
};

/* Fill and return false, so that `return err_set(err, ...)` reads well. err may be NULL. The text
 * is valid UTF-8 whatever the arguments hold (U+FFFD stands for the rest), cut at the buffer. */
bool err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Put context before the text: "context: text". Returns false. */
bool err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
void err_clear(struct err *err);
/* Exit status of interface.md section 3 for a code. */
int err_exit_status(enum err_code code);
