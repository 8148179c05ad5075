/* utf8.c: the table of well-formed sequences of RFC 3629, section 4. */
#include "base/utf8.h"

#include <string.h>

#include "base/buf.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */
#define ELLIPSIS    "\xE2\x80\xA6" /* U+2026 */

static bool is_continuation(unsigned char c);

size_t utf8_sequence_len(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    if (len == 0) return 0;
    if (s[0] < 0x80) return 1;
    if (s[0] < 0xC2 || s[0] > 0xF4) return 0;
    size_t want = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (len < want) return 0;
    for (size_t i = 1; i < want; i++)
        if (!is_continuation(s[i])) return 0;
    if (s[0] == 0xE0 && s[1] < 0xA0) return 0; /* overlong */
    if (s[0] == 0xED && s[1] > 0x9F) return 0; /* surrogates */
    if (s[0] == 0xF0 && s[1] < 0x90) return 0; /* overlong */
    if (s[0] == 0xF4 && s[1] > 0x8F) return 0; /* above U+10FFFF */
    return want;
}

bool utf8_is_valid(const char *text, size_t len)
{
    size_t at = 0;
    while (at < len) {
        uint64_t eight;
        if (len - at >= sizeof eight) { /* most text is ASCII: eight bytes at once */
            memcpy(&eight, text + at, sizeof eight);
            if (!(eight & UINT64_C(0x8080808080808080))) {
                at += sizeof eight;
                continue;
            }
        }
        size_t step = utf8_sequence_len(text + at, len - at);
        if (step == 0) return false;
        at += step;
    }
    return true;
}

size_t utf8_cut(const char *text, size_t len, size_t max)
{
    if (len <= max) return len;
    size_t cut = max;
    while (cut > 0 && max - cut < 3 && is_continuation((unsigned char)text[cut])) cut--;
    /* No lead byte within reach: the text is not UTF-8, so no character can be cut. */
    return is_continuation((unsigned char)text[cut]) ? max : cut;
}

uint32_t utf8_take(const char **at, const char *end)
{
    const unsigned char *s = (const unsigned char *)*at;
    size_t len = utf8_sequence_len(*at, (size_t)(end - *at));
    *at += len ? len : 1;
    switch (len) {
    case 2: return (s[0] & 0x1Fu) << 6 | (s[1] & 0x3Fu);
    case 3: return (s[0] & 0x0Fu) << 12 | (s[1] & 0x3Fu) << 6 | (s[2] & 0x3Fu);
    case 4:
        return (s[0] & 0x07u) << 18 | (s[1] & 0x3Fu) << 12 | (s[2] & 0x3Fu) << 6 | (s[3] & 0x3Fu);
    default: return s[0];
    }
}

bool utf8_is_control(uint32_t character)
{
    static const uint32_t ranges[][2] = {
        { 0, 0x1F },        { 0x7F, 0x9F },     { 0x61C, 0x61C },
        { 0x200E, 0x200F }, { 0x2028, 0x202E }, { 0x2066, 0x2069 }
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (character >= ranges[i][0] && character <= ranges[i][1]) return true;
    return false;
}

void utf8_add_clean(struct buf *out, const char *text, size_t len, size_t max)
{
    size_t start = out->len;
    for (size_t at = 0; at < len && out->len - start <= max;) {
        size_t step = text[at] == '\0' ? 0 : utf8_sequence_len(text + at, len - at);
        if (step > 0)
            buf_add(out, text + at, step);
        else
            buf_add_text(out, REPLACEMENT);
        at += step > 0 ? step : 1;
    }
    if (out->len - start <= max) return;
    size_t tail = max < strlen(ELLIPSIS) ? 0 : strlen(ELLIPSIS);
    out->len = start + utf8_cut(out->data + start, out->len - start, max - tail);
    buf_add(out, ELLIPSIS, tail);
}

static bool is_continuation(unsigned char c) { return (c & 0xC0) == 0x80; }
