/* access.h: who may do what. */
#pragma once
#include "http/api.h"

/* By the header alone. Gives 0 and fills exchange->grant, or the HTTP status to refuse with, and
 * err says why. */
int access_check(struct exchange *exchange, struct err *err);
void access_refuse(struct exchange *exchange, int status, const struct err *err);
/* The request came by a name that is reached by https alone. */
bool access_is_https(const struct exchange *exchange);

#define SESSION_COOKIE "ctutor_session"
