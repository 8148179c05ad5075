/* postgres_url.h: DATABASE_URL in libpq's own reading. Nothing here connects. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

enum postgres_url_form {
    POSTGRES_URL_FULL,   /* everything, to connect with */
    POSTGRES_URL_MASKED, /* everything, secrets as *** */
    POSTGRES_URL_PLACE   /* host, port, user and database: for messages */
};

/* A URI or connection string as a connection string; password is added if it has none (NULL: none).
 * The error never repeats a part of the text. gives */
MUSTUSE bool postgres_url_convert(const char *text, const char *password,
                                  enum postgres_url_form form, char **out, struct err *err);
/* Appends ` keyword=value`, quoted as libpq wants it. */
void postgres_url_add(struct buf *conninfo, const char *keyword, const char *value);
