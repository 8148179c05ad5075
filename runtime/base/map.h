/* map.h: bytes -> pointer, open addressing. Keys are copied; values are the caller's. Not for use
 * across threads. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct map; /* opaque */

struct map *map_new(void);
void map_free(struct map *map); /* values are not touched */
size_t map_count(const struct map *map);
void *map_find(const struct map *map, const void *key, size_t key_len); /* NULL when absent */
void map_put(struct map *map, const void *key, size_t key_len,
             void *value); /* adds or replaces; value is not NULL */
void *map_take(struct map *map, const void *key,
               size_t key_len); /* removes; gives the value or NULL */
/* Walk: start with *at = 0; false at the end. The map must not change meanwhile. */
bool map_next(const struct map *map, size_t *at, const void **key, size_t *key_len, void **value);
