/* buf.c: doubles when full. One byte more than cap is never needed: the NUL is counted into every
 * reservation. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define FIRST_CAP 64

static size_t cap_for(const struct buf *buf, size_t more);
static void add_big_endian(struct buf *buf, uint64_t value, unsigned bytes);

void buf_close(struct buf *buf)
{
    free(buf->data);
    *buf = BUF_EMPTY;
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    if (buf->data) buf->data[0] = '\0';
}

char *buf_reserve(struct buf *buf, size_t more)
{
    size_t cap = cap_for(buf, more);
    if (cap == 0) abort(); /* no such size exists: a bug in arithmetic */
    if (cap > buf->cap) buf->data = xrealloc(buf->data, cap);
    buf->cap = cap;
    buf->data[buf->len] = '\0';
    return buf->data + buf->len;
}

static size_t cap_for(const struct buf *buf, size_t more)
{
    if (more > SIZE_MAX / 4 - buf->len) return 0;
    size_t cap = buf->cap ? buf->cap : FIRST_CAP;
    while (cap < buf->len + more + 1) cap *= 2;
    return cap;
}

bool buf_try_add(struct buf *buf, const void *data, size_t len)
{
    size_t cap = cap_for(buf, len);
    char *fresh = cap > buf->cap ? realloc(buf->data, cap) : buf->data;
    if (cap == 0 || !fresh) return false;
    buf->data = fresh;
    buf->cap = cap;
    buf_add(buf, data, len);
    return true;
}

void buf_add(struct buf *buf, const void *data, size_t len)
{
    char *room = buf_reserve(buf, len);
    if (len > 0) memcpy(room, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void buf_add_text(struct buf *buf, const char *text)
{
    if (text) buf_add(buf, text, strlen(text));
}

void buf_add_char(struct buf *buf, char c) { buf_add(buf, &c, 1); }

void buf_add_u16be(struct buf *buf, uint16_t value) { add_big_endian(buf, value, 2); }

void buf_add_u32be(struct buf *buf, uint32_t value) { add_big_endian(buf, value, 4); }

void buf_add_u64be(struct buf *buf, uint64_t value) { add_big_endian(buf, value, 8); }

void buf_addf(struct buf *buf, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len > 0) {
        vsnprintf(buf_reserve(buf, (size_t)len), (size_t)len + 1, fmt, again);
        buf->len += (size_t)len;
    }
    va_end(again);
}

void buf_drop_front(struct buf *buf, size_t len)
{
    if (len >= buf->len) {
        buf_clear(buf);
        return;
    }
    memmove(buf->data, buf->data + len, buf->len - len + 1);
    buf->len -= len;
}

char *buf_take(struct buf *buf)
{
    buf_reserve(buf, 0);
    char *data = buf->data;
    *buf = BUF_EMPTY;
    return data;
}

const char *buf_text(const struct buf *buf) { return buf->data ? buf->data : ""; }

static void add_big_endian(struct buf *buf, uint64_t value, unsigned bytes)
{
    char *room = buf_reserve(buf, bytes);
    for (unsigned i = 0; i < bytes; i++) room[i] = (char)(value >> (8 * (bytes - 1 - i)));
    buf->len += bytes;
    buf->data[buf->len] = '\0';
}
