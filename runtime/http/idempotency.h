/* idempotency.h: the Idempotency-Key of a request: repeated within a day it gets the first answer
 * again, and nothing is done twice. */
#pragma once
#include "http/api.h"
#include "lifecycle/door.h"

#define IDEMPOTENCY_KEY_MAX 255

struct idempotency {
    char *key;     /* of this client; NULL: the request has none */
    char body[65]; /* hash of path and body */
};
/* false: it has been answered: the key is no key. */
MUSTUSE bool idempotency_read(struct exchange *exchange, struct idempotency *out);
void idempotency_close(struct idempotency *idempotency);
/* index: of a task among those of one request; -1: it is the only one. */
void idempotency_apply(const struct idempotency *idempotency, int index,
                       struct submission_box *box);
