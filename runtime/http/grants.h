/* grants.h: who is let in: the living tokens and sessions, as the ledger has them. Read anew
 * whenever it says that something has changed; while it cannot say so, nobody is let in by what was
 * known before. */
#pragma once
#include "ledger/access.h"
#include "lifecycle/token.h"
#include "loop/loop.h"

struct grant { /* immutable but for used_us; whoever keeps one holds it */
    int holders;
    char id[TOKEN_ID_SIZE]; /* "": nobody's: of this machine */
    uint8_t hash[TOKEN_HASH_SIZE];
    bool session, own;
    enum scope scope;
    char *actor;      /* "token:NAME", "login:USER", "local" */
    char *tasks;      /* glob, or NULL */
    char *like;       /* the same for the ledger */
    int64_t until_us; /* boot clock; 0: for ever */
    int64_t used_us;  /* boot clock: when its use was noted last */
};
struct grant *grant_hold(struct grant *grant);
void grant_drop(struct grant *grant); /* NULL: nothing */
bool grant_is_limited(const struct grant *grant);
/* May it submit such a task, and know of it? */
bool grant_allows(const struct grant *grant, const char *task_name);
/* created_by that its tasks must have; NULL: any */
const char *grant_owner(const struct grant *grant);

struct grants; /* opaque */
struct grants *grants_new(struct loop *loop, struct ledger *ledger);
/* Nothing may be asked any more. */
void grants_free(struct grants *grants);
void grants_forget(struct grants *grants); /* the ledger is away */
/* Reads them anew; done (may be NULL) when that is over, whatever came of it. */
void grants_load(struct grants *grants, void (*done)(void *arg), void *arg);
bool grants_are_known(const struct grants *grants);
bool grants_any(const struct grants *grants); /* a token was ever made */
/* Borrowed; NULL: none, or they are not known. Notes its use. */
struct grant *grants_find(struct grants *grants, const char *text, bool session);
/* Of who comes from this machine while there is no token. */
struct grant *grants_local(struct grants *grants);
