/* html.c: see html.h. */
#include "http/html.h"

#include <string.h>

void html_text(struct buf *out, const char *text)
{
    while (text && *text) {
        size_t plain = strcspn(text, "&<>\"'");
        buf_add(out, text, plain);
        text += plain;
        switch (*text) {
        case '&': buf_add_text(out, "&amp;"); break;
        case '<': buf_add_text(out, "&lt;"); break;
        case '>': buf_add_text(out, "&gt;"); break;
        case '"': buf_add_text(out, "&quot;"); break;
        case '\'': buf_add_text(out, "&#39;"); break;
        default: return;
        }
        text++;
    }
}

void html_url(struct buf *out, const char *text)
{
    static const char kept[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    for (; *text; text++) {
        if (strchr(kept, *text))
            buf_add_char(out, *text);
        else
            buf_addf(out, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

void html_begin(struct buf *out, const char *title)
{
    buf_add_text(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                      "<title>");
    html_text(out, title);
    buf_add_text(out, " - ctutor-run</title>"
                      "<link rel=\"icon\" href=\"/assets/icon.svg\" type=\"image/svg+xml\">"
                      "<link rel=\"stylesheet\" href=\"/assets/plain.css\"></head><body><header>"
                      "<nav><b>ctutor-run</b> <a href=\"/plain\">Tasks</a> "
                      "<a href=\"/plain/run\">Run a task</a></nav></header><main><h1>");
    html_text(out, title);
    buf_add_text(out, "</h1>\n");
}

void html_end(struct buf *out) { buf_add_text(out, "</main></body></html>\n"); }
