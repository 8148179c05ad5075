/* token.c: see token.h. */
#include "lifecycle/token.h"

#include <fnmatch.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "task/task.h"

#define PREFIX       "ctr_"
#define PREFIX_LEN   (sizeof PREFIX - 1)
#define SECRET_SIZE  32
#define SECRET_CHARS 43 /* of base64 without its filling */
#define GLOB_MAX     128
#define BASE64_URL   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

static const char *const scope_words[] = {
    [SCOPE_READ] = "read", [SCOPE_SUBMIT] = "submit", [SCOPE_ADMIN] = "admin"
};

static void hash_secret(const uint8_t secret[SECRET_SIZE], uint8_t out[TOKEN_HASH_SIZE])
{
    crypto_generichash(out, TOKEN_HASH_SIZE, secret, SECRET_SIZE, NULL, 0);
}

void token_make(struct token *out, char text[TOKEN_TEXT_SIZE])
{
    uint8_t id[(TOKEN_ID_SIZE - 1) / 2], secret[SECRET_SIZE];
    if (sodium_init() < 0) abort(); /* it has no randomness */
    randombytes_buf(id, sizeof id);
    randombytes_buf(secret, sizeof secret);
    sodium_bin2hex(out->id, sizeof out->id, id, sizeof id);
    hash_secret(secret, out->hash);
    memcpy(text, PREFIX, PREFIX_LEN);
    memcpy(text + PREFIX_LEN, out->id, TOKEN_ID_SIZE - 1);
    text[PREFIX_LEN + TOKEN_ID_SIZE - 1] = '_';
    sodium_bin2base64(text + PREFIX_LEN + TOKEN_ID_SIZE, SECRET_CHARS + 1, secret, sizeof secret,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(secret, sizeof secret);
}

bool token_parse(const char *text, struct token *out)
{
    uint8_t secret[SECRET_SIZE];
    size_t len = 0;
    const char *id = text + PREFIX_LEN, *end = NULL;
    if (strlen(text) != TOKEN_TEXT_SIZE - 1 || memcmp(text, PREFIX, PREFIX_LEN) != 0) return false;
    if (strspn(id, "0123456789abcdef") != TOKEN_ID_SIZE - 1 || id[TOKEN_ID_SIZE - 1] != '_')
        return false;
    const char *encoded = id + TOKEN_ID_SIZE; /* libsodium takes some bytes beyond ASCII too */
    if (strspn(encoded, BASE64_URL) != SECRET_CHARS) return false;
    if (sodium_base642bin(secret, sizeof secret, encoded, SECRET_CHARS, NULL, &len, &end,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        len != sizeof secret || *end)
        return false;
    memcpy(out->id, id, TOKEN_ID_SIZE - 1);
    out->id[TOKEN_ID_SIZE - 1] = '\0';
    hash_secret(secret, out->hash);
    sodium_memzero(secret, sizeof secret);
    return true;
}

bool token_is_same(const struct token *a, const uint8_t hash[TOKEN_HASH_SIZE])
{
    return sodium_memcmp(a->hash, hash, TOKEN_HASH_SIZE) == 0;
}

void token_hash_text(const struct token *token, char out[TOKEN_HEX_SIZE])
{
    sodium_bin2hex(out, TOKEN_HEX_SIZE, token->hash, sizeof token->hash);
}

bool token_hash_parse(const char *text, uint8_t out[TOKEN_HASH_SIZE])
{
    size_t len = 0;
    return strlen(text) == TOKEN_HEX_SIZE - 1 &&
           sodium_hex2bin(out, TOKEN_HASH_SIZE, text, TOKEN_HEX_SIZE - 1, NULL, &len, NULL) == 0 &&
           len == TOKEN_HASH_SIZE;
}

bool scope_parse(const char *word, enum scope *out)
{
    for (enum scope scope = SCOPE_READ; scope <= SCOPE_ADMIN; scope++) {
        if (strcmp(word, scope_words[scope]) != 0) continue;
        *out = scope;
        return true;
    }
    return false;
}

const char *scope_word(enum scope scope) { return scope_words[scope]; }

bool glob_is_valid(const char *glob)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789_.-*?";
    size_t len = strlen(glob);
    return len > 0 && len <= GLOB_MAX && strspn(glob, allowed) == len;
}

bool glob_matches(const char *glob, const char *name) { return fnmatch(glob, name, 0) == 0; }

char *glob_like(const char *glob)
{
    struct buf like = BUF_EMPTY;
    for (; *glob; glob++) {
        if (*glob == '_') buf_add_char(&like, '\\');
        buf_add_char(&like, *glob == '*' ? '%' : *glob == '?' ? '_' : *glob);
    }
    return buf_take(&like);
}

bool token_wish_check(const struct token_wish *wish, const char **field, struct err *err)
{
    enum scope scope;
    *field = "name";
    if (wish->name && !task_name_is_valid(wish->name))
        return err_set(err, ERR_INPUT,
                       "must be 1 to 128 of letters, digits, _ . -, beginning with none of . -");
    *field = "scope";
    if (!wish->scope || !scope_parse(wish->scope, &scope))
        return err_set(err, ERR_INPUT, "must be read, submit or admin");
    *field = "tasks";
    if (wish->tasks && !glob_is_valid(wish->tasks))
        return err_set(err, ERR_INPUT,
                       "must be a pattern of task names, as grade_*: * is any text, ? any "
                       "character");
    *field = "expires";
    return wish->expires_us >= 0 || err_set(err, ERR_INPUT, "must be longer than 0");
}
