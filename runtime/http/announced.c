/* announced.c: see announced.h. Lines are written by lifecycle/announce.c, with id and event first.
 */
#include "http/announced.h"

#include <string.h>

static const char head[] = "{\"id\":\"", middle[] = "\",\"event\":\"";
#define ID_LEN     ((size_t)IDENT_TEXT_SIZE - 1)
#define HEAD_LEN   (sizeof head - 1)
#define MIDDLE_LEN (sizeof middle - 1)
#define KIND_AT    (HEAD_LEN + ID_LEN + MIDDLE_LEN)

static const char *const words[] = { "status", "progress", "log" };

static bool read_status(struct announced *out);

bool announced_read(const char *line, size_t len, struct announced *out)
{
    char id[IDENT_TEXT_SIZE] = { 0 };
    if (len < KIND_AT || memcmp(line, head, HEAD_LEN) != 0 ||
        memcmp(line + HEAD_LEN + ID_LEN, middle, MIDDLE_LEN) != 0)
        return false;
    memcpy(id, line + HEAD_LEN, ID_LEN);
    *out = (struct announced){ .line = line, .len = len };
    if (!ident_parse(id, &out->id)) return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t word_len = strlen(words[i]);
        if (len < KIND_AT + word_len + 1 || memcmp(line + KIND_AT, words[i], word_len) != 0 ||
            line[KIND_AT + word_len] != '"')
            continue;
        out->kind = (enum announced_kind)i;
        return out->kind != ANNOUNCED_STATUS || read_status(out);
    }
    return false;
}

static bool read_status(struct announced *out)
{
    static const char status[] = "\"status\":\"", attempt[] = "\"attempt\":";
    const char *end = out->line + out->len;
    const char *word = memmem(out->line + KIND_AT, out->len - KIND_AT, status, sizeof status - 1);
    const char *number =
        memmem(out->line + KIND_AT, out->len - KIND_AT, attempt, sizeof attempt - 1);
    char text[16] = { 0 };
    if (!word || !number) return false;
    word += sizeof status - 1;
    const char *quote = memchr(word, '"', (size_t)(end - word));
    if (!quote || (size_t)(quote - word) >= sizeof text) return false;
    memcpy(text, word, (size_t)(quote - word));
    out->attempt = 0;
    for (number += sizeof attempt - 1; number < end && *number >= '0' && *number <= '9'; number++)
        if (out->attempt < INT32_MAX / 10 - 1) out->attempt = out->attempt * 10 + (*number - '0');
    return task_status_parse(text, &out->status);
}

const char *announced_word(enum announced_kind kind) { return words[kind]; }
