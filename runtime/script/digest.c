/* digest.c: each part goes in behind its length, so ("ab", "c") and ("a", "bc") differ. */
#include "script/digest.h"

#include <stdint.h>
#include <string.h>

void digest_init(struct digest *digest) { crypto_hash_sha256_init(&digest->state); }

void digest_add(struct digest *digest, const void *bytes, size_t len)
{
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++) prefix[i] = (unsigned char)((uint64_t)len >> (56 - 8 * i));
    crypto_hash_sha256_update(&digest->state, prefix, sizeof prefix);
    crypto_hash_sha256_update(&digest->state, bytes, len);
}

void digest_end(struct digest *digest, char out[DIGEST_SIZE])
{
    unsigned char sum[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&digest->state, sum);
    sodium_bin2hex(out, DIGEST_SIZE, sum, sizeof sum);
}

void digest_end_short(struct digest *digest, char out[DIGEST_SHORT_SIZE])
{
    char full[DIGEST_SIZE];
    digest_end(digest, full);
    memcpy(out, full, DIGEST_SHORT_SIZE - 1);
    out[DIGEST_SHORT_SIZE - 1] = '\0';
}
