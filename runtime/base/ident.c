/* ident.c: a UUIDv7 here is 48 bits of milliseconds, 12 bits of a counter and 62 random bits (RFC
 * 9562, section 6.2, method 1).
 *
 * The counter starts anew in the lower half of its range each millisecond and counts within it;
 * when it runs over, the time part is moved on by one. A clock that stands or steps back leaves the
 * time part where it was, so ids of one process always rise. The random bits are drawn for every
 * id: a forked child shares the counter with its parent, never an id. */
#include "base/ident.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"

#define COUNTER_MAX  0xFFFu
#define COUNTER_SEED 0x7FFu

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t last_ms;
static unsigned counter;

static void fill_random(void *out, size_t len);
static void next_tick(unsigned seed, int64_t *ms, unsigned *count);
static int hex_value(char c);

struct ident ident_v7(void)
{
    struct ident id;
    fill_random(id.bytes + 6, 10);
    int64_t ms;
    unsigned count;
    next_tick(((unsigned)id.bytes[6] << 8 | id.bytes[7]) & COUNTER_SEED, &ms, &count);
    for (int i = 0; i < 6; i++) id.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    id.bytes[6] = (uint8_t)(0x70 | count >> 8);
    id.bytes[7] = (uint8_t)count;
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3F) | 0x80);
    return id;
}

static void next_tick(unsigned seed, int64_t *ms, unsigned *count)
{
    int64_t now = clock_wall_us() / 1000;
    pthread_mutex_lock(&lock);
    if (now > last_ms) {
        last_ms = now;
        counter = seed;
    } else if (counter < COUNTER_MAX) {
        counter++;
    } else {
        last_ms++;
        counter = seed;
    }
    *ms = last_ms;
    *count = counter;
    pthread_mutex_unlock(&lock);
}

struct ident ident_random(void)
{
    struct ident id;
    fill_random(id.bytes, sizeof id.bytes);
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0F) | 0x40);
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3F) | 0x80);
    return id;
}

bool ident_is_zero(const struct ident *id)
{
    static const struct ident zero;
    return ident_equal(id, &zero);
}

void ident_text(const struct ident *id, char out[IDENT_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *out++ = '-';
        *out++ = digits[id->bytes[i] >> 4];
        *out++ = digits[id->bytes[i] & 15];
    }
    *out = '\0';
}

bool ident_parse(const char *text, struct ident *id)
{
    struct ident parsed;
    for (int i = 0; i < 16; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-') return false;
        int high = hex_value(text[0]);
        int low = high < 0 ? -1 : hex_value(text[1]);
        if (low < 0) return false;
        parsed.bytes[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    if (*text != '\0') return false;
    *id = parsed;
    return true;
}

bool ident_is_v7(const struct ident *id)
{
    return (id->bytes[6] & 0xF0) == 0x70 && (id->bytes[8] & 0xC0) == 0x80;
}

int64_t ident_ms(const struct ident *id)
{
    int64_t ms = 0;
    for (int i = 0; i < 6; i++) ms = ms << 8 | id->bytes[i];
    return ms;
}

static void fill_random(void *out, size_t len)
{
    /* Up to 256 bytes come whole or not at all, and only a kernel without the call fails for good.
     */
    while (getrandom(out, len, 0) < 0)
        if (errno != EINTR) abort();
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}
