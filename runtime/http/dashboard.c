/* dashboard.c: the dashboard's files as they lie in the program, gzipped (CMakeLists.txt). Their
 * ETag is what gzip knows of them, the checksum and length at their end. A build without npm has
 * no script; then there are the pages of plain.c. */
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "http/api.h"

#define EMBEDDED(name) extern const unsigned char asset_##name[], asset_##name##_end[]
EMBEDDED(index_html);
EMBEDDED(app_js);
EMBEDDED(app_css);
EMBEDDED(plain_css);
EMBEDDED(icon_svg);

struct asset {
    const char *name, *type;
    const unsigned char *gzip, *end;
};
#define ASSET(name, of, type)                                                                      \
    {                                                                                              \
        name, type, asset_##of, asset_##of##_end                                                   \
    }
static const struct asset page = ASSET("", index_html, "text/html; charset=utf-8");
static const struct asset assets[] = {
    ASSET("app.js", app_js, "text/javascript; charset=utf-8"),
    ASSET("app.css", app_css, "text/css; charset=utf-8"),
    ASSET("plain.css", plain_css, "text/css; charset=utf-8"),
    ASSET("icon.svg", icon_svg, "image/svg+xml"),
};

#define GZIP_OF_NOTHING 20 /* bytes */

static void answer_asset(struct exchange *exchange, const struct asset *asset);
static bool takes_gzip(const struct exchange *exchange);
static struct buf unpacked(const struct asset *asset);

void handle_dashboard(struct exchange *exchange)
{
    if (asset_app_js_end - asset_app_js <= GZIP_OF_NOTHING) {
        answer_redirect(exchange, "/plain");
        return;
    }
    answer_asset(exchange, &page);
}

void handle_asset(struct exchange *exchange)
{
    for (size_t i = 0; i < sizeof assets / sizeof *assets; i++) {
        if (strcmp(assets[i].name, exchange->word) != 0) continue;
        answer_asset(exchange, &assets[i]);
        return;
    }
    answer_status(exchange, 404, "not_found", "there is no file '%.100s'", exchange->word);
}

static void answer_asset(struct exchange *exchange, const struct asset *asset)
{
    struct http_request *request = exchange->request;
    const char *known = http_header(request, "If-None-Match");
    char tag[2 + 16 + 1] = "\"";
    for (size_t i = 0; i < 8; i++)
        snprintf(tag + 1 + 2 * i, sizeof tag - 1 - 2 * i, "%02x", asset->end[(int)i - 8]);
    strcat(tag, "\"");
    http_set_header(request, "ETag", tag);
    http_set_header(request, "Cache-Control", "no-cache"); /* asks, and mostly hears 304 */
    http_set_header(request, "Vary", "Accept-Encoding");
    if (known && strstr(known, tag)) {
        answer_static(exchange, 304, NULL, "", 0);
    } else if (takes_gzip(exchange)) {
        http_set_header(request, "Content-Encoding", "gzip");
        answer_static(exchange, 200, asset->type, asset->gzip, (size_t)(asset->end - asset->gzip));
    } else {
        struct buf body = unpacked(asset);
        answer_file(exchange, 200, asset->type, &body);
    }
}

/* Who gives it a weight may have the bytes themselves. */
static bool takes_gzip(const struct exchange *exchange)
{
    const char *accepted = http_header(exchange->request, "Accept-Encoding");
    const char *gzip = accepted ? strcasestr(accepted, "gzip") : NULL;
    return gzip && gzip[4] != ';';
}

static struct buf unpacked(const struct asset *asset)
{
    struct buf out = BUF_EMPTY;
    z_stream z = { .next_in = (unsigned char *)(uintptr_t)asset->gzip,
                   .avail_in = (unsigned)(asset->end - asset->gzip) };
    int state = inflateInit2(&z, 16 + MAX_WBITS); /* 16: gzip's frame */
    while (state == Z_OK) {
        size_t piece = (size_t)64 * 1024;
        z.next_out = (unsigned char *)buf_reserve(&out, piece);
        z.avail_out = (unsigned)piece;
        state = inflate(&z, Z_NO_FLUSH);
        out.len += piece - z.avail_out;
    }
    inflateEnd(&z);
    return out;
}
