/* log.c: a line is built aside and leaves in one write(2), so lines of several threads and
 * processes do not mix. Control characters (a line break in a user's text above all, what moves a
 * terminal's cursor or turns the direction of writing) become spaces: nobody can forge a line. JSON
 * escapes the ones of ASCII instead. Keeps errno. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "base/utf8.h"

#define MESSAGE_MAX 3800 /* with time and level still one atomic write to a pipe */

static const char *const level_names[] = { "error", "warn", "info", "debug" };

static atomic_int active_level = LOG_INFO;
static atomic_bool as_json;
static char part[32]; /* written by log_init only, before there are threads */

static void blank_controls(struct buf *message);
static void add_text_line(struct buf *line, enum log_level level, const char *message);
static void add_json_line(struct buf *line, enum log_level level, const char *message);
static void write_line(const struct buf *line);

void log_init(enum log_level level, bool json, const char *program_part)
{
    active_level = (int)level;
    as_json = json;
    snprintf(part, sizeof part, "%s", program_part ? program_part : "");
}

bool log_is_on(enum log_level level) { return (int)level <= active_level; }

void log_line(enum log_level level, const char *fmt, ...)
{
    if (!log_is_on(level)) return;
    int saved_errno = errno;
    char raw[MESSAGE_MAX + 8];
    va_list args;
    va_start(args, fmt);
    vsnprintf(raw, sizeof raw, fmt, args);
    va_end(args);
    struct buf message = BUF_EMPTY;
    utf8_add_clean(&message, raw, strlen(raw), MESSAGE_MAX);
    blank_controls(&message);
    struct buf line = BUF_EMPTY;
    if (as_json)
        add_json_line(&line, level, buf_text(&message));
    else
        add_text_line(&line, level, buf_text(&message));
    write_line(&line);
    buf_close(&line);
    buf_close(&message);
    errno = saved_errno;
}

bool log_level_parse(const char *text, enum log_level *level)
{
    for (size_t i = 0; i < COUNT_OF(level_names); i++) {
        if (strcmp(text, level_names[i]) != 0) continue;
        *level = (enum log_level)i;
        return true;
    }
    return false;
}

static void blank_controls(struct buf *message)
{
    uint32_t first = as_json ? 0x7F : 0;
    const char *at = message->data, *end = at + message->len;
    message->len = 0;
    while (at < end) {
        const char *start = at;
        uint32_t character = utf8_take(&at, end);
        size_t len = (size_t)(at - start);
        if (character >= first && utf8_is_control(character)) {
            message->data[message->len++] = ' ';
        } else {
            memmove(message->data + message->len, start, len);
            message->len += len;
        }
    }
    if (message->data) message->data[message->len] = '\0';
}

static void add_text_line(struct buf *line, enum log_level level, const char *message)
{
    char time[TIME_TEXT_SIZE];
    time_text(clock_wall_us(), time);
    buf_addf(line, "%s %s %s%s%s", time, level_names[level], part, *part ? " " : "", message);
    buf_add_char(line, '\n');
}

static void add_json_line(struct buf *line, enum log_level level, const char *message)
{
    struct jsonw w;
    jsonw_init(&w, line);
    jsonw_object(&w);
    jsonw_key(&w, "time");
    jsonw_time(&w, clock_wall_us());
    jsonw_key_text(&w, "level", level_names[level]);
    if (*part) jsonw_key_text(&w, "part", part);
    jsonw_key_int(&w, "pid", getpid());
    jsonw_key_text(&w, "message", message);
    jsonw_object_end(&w);
    buf_add_char(line, '\n');
}

/* A log that cannot be written has nobody to tell: the line is lost. */
static void write_line(const struct buf *line)
{
    ssize_t written;
    do {
        written = write(STDERR_FILENO, line->data, line->len);
    } while (written < 0 && errno == EINTR);
}
