/* idempotency.c: see idempotency.h. */
#include "http/idempotency.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

bool idempotency_read(struct exchange *exchange, struct idempotency *out)
{
    const char *key = http_header(exchange->request, "Idempotency-Key"), *at = key;
    size_t len;
    const char *body = http_body(exchange->request, &len);
    unsigned char hash[crypto_generichash_BYTES];
    crypto_generichash_state state;
    *out = (struct idempotency){ 0 };
    if (!key) return true;
    while (*at > ' ' && *at < 0x7F) at++;
    if (*at || at == key || at - key > IDEMPOTENCY_KEY_MAX) {
        answer_field(exchange, "Idempotency-Key",
                     "must be 1 to %d printable ASCII characters without blanks",
                     IDEMPOTENCY_KEY_MAX);
        return false;
    }
    crypto_generichash_init(&state, NULL, 0, sizeof hash);
    crypto_generichash_update(&state, (const unsigned char *)exchange->route->path,
                              strlen(exchange->route->path) + 1);
    crypto_generichash_update(&state, (const unsigned char *)body, len);
    crypto_generichash_final(&state, hash, sizeof hash);
    sodium_bin2hex(out->body, sizeof out->body, hash, sizeof hash);
    out->key = xasprintf("%s/%s", exchange->grant->id, key);
    return true;
}

void idempotency_close(struct idempotency *idempotency) { free(idempotency->key); }

void idempotency_apply(const struct idempotency *idempotency, int index, struct submission_box *box)
{
    if (!idempotency->key) return;
    char *key = index < 0 ? xstrdup(idempotency->key) : xasprintf("%s %d", idempotency->key, index);
    submission_box_set_idempotency(box, key, idempotency->body);
    free(key);
}
