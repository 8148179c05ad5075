/* utf8.h: strict UTF-8 (no surrogates, no overlong forms). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* Bytes of the character that text starts with; 0 when it is not well formed, cut off, or len is 0.
 */
size_t utf8_sequence_len(const char *text, size_t len);
bool utf8_is_valid(const char *text, size_t len);
/* Longest prefix of at most `max` bytes that does not cut a character. */
size_t utf8_cut(const char *text, size_t len, size_t max);
/* The character at *at, which moves behind it; of a byte that is not well formed the byte. */
uint32_t utf8_take(const char **at, const char *end);
/* C0, DEL, C1, line separators, and what turns the direction of writing. */
bool utf8_is_control(uint32_t character);
/* Appends text with every invalid byte and NUL as U+FFFD, cut to max bytes with an ellipsis: for
 * error messages and log lines. */
void utf8_add_clean(struct buf *out, const char *text, size_t len, size_t max);
