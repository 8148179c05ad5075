/* dotenv.h: the `.env` of the working directory: KEY=VALUE lines, `export ` before them, comments,
 * '...' taken as it is and "..." with \n \t \" \\ \$; quoted values may span lines. Nothing is
 * expanded. */
#pragma once
#include <stddef.h>

#include "base/err.h"

struct dotenv_entry {
    char *key, *value; /* owned */
    int line;
};

struct dotenv {
    struct dotenv_entry *entries; /* owned */
    size_t count;
};

/* Reads path. A file that is missing, or that others could have written (a warning says so), counts
 * as empty. */
MUSTUSE bool dotenv_read(const char *path, struct dotenv *out, struct err *err);
/* The error begins with `.env:LINE`. */
MUSTUSE bool dotenv_parse(const char *text, struct dotenv *out, struct err *err);
const struct dotenv_entry *dotenv_find(const struct dotenv *dotenv,
                                       const char *key); /* the last, or NULL */
void dotenv_close(struct dotenv *dotenv);
