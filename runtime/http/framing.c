/* framing.c: where a request ends, and whether all sides agree about it. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/server_private.h"

#define ANSWER_HEAD_MAX 1024
#define TARGET_MAX      4096
#define PARAMETERS_MAX  64
#define VALUE_COST      64 /* MHD's own, for each header, cookie and parameter */

static const char length_name[] = "Content-Length", encoding_name[] = "Transfer-Encoding";

struct framing {
    int lengths, encodings, hosts;
    bool is_odd;            /* a name that is none, or a coding that we do not undo */
    size_t values, cookies; /* how many; bytes that MHD keeps twice */
};

static enum MHD_Result count(void *cls, enum MHD_ValueKind kind, const char *name, size_t len,
                             const char *value, size_t value_len);

bool framing_is_sane(struct http_request *request, struct err *why)
{
    struct framing framing = { 0 };
    MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, count, &framing);
    if (request->has_nul) return err_set(why, ERR_INPUT, "%%00 has no place in a URL");
    if (framing.lengths + framing.encodings > 1)
        return err_set(why, ERR_INPUT,
                       "one Content-Length or one Transfer-Encoding says how long a body is");
    if (framing.is_odd)
        return err_set(why, ERR_INPUT,
                       "a header is no header: its name, a continued line, or a Transfer-Encoding "
                       "other than chunked");
    if (framing.hosts > 1) return err_set(why, ERR_INPUT, "there is more than one Host");
    return true;
}

/* MHD 0.9.75 takes spaces into a name, and what continues a line joins the name before it:
 * "Content-Length:", then " 5", is "Content-Length5". */
static bool is_odd_name(const char *name, size_t len)
{
    static const char *const alike[] = { length_name, encoding_name };
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if (len == 0 || strspn(name, token) != len) return true;
    for (size_t i = 0; i < COUNT_OF(alike); i++) {
        size_t most = strlen(alike[i]);
        if (len > most && strncasecmp(name, alike[i], most) == 0) return true;
    }
    return false;
}

static enum MHD_Result count(void *cls, enum MHD_ValueKind kind, const char *name, size_t len,
                             const char *value, size_t value_len)
{
    struct framing *framing = cls;
    framing->values++;
    if (kind != MHD_HEADER_KIND) return MHD_YES;
    bool is_encoding = strcasecmp(name, encoding_name) == 0;
    framing->lengths += strcasecmp(name, length_name) == 0;
    framing->encodings += is_encoding;
    framing->hosts += strcasecmp(name, "Host") == 0;
    framing->cookies += strcasecmp(name, "Cookie") == 0 ? value_len : 0;
    framing->is_odd = framing->is_odd || is_odd_name(name, len) ||
                      (is_encoding && strcasecmp(value, "chunked") != 0);
    return MHD_YES;
}

bool framing_target_fits(const char *target)
{
    size_t parameters = 0;
    for (const char *at = target; *at; at++) parameters += *at == '&';
    return strlen(target) <= TARGET_MAX && parameters < PARAMETERS_MAX;
}

bool framing_leaves_room(struct http_request *request)
{
    struct framing framing = { 0 };
    const union MHD_ConnectionInfo *head =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    MHD_get_connection_values_n(request->connection,
                                MHD_HEADER_KIND | MHD_COOKIE_KIND | MHD_GET_ARGUMENT_KIND, count,
                                &framing);
    return head->header_size + framing.values * VALUE_COST + framing.cookies <=
           HTTP_HEAD_MAX - ANSWER_HEAD_MAX;
}

int64_t framing_length(const struct http_request *request)
{
    const char *length = http_header(request, length_name);
    return length ? strtoll(length, NULL, 10) : 0;
}

bool framing_may_be_awaited(const struct http_request *request)
{
    bool has_body = framing_length(request) > 0 || http_header(request, encoding_name);
    return !has_body || (!http_header(request, "Expect") && framing_length(request) <= DISCARD_MAX);
}
