/* dotenv.c: lines of other programs share the file, so what is not KEY=VALUE is passed over; only a
 * quote that never closes is an error, because everything behind it would be misread. */
#include "config/dotenv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/file.h"

#define KEY_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
#define BLANK     " \t\r"

struct reader {
    const char *at;
    int line;
};

static bool take_line(struct reader *reader, struct dotenv *out, struct err *err);
static bool take_value(struct reader *reader, struct buf *value);
static bool take_quoted(struct reader *reader, struct buf *value);
static const char *distrust(const struct stat *stat);

bool dotenv_read(const char *path, struct dotenv *out, struct err *err)
{
    *out = (struct dotenv){ 0 };
    struct stat link, target;
    struct buf text = BUF_EMPTY;
    struct err reason;
    if (lstat(path, &link) != 0 && errno == ENOENT) return true;
    bool good = true;
    if (!file_read(path, &text, &target, &reason)) {
        log_warn(".env is ignored: %s", reason.text);
    } else {
        /* Of a symbolic link the owner counts too; its mode bits mean nothing. */
        if (S_ISLNK(link.st_mode)) link.st_mode = target.st_mode;
        const char *why = distrust(&link);
        if (!why) why = distrust(&target);
        if (why)
            log_warn(".env is ignored: %s", why);
        else
            good = dotenv_parse(buf_text(&text), out, err);
    }
    buf_close(&text);
    return good;
}

static const char *distrust(const struct stat *stat)
{
    if (stat->st_uid != geteuid() && stat->st_uid != 0)
        return "it belongs neither to you nor to root";
    if (stat->st_mode & (S_IWGRP | S_IWOTH)) return "others may write it (chmod go-w .env)";
    return NULL;
}

bool dotenv_parse(const char *text, struct dotenv *out, struct err *err)
{
    *out = (struct dotenv){ 0 };
    struct reader reader = { text, 1 };
    if (strncmp(text, "\xEF\xBB\xBF", 3) == 0) reader.at += 3; /* byte order mark */
    while (*reader.at) {
        if (!take_line(&reader, out, err)) {
            dotenv_close(out);
            return false;
        }
        reader.at += strcspn(reader.at, "\n");
        if (*reader.at == '\n') {
            reader.at++;
            reader.line++;
        }
    }
    return true;
}

const struct dotenv_entry *dotenv_find(const struct dotenv *dotenv, const char *key)
{
    for (size_t i = dotenv->count; i-- > 0;)
        if (strcmp(dotenv->entries[i].key, key) == 0) return &dotenv->entries[i];
    return NULL;
}

void dotenv_close(struct dotenv *dotenv)
{
    for (size_t i = 0; i < dotenv->count; i++) {
        free(dotenv->entries[i].key);
        free(dotenv->entries[i].value);
    }
    free(dotenv->entries);
    *dotenv = (struct dotenv){ 0 };
}

static bool take_line(struct reader *reader, struct dotenv *out, struct err *err)
{
    static const char export[] = "export";
    reader->at += strspn(reader->at, BLANK);
    size_t word = sizeof export - 1;
    if (strncmp(reader->at, export, word) == 0 && strchr(" \t", reader->at[word])) {
        reader->at += word;
        reader->at += strspn(reader->at, BLANK);
    }
    const char *key = reader->at;
    size_t key_len = strspn(key, KEY_CHARS);
    const char *equals = key + key_len + strspn(key + key_len, BLANK);
    if (key_len == 0 || *equals != '=') return true;
    reader->at = equals + 1;
    int line = reader->line;
    struct buf value = BUF_EMPTY;
    if (!take_value(reader, &value)) {
        buf_close(&value);
        return err_set(err, ERR_INPUT, ".env:%d: the quote of %.*s is never closed", line,
                       (int)(key_len < 100 ? key_len : 100), key);
    }
    out->entries = xrealloc(out->entries, (out->count + 1) * sizeof *out->entries);
    out->entries[out->count++] =
        (struct dotenv_entry){ xstrndup(key, key_len), buf_take(&value), line };
    return true;
}

static bool take_value(struct reader *reader, struct buf *value)
{
    reader->at += strspn(reader->at, BLANK);
    if (*reader->at == '"' || *reader->at == '\'') return take_quoted(reader, value);
    const char *start = reader->at;
    size_t len = 0; /* up to the line's end or a # behind a blank */
    while (start[len] && start[len] != '\n' &&
           !(start[len] == '#' && (len == 0 || strchr(BLANK, start[len - 1]))))
        len++;
    while (len > 0 && strchr(BLANK, start[len - 1])) len--;
    buf_add(value, start, len);
    reader->at += len;
    return true;
}

static bool take_quoted(struct reader *reader, struct buf *value)
{
    char quote = *reader->at++;
    for (; *reader->at != quote; reader->at++) {
        char c = *reader->at;
        if (c == '\0') return false;
        if (c == '\n') reader->line++;
        if (c == '\\' && quote == '"' && reader->at[1] && strchr("nt\"\\$", reader->at[1])) {
            c = *++reader->at;
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        buf_add_char(value, c);
    }
    reader->at++;
    return true;
}
