/* remote.h: a REST API (docs/rest.md) that stands for the stores: one question, one answer, in the
 * form in which the ledger answers. */
#pragma once
#include "base/buf.h"
#include "config/config.h"
#include "ledger/ledger.h"
#include "loop/loop.h"

struct remote; /* opaque */

/* Sends nothing yet. gives *out. false: ERR_INPUT: address or token cannot be right. */
MUSTUSE bool remote_new(struct loop *loop, const struct config *config, struct remote **out,
                        struct err *err);
void remote_free(struct remote *remote);
/* It was there at some time, so that it may come back. */
bool remote_has_answered(const struct remote *remote);

/* path: behind /api, with its query. takes_json: the body, or NULL. most_us: for the answer.
 * An answer 2xx is passed on as it is. Any other one is an err with its `detail`, and its text
 * comes along; ERR_STORE when there was none. is_unknown of remote_ask: it may have been done all
 * the same. */
typedef void remote_fn(void *arg, const char *json, size_t len, bool is_unknown,
                       const struct err *err);
void remote_ask(struct remote *remote, const char *method, const char *path, struct buf *takes_json,
                int64_t most_us, remote_fn *done, void *arg);
/* GET; what is not there is "", as with the ledger. */
void remote_get(struct remote *remote, const char *path, ledger_json_fn *done, void *arg);

/* Follows one task by its event stream. One that breaks is not begun anew before it is called
 * again. */
void remote_follow(struct remote *remote, const struct ident *id,
                   void (*event)(void *arg, const char *line, size_t len), void *arg);
void remote_unfollow(struct remote *remote);
