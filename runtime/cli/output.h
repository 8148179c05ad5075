/* output.h: what leaves the program: data on stdout, notes on stderr. Text of users reaches a
 * person only cleaned: no byte of it can move the cursor, colour the screen or forge a line. JSON
 * keeps what it says even then: on a terminal its control characters are written as \u00XX. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Without control characters. multiline keeps line breaks and tabs, else they become blanks. */
void output_add_clean(struct buf *out, const char *text, size_t len, bool multiline);
/* Columns a terminal needs for it. Clean text only. */
size_t output_columns(const char *text, size_t len);
/* The longest part that fits into columns, cut between characters; gives bytes. */
size_t output_fit(const char *text, size_t len, size_t columns);

/* Writes to stdout and empties. _line adds the line break. */
void output_text(struct buf *takes);
void output_line(struct buf *takes);
/* A line that others want at once (a stream): stdout is flushed behind it. */
void output_stream_line(const char *text, size_t len);
/* JSON text as a terminal may see it: the control characters that JSON allows raw are escaped. */
void output_add_escaped(struct buf *out, const char *json, size_t len);
/* Nobody reads stdout any more, or it cannot be written: no use in going on with a stream. */
bool output_is_lost(void);
/* Flushes stdout; gives the errno of the first write that failed, or 0. */
int output_finish(void);
/* "ctutor-run: text" on stderr; _plain without the name. */
void output_note(const char *fmt, ...) PRINTF_LIKE(1, 2);
void output_plain_note(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Columns of the terminal behind the descriptor; 0: it is none. */
size_t output_width(int descriptor);
/* The SGR colour of a status word ("32"), or NULL. */
const char *output_status_colour(const char *status);
/* "3s", "5m", "2h", "4d": short, for people. */
void output_add_span(struct buf *out, int64_t us);
/* "2026-11-24 08:00:00" in local time. */
void output_add_local_time(struct buf *out, int64_t wall_us);
