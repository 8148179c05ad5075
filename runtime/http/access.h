/* access.h: who may do what. */
#pragma once
#include "http/api.h"

/* By the header alone. Gives 0, or the HTTP status to refuse with, and err says why. */
int access_check(struct exchange *exchange, struct err *err);
