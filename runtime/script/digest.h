/* digest.h: SHA-256 over length-prefixed parts, as hex. Any thread. */
#pragma once
#include <sodium.h>
#include <stddef.h>

#define DIGEST_SIZE       65
#define DIGEST_SHORT_SIZE 17

struct digest {
    crypto_hash_sha256_state state; /* private */
};
void digest_init(struct digest *digest);
void digest_add(struct digest *digest, const void *bytes,
                size_t len); /* parts do not run together */
void digest_end(struct digest *digest, char out[DIGEST_SIZE]);
void digest_end_short(struct digest *digest, char out[DIGEST_SHORT_SIZE]); /* the first 16 digits */
