/* access.h: tokens, sessions and what operators did, in the ledger. */
#pragma once
#include "ledger/ledger.h"

struct token_row {
    const char *id;
    const char *hash; /* hex */
    const char *name, *scope;
    const char *tasks; /* glob, or NULL */
    bool own;
    bool session;       /* of a browser: `parent` opened it, or actor himself (then NULL) */
    const char *parent; /* id, or NULL */
    int64_t lives_us;   /* 0: for ever */
};
/* The token as JSON; "" when a token of that name is there. Every server hears of it. A session is
 * its browser's affair and no operation. */
void ledger_token_create(struct ledger *ledger, const struct token_row *row, const char *actor,
                         ledger_json_fn *done, void *arg);
/* The token as JSON, also when it was revoked before; "" when there is none. */
void ledger_token_revoke(struct ledger *ledger, const char *id, const char *actor,
                         ledger_json_fn *done, void *arg);
/* {"tokens": [{id, name, session, scope, tasks, own, state, created_at, created_by, expires_at,
 * last_used_at, revoked_at}]}, newest first, living sessions included */
void ledger_tokens(struct ledger *ledger, ledger_json_fn *done, void *arg);
/* What lets in: {"any": a token was ever made, "grants": [{id, hash, session, scope, tasks, own,
 * actor, left_us (null: for ever)}]} */
void ledger_grants(struct ledger *ledger, ledger_json_fn *done, void *arg);
/* These were used just now, and with a session the token that opened it. */
void ledger_tokens_used(struct ledger *ledger, const char *const *ids, ledger_done_fn *done,
                        void *arg);

/* Which of these a caller may see whose token is limited: JSON array of ids. like, by: NULL: any */
void ledger_visible(struct ledger *ledger, const struct ident *ids, size_t count, const char *like,
                    const char *by, ledger_json_fn *done, void *arg);

/* {"operations": [{id, at, actor, operation, target, name, before, after}], limit, offset,
 * has_more}, newest first */
void ledger_operations(struct ledger *ledger, int64_t limit, int64_t offset, ledger_json_fn *done,
                       void *arg);
