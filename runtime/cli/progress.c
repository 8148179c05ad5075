/* progress.c: see progress.h. */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"

#define BAR_MIN   10
#define BAR_MAX   40
#define CLEAR     "\r\033[K"
#define SECOND_US INT64_C(1000000)

void progress_text(struct buf *out, const struct progress_view *view, size_t width)
{
    struct buf tail = BUF_EMPTY;
    if (view->percent >= 0) buf_addf(&tail, " %3d%%", (int)view->percent);
    buf_addf(&tail, " %s ", view->status);
    if (view->elapsed_us < 100 * SECOND_US)
        buf_addf(&tail, "%ds", (int)(view->elapsed_us / SECOND_US));
    else
        output_add_span(&tail, view->elapsed_us);
    if (view->metadata && *view->metadata) {
        buf_add_char(&tail, ' ');
        output_add_clean(&tail, view->metadata, strlen(view->metadata), false);
    }
    size_t columns = output_columns(buf_text(&tail), tail.len);
    size_t bar = width > columns + 2 ? width - columns - 2 : 0;
    if (bar < BAR_MIN) bar = width < 3 * BAR_MIN ? 0 : BAR_MIN;
    if (bar > BAR_MAX) bar = BAR_MAX;
    if (view->percent < 0) bar = 0;
    size_t filled =
        bar ? (size_t)((double)bar * (view->percent > 100 ? 100 : view->percent) / 100) : 0;
    if (bar) buf_add_char(out, '[');
    for (size_t i = 0; i < bar; i++) buf_add_char(out, i < filled ? '#' : '-');
    if (bar) buf_add_char(out, ']');
    size_t room = bar ? width - bar - 2 : width;
    buf_add(out, buf_text(&tail), output_fit(buf_text(&tail), tail.len, room));
    buf_close(&tail);
}

void progress_metadata(struct buf *out, const json_t *metadata)
{
    const char *key;
    json_t *value;
    size_t start = out->len;
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
    {
        if (out->len > start) buf_add_char(out, ' ');
        char *text =
            json_is_string(value)
                ? NULL
                : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        buf_addf(out, "%s=%s", key, text ? text : json_string_value(value));
        free(text);
    }
    if (!metadata || json_is_object(metadata) || json_is_null(metadata)) return;
    char *text = json_dumps(metadata, JSON_COMPACT | JSON_ENCODE_ANY);
    buf_add_text(out, text);
    free(text);
}

/* One column is left free: a cursor behind the last one would wrap on some terminals. */
void progress_show(const struct progress_view *view)
{
    struct buf line = BUF_EMPTY;
    size_t width = output_width(STDERR_FILENO);
    buf_add_text(&line, CLEAR);
    if (width > 1) progress_text(&line, view, width - 1);
    fwrite(line.data, 1, line.len, stderr);
    buf_close(&line);
}

void progress_hide(void) { fputs(CLEAR, stderr); }
