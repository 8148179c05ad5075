/* login.h: sessions of browsers: opened by a token, by the login of the settings, or by the link
 * that `serve` shows to whoever sees its terminal. */
#pragma once
#include "http/api.h"

struct logins; /* opaque */
/* ERR_INPUT: half a login is set. gives */
MUSTUSE bool logins_new(struct api *api, struct logins **out, struct err *err);
void logins_free(struct logins *logins);
/* What `code` of the link must be: once, for a quarter of an hour. */
void logins_make_code(struct logins *logins, char text[TOKEN_TEXT_SIZE]);

/* How who tries is answered: with the session's cookie set; with 401, or 503 while Postgres is
 * away. */
struct login_door {
    void (*let_in)(struct exchange *exchange);
    void (*refuse)(struct exchange *exchange, int status, const struct err *err);
};
/* Who has tried too often is answered 429. */
void login_by_token(struct exchange *exchange, const char *token, const struct login_door *door);
void login_by_password(struct exchange *exchange, const char *user, const char *password,
                       const struct login_door *door);
