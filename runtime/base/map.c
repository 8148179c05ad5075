/* map.c: linear probing in a table of a power of two, at most three quarters full; removal shifts
 * the followers back, so there are no tombstones. Keys may come from users, hence SipHash-1-3 with
 * a key drawn once per process: collisions cannot be prepared. */
#include "base/map.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/ident.h"
#include "base/mem.h"

#define FIRST_SLOTS 16

struct slot {
    uint64_t hash;
    char *key; /* owned; NULL: the slot is free */
    size_t key_len;
    void *value; /* the caller's */
};

struct map {
    struct slot *slots;
    size_t slot_count; /* power of two */
    size_t used;
    struct ident seed;
};

static struct slot *slot_for(const struct map *map, uint64_t hash, const void *key, size_t len);
static void grow(struct map *map);
static uint64_t hash_key(const struct ident *seed, const void *key, size_t len);

struct map *map_new(void)
{
    struct map *map = xcalloc(1, sizeof *map);
    map->slot_count = FIRST_SLOTS;
    map->slots = xcalloc(map->slot_count, sizeof *map->slots);
    map->seed = ident_random();
    return map;
}

void map_free(struct map *map)
{
    if (!map) return;
    for (size_t i = 0; i < map->slot_count; i++) free(map->slots[i].key);
    free(map->slots);
    free(map);
}

size_t map_count(const struct map *map) { return map->used; }

void *map_find(const struct map *map, const void *key, size_t key_len)
{
    return slot_for(map, hash_key(&map->seed, key, key_len), key, key_len)->value;
}

void map_put(struct map *map, const void *key, size_t key_len, void *value)
{
    if ((map->used + 1) * 4 > map->slot_count * 3) grow(map);
    uint64_t hash = hash_key(&map->seed, key, key_len);
    struct slot *slot = slot_for(map, hash, key, key_len);
    if (!slot->key) {
        slot->hash = hash;
        slot->key = xmalloc(key_len);
        if (key_len > 0) memcpy(slot->key, key, key_len);
        slot->key_len = key_len;
        map->used++;
    }
    slot->value = value;
}

void *map_take(struct map *map, const void *key, size_t key_len)
{
    struct slot *slot = slot_for(map, hash_key(&map->seed, key, key_len), key, key_len);
    if (!slot->key) return NULL;
    void *value = slot->value;
    free(slot->key);
    map->used--;
    /* Move back each follower that may stand in the hole: its home is not between the hole and
     * itself. */
    size_t mask = map->slot_count - 1;
    size_t hole = (size_t)(slot - map->slots);
    for (size_t i = (hole + 1) & mask; map->slots[i].key; i = (i + 1) & mask) {
        size_t home = map->slots[i].hash & mask;
        if (((i - home) & mask) < ((i - hole) & mask)) continue;
        map->slots[hole] = map->slots[i];
        hole = i;
    }
    map->slots[hole] = (struct slot){ 0 };
    return value;
}

bool map_next(const struct map *map, size_t *at, const void **key, size_t *key_len, void **value)
{
    while (*at < map->slot_count) {
        const struct slot *slot = &map->slots[(*at)++];
        if (!slot->key) continue;
        if (key) *key = slot->key;
        if (key_len) *key_len = slot->key_len;
        if (value) *value = slot->value;
        return true;
    }
    return false;
}

/* The slot that holds the key, or the free one where it belongs. */
static struct slot *slot_for(const struct map *map, uint64_t hash, const void *key, size_t len)
{
    size_t mask = map->slot_count - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct slot *slot = &map->slots[i];
        if (!slot->key) return slot;
        if (slot->hash == hash && slot->key_len == len &&
            (len == 0 || memcmp(slot->key, key, len) == 0))
            return slot;
    }
}

static void grow(struct map *map)
{
    struct slot *old = map->slots;
    size_t old_count = map->slot_count;
    map->slot_count *= 2;
    map->slots = xcalloc(map->slot_count, sizeof *map->slots);
    for (size_t i = 0; i < old_count; i++)
        if (old[i].key) *slot_for(map, old[i].hash, old[i].key, old[i].key_len) = old[i];
    free(old);
}

static uint64_t rotate(uint64_t x, unsigned bits) { return x << bits | x >> (64 - bits); }

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static uint64_t hash_key(const struct ident *seed, const void *key, size_t len)
{
    uint64_t k[2], word;
    memcpy(k, seed->bytes, sizeof k);
    uint64_t v[4] = { k[0] ^ UINT64_C(0x736f6d6570736575), k[1] ^ UINT64_C(0x646f72616e646f6d),
                      k[0] ^ UINT64_C(0x6c7967656e657261), k[1] ^ UINT64_C(0x7465646279746573) };
    const char *at = key;
    for (size_t left = len;; left -= sizeof word, at += sizeof word) {
        bool last = left < sizeof word;
        word = last ? (uint64_t)len << 56 : 0;
        size_t part = last ? left : sizeof word;
        if (part > 0) {
            uint64_t bytes = 0;
            memcpy(&bytes, at, part);
            word |= bytes;
        }
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
        if (last) break;
    }
    v[2] ^= 0xFF;
    for (int i = 0; i < 3; i++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
