/* buf.h: a growing run of bytes. The struct is embedded; buf_close frees. Always NUL-terminated
 * behind len (not counted) once it holds memory. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct buf {
    char *data; /* NULL while empty */
    size_t len;
    size_t cap;
};

#define BUF_EMPTY ((struct buf){ 0 })

void buf_close(struct buf *buf); /* frees and empties */
void buf_clear(struct buf *buf); /* len 0, keeps the memory */
char *buf_reserve(struct buf *buf,
                  size_t more); /* room for `more` bytes behind len; the caller then adds to len */
void buf_add(struct buf *buf, const void *data, size_t len);
/* For sizes that users drive. false: there is no memory for it, and buf is as it was. */
MUSTUSE bool buf_try_add(struct buf *buf, const void *data, size_t len);
void buf_add_text(struct buf *buf, const char *text); /* a NULL text adds nothing */
void buf_add_char(struct buf *buf, char c);
void buf_add_u16be(struct buf *buf, uint16_t value);
void buf_add_u32be(struct buf *buf, uint32_t value);
void buf_add_u64be(struct buf *buf, uint64_t value);
void buf_addf(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_drop_front(struct buf *buf, size_t len); /* forget the first len bytes (memmove) */
char *buf_take(struct buf *buf);                  /* gives the memory (never NULL), empties buf */
const char *buf_text(const struct buf *buf); /* "" while empty; borrowed until the next change */
