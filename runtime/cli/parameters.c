/* parameters.c: see parameters.h. */
#include "cli/parameters.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define INPUT_MAX ((size_t)256 << 20) /* no limit on parameters can be larger */

/* One word, taken apart. Borrows it, but for the key. */
struct piece {
    char *key;
    const char *text; /* behind @ or \, if there is one */
    bool is_json, is_file;
};

struct collecting {
    const struct params_schema *schema;
    json_t *object;
    bool stdin_taken;
};

static bool add_whole(struct collecting *all, const char *whole, struct err *err);
static bool add_word(struct collecting *all, const char *word, struct err *err);
static bool split_word(const char *word, struct piece *piece, struct err *err);
static bool convert(const struct collecting *all, const struct piece *piece, const char *text,
                    size_t len, json_t **value, struct err *err);
static bool read_file(struct collecting *all, const char *path, struct buf *out, struct err *err);

bool parameters_collect(const struct params_schema *schema, int count, char *const *words,
                        const char *whole, json_t **out, struct err *err)
{
    struct collecting all = { .schema = schema, .object = json_object() };
    bool good = !whole || add_whole(&all, whole, err);
    for (int i = 0; good && i < count; i++) good = add_word(&all, words[i], err);
    if (good)
        *out = all.object;
    else
        json_decref(all.object);
    return good;
}

static bool add_whole(struct collecting *all, const char *whole, struct err *err)
{
    struct buf text = BUF_EMPTY;
    json_t *value = NULL;
    bool good = true;
    if (strcmp(whole, "-") == 0 || whole[0] == '@')
        good = read_file(all, whole + (whole[0] == '@'), &text, err);
    else
        buf_add_text(&text, whole);
    good = good && params_parse(buf_text(&text), text.len, "--params", &value, err);
    buf_close(&text);
    if (good && !json_is_object(value))
        good = err_set(err, ERR_INPUT, "--params must be an object");
    if (good) json_object_update(all->object, value);
    json_decref(value);
    return good;
}

static bool add_word(struct collecting *all, const char *word, struct err *err)
{
    struct piece piece = { 0 };
    struct buf text = BUF_EMPTY;
    json_t *value = NULL;
    if (!split_word(word, &piece, err)) return false;
    bool good = true;
    if (json_object_get(all->object, piece.key))
        good = err_set(err, ERR_INPUT, "%s is given twice", piece.key);
    else if (piece.is_file)
        good = read_file(all, piece.text, &text, err);
    else
        buf_add_text(&text, piece.text);
    good = good && convert(all, &piece, buf_text(&text), text.len, &value, err);
    if (good && json_object_set_new(all->object, piece.key, value) != 0)
        good = err_set(err, ERR_INPUT, "the name '%.100s' is not valid UTF-8", piece.key);
    buf_close(&text);
    free(piece.key);
    return good;
}

/* The first = or := separates. gives piece->key */
static bool split_word(const char *word, struct piece *piece, struct err *err)
{
    const char *equals = strchr(word, '=');
    if (!equals)
        return err_set(err, ERR_INPUT, "'%.100s' is no parameter: write key=text or key:=json",
                       word);
    *piece = (struct piece){ .text = equals + 1 };
    piece->is_json = equals > word && equals[-1] == ':';
    size_t len = (size_t)(equals - word) - (piece->is_json ? 1 : 0);
    if (len == 0) return err_set(err, ERR_INPUT, "'%.100s' has no name before the =", word);
    piece->is_file = piece->text[0] == '@';
    if (piece->is_file || strncmp(piece->text, "\\@", 2) == 0) piece->text++;
    piece->key = xstrndup(word, len);
    return true;
}

static bool convert(const struct collecting *all, const struct piece *piece, const char *text,
                    size_t len, json_t **value, struct err *err)
{
    if (piece->is_json) return params_parse(text, len, piece->key, value, err);
    if (strlen(text) != len)
        return err_set(err, ERR_INPUT, "%s holds a zero byte, which no text may", piece->key);
    if (!all->schema) {
        *value = json_string(text);
        return *value || err_set(err, ERR_INPUT, "%s is not valid UTF-8", piece->key);
    }
    if (params_convert_text(all->schema, piece->key, text, value, err)) return true;
    if (!piece->is_file || len == 0 || text[len - 1] != '\n') return false;
    /* Nearly every file ends in a line break, which no number has. */
    char *trimmed = xstrndup(text, len - 1);
    bool good = params_convert_text(all->schema, piece->key, trimmed, value, err);
    free(trimmed);
    return good;
}

static bool read_file(struct collecting *all, const char *path, struct buf *out, struct err *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    if (is_stdin && all->stdin_taken) return err_set(err, ERR_INPUT, "stdin can be read only once");
    all->stdin_taken = all->stdin_taken || is_stdin;
    FILE *file = is_stdin ? stdin : fopen(path, "re");
    if (!file) return err_set(err, ERR_INPUT, "cannot read %.200s: %s", path, strerror(errno));
    size_t got;
    do {
        got = fread(buf_reserve(out, 65536), 1, 65536, file);
        out->len += got;
    } while (got > 0 && out->len <= INPUT_MAX);
    bool failed = ferror(file) != 0;
    int why = errno;
    if (!is_stdin) fclose(file);
    buf_add_char(out, '\0'); /* ends the text, is not part of it */
    out->len--;
    if (failed) return err_set(err, ERR_INPUT, "cannot read %.200s: %s", path, strerror(why));
    if (out->len > INPUT_MAX) return err_set(err, ERR_TOO_LARGE, "%.200s is too large", path);
    return true;
}
