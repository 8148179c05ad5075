/* settle.h: how runs ended -> the ledger, batched and fenced; then pushes and announcements. The
 * end of a task's journey.
 *
 * A finish without an answer is repeated (it is made to be). A batch that Postgres refuses for its
 * data is halved until the culprit stands alone: that one ends as unstorable, its neighbours
 * commit. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "broker/broker.h"
#include "ledger/ledger.h"
#include "loop/loop.h"

struct settler; /* opaque */

/* verdict as the ledger wrote it. Exactly once, later. */
typedef void settle_fn(void *arg, const struct finished *finished);

struct settler *settler_new(struct loop *loop, struct broker *broker, struct ledger *ledger,
                            const struct ident *incarnation);
void settler_free(struct settler *settler);
/* finish is copied, texts included. name and queue are for events. */
void settle(struct settler *settler, const struct finish *finish, int32_t attempt, settle_fn *done,
            void *arg);
size_t settler_pending(const struct settler *settler);       /* items not yet committed */
size_t settler_pending_bytes(const struct settler *settler); /* memory they hold */
int64_t settler_fenced(const struct settler *settler); /* finishes that came too late, counted */
double settler_batch(const struct settler *settler);   /* items of a finish, lately */
