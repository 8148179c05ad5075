/* output.c: see output.h. */
#include "cli/output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"

/* The errno of the first write to stdout that failed. */
static int write_error;

static void put(const char *text, size_t len);
static void flush(void);
static size_t width_of(uint32_t character);
static void print_note(const char *prefix, const char *fmt, va_list args);

void output_add_clean(struct buf *out, const char *text, size_t len, bool multiline)
{
    struct buf valid = BUF_EMPTY;
    utf8_add_clean(&valid, text, len, SIZE_MAX / 2);
    const char *at = buf_text(&valid), *end = at + valid.len;
    while (at < end) {
        const char *start = at;
        uint32_t character = utf8_take(&at, end);
        bool is_layout = character == '\n' || character == '\t';
        if (is_layout && !multiline)
            buf_add_char(out, ' ');
        else if (is_layout || !utf8_is_control(character))
            buf_add(out, start, (size_t)(at - start));
        else
            buf_add_text(out, "\xEF\xBF\xBD");
    }
    buf_close(&valid);
}

size_t output_columns(const char *text, size_t len)
{
    size_t columns = 0;
    for (const char *at = text, *end = text + len; at < end;)
        columns += width_of(utf8_take(&at, end));
    return columns;
}

size_t output_fit(const char *text, size_t len, size_t columns)
{
    const char *at = text, *end = text + len, *fits = text;
    for (size_t used = 0; at < end; fits = at) {
        used += width_of(utf8_take(&at, end));
        if (used > columns) break;
    }
    return (size_t)(fits - text);
}

void output_text(struct buf *takes)
{
    if (takes->len) put(takes->data, takes->len);
    buf_clear(takes);
}

void output_line(struct buf *takes)
{
    buf_add_char(takes, '\n');
    output_text(takes);
}

void output_stream_line(const char *text, size_t len)
{
    put(text, len);
    put("\n", 1);
    flush();
}

void output_add_escaped(struct buf *out, const char *json, size_t len)
{
    for (const char *at = json, *end = json + len; at < end;) {
        const char *start = at;
        uint32_t character = utf8_take(&at, end);
        if (character >= 0x7F && utf8_is_control(character))
            buf_addf(out, "\\u%04x", (unsigned)character);
        else
            buf_add(out, start, (size_t)(at - start));
    }
}

bool output_is_lost(void) { return write_error != 0; }

int output_finish(void)
{
    flush();
    if (!write_error && ferror(stdout)) write_error = EIO; /* of a printf long ago */
    return write_error;
}

/* What people's tables hold was cleaned before, so on a terminal only JSON has anything to escape.
 */
static void put(const char *text, size_t len)
{
    struct buf escaped = BUF_EMPTY;
    if (isatty(STDOUT_FILENO) == 1) {
        output_add_escaped(&escaped, text, len);
        text = buf_text(&escaped);
        len = escaped.len;
    }
    if (fwrite(text, 1, len, stdout) != len && !write_error) write_error = errno;
    buf_close(&escaped);
}

static void flush(void)
{
    if (fflush(stdout) != 0 && !write_error) write_error = errno;
}

void output_note(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print_note("ctutor-run: ", fmt, args);
    va_end(args);
}

void output_plain_note(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print_note("", fmt, args);
    va_end(args);
}

static void print_note(const char *prefix, const char *fmt, va_list args)
{
    char *raw = NULL;
    int len = vasprintf(&raw, fmt, args);
    if (len < 0) abort(); /* no memory */
    struct buf line = BUF_EMPTY;
    buf_add_text(&line, prefix);
    output_add_clean(&line, raw, (size_t)len, true);
    buf_add_char(&line, '\n');
    flush(); /* what was printed before comes before */
    fwrite(line.data, 1, line.len, stderr);
    buf_close(&line);
    free(raw);
}

size_t output_width(int descriptor)
{
    struct winsize size;
    if (isatty(descriptor) != 1) return 0;
    bool known = ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
}

const char *output_status_colour(const char *status)
{
    static const char *const colours[][2] = { { "STARTED", "36" },
                                              { "RETRY", "33" },
                                              { "SUCCESS", "32" },
                                              { "FAILURE", "31" },
                                              { "REVOKED", "35" } };
    for (size_t i = 0; i < sizeof colours / sizeof *colours; i++)
        if (strcmp(colours[i][0], status) == 0) return colours[i][1];
    return NULL;
}

void output_add_span(struct buf *out, int64_t us)
{
    const int64_t seconds = us / 1000000;
    if (seconds < 1)
        buf_addf(out, "%" PRId64 "ms", us / 1000);
    else if (seconds < 10)
        buf_addf(out, "%" PRId64 ".%" PRId64 "s", seconds, us / 100000 % 10);
    else if (seconds < 100)
        buf_addf(out, "%" PRId64 "s", seconds);
    else if (seconds < 100 * 60)
        buf_addf(out, "%" PRId64 "m", seconds / 60);
    else if (seconds < 48 * 3600)
        buf_addf(out, "%" PRId64 "h", seconds / 3600);
    else
        buf_addf(out, "%" PRId64 "d", seconds / 86400);
}

void output_add_local_time(struct buf *out, int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    char text[64];
    localtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    buf_add_text(out, text);
}

struct range {
    uint32_t first, last;
};

static bool is_within(const struct range *ranges, size_t count, uint32_t character)
{
    for (size_t i = 0; i < count; i++)
        if (character >= ranges[i].first && character <= ranges[i].last) return true;
    return false;
}

static size_t width_of(uint32_t character)
{
    static const struct range none[] = {
        { 0x300, 0x36F }, { 0x200B, 0x200D }, { 0x20D0, 0x20FF }, { 0xFE00, 0xFE0F }
    };
    static const struct range wide[] = { { 0x1100, 0x115F },  { 0x2E80, 0xA4CF },
                                         { 0xAC00, 0xD7A3 },  { 0xF900, 0xFAFF },
                                         { 0xFE30, 0xFE6F },  { 0xFF00, 0xFF60 },
                                         { 0xFFE0, 0xFFE6 },  { 0x1F300, 0x1FAFF },
                                         { 0x20000, 0x3FFFD } };
    if (character < 0x300) return 1;
    if (is_within(none, sizeof none / sizeof *none, character)) return 0;
    return is_within(wide, sizeof wide / sizeof *wide, character) ? 2 : 1;
}
