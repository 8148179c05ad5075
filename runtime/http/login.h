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
