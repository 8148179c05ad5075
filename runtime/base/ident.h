/* ident.h: 128-bit ids. Task ids are UUIDv7 (time-ordered, strictly rising within one process);
 * claims and incarnations are random (v4). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define IDENT_TEXT_SIZE 37

struct ident {
    uint8_t bytes[16];
};

struct ident ident_v7(void);     /* later calls compare greater, also within one millisecond */
struct ident ident_random(void); /* v4, from getrandom */
bool ident_is_zero(const struct ident *id);
void ident_text(const struct ident *id, char out[IDENT_TEXT_SIZE]); /* lower case with dashes */
bool ident_parse(const char *text, struct ident *id); /* any case; exactly 36 characters */
bool ident_is_v7(const struct ident *id);
int64_t ident_ms(const struct ident *id); /* the UUIDv7's milliseconds since 1970 */
static inline int ident_compare(const struct ident *a, const struct ident *b)
{
    return memcmp(a->bytes, b->bytes, 16);
}
static inline bool ident_equal(const struct ident *a, const struct ident *b)
{
    return ident_compare(a, b) == 0;
}
