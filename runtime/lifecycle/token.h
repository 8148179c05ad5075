/* token.h: what a caller shows: ctr_ID_SECRET. A secret has 256 random bits, so that a plain hash
 * of it may lie in the ledger. Pure but for the randomness. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define TOKEN_ID_SIZE   17 /* 16 hex digits */
#define TOKEN_TEXT_SIZE 65
#define TOKEN_HASH_SIZE 32
#define TOKEN_HEX_SIZE  (2 * TOKEN_HASH_SIZE + 1)

struct token {
    char id[TOKEN_ID_SIZE];
    uint8_t hash[TOKEN_HASH_SIZE];
};
/* A new one: text is for its holder, and nothing else is ever told of its secret. */
void token_make(struct token *out, char text[TOKEN_TEXT_SIZE]);
MUSTUSE bool token_parse(const char *text, struct token *out); /* false: it has another form */
bool token_is_same(const struct token *a, const uint8_t hash[TOKEN_HASH_SIZE]); /* constant time */
void token_hash_text(const struct token *token, char out[TOKEN_HEX_SIZE]);
MUSTUSE bool token_hash_parse(const char *text, uint8_t out[TOKEN_HASH_SIZE]);

/* What it is good for: each scope holds those before it. OPEN: everybody, whatever they show; PAGE:
 * everybody who comes by a name of ours. */
enum scope { SCOPE_OPEN, SCOPE_PAGE, SCOPE_READ, SCOPE_SUBMIT, SCOPE_ADMIN };
MUSTUSE bool scope_parse(const char *word, enum scope *out); /* read, submit, admin */
const char *scope_word(enum scope scope);

/* A glob over task names: * and ? and what names hold. */
bool glob_is_valid(const char *glob);
bool glob_matches(const char *glob, const char *name);
char *glob_like(const char *glob); /* the same as a pattern of SQL's LIKE. gives */

/* What somebody asks for who makes a token. */
struct token_wish {
    const char *name;   /* NULL: its id */
    const char *scope;  /* word; NULL is refused */
    const char *tasks;  /* glob; NULL: all */
    bool own;           /* only tasks that it has submitted itself */
    int64_t expires_us; /* from now on; 0: never */
};
/* false: ERR_INPUT; *field names what is wrong. */
MUSTUSE bool token_wish_check(const struct token_wish *wish, const char **field, struct err *err);
