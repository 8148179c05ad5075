/* utf8.c: the table of well-formed sequences of RFC 3629, section 4. */
#include "base/utf8.h"

#include <stdint.h>
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
