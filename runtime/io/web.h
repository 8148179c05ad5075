/* web.h: HTTP requests on the loop (libcurl), over connections that are kept and used again.
 *
 * Redirects are answers like others: a token goes nowhere but where it was sent. Proxies are those
 * of the environment (http_proxy, https_proxy, no_proxy); certificates are checked, against
 * SSL_CERT_FILE if that is set. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "loop/loop.h"

struct web;      /* opaque */
struct web_call; /* opaque; gone when its done was called */

struct web_request {
    const char *method, *url; /* borrowed, as all texts here */
    const char *bearer;       /* token, or NULL; without control characters */
    struct buf *takes_json;   /* body, or NULL */
    int64_t connect_us;
    int64_t most_us;    /* for all of it; -1: no end */
    int64_t silence_us; /* without a byte; -1: any */
    size_t answer_max;
    /* What comes of an answer 200, instead of web_answer.body. Must not call web_*. May be NULL. */
    void (*chunk)(void *arg, const char *data, size_t len);
};
struct web_answer {
    int status;       /* 0: there was no answer */
    const char *body; /* never NULL */
    size_t len;
    bool was_sent; /* the request, or a part: perhaps it was done, whatever err says */
};
/* err: ERR_STORE, ERR_TOO_LARGE; an answer of any status is none. */
typedef void web_done_fn(void *arg, const struct web_answer *answer, const struct err *err);

struct web *web_new(struct loop *loop);
/* What is under way is answered with ERR_CANCELLED first. */
void web_free(struct web *web);
struct web_call *web_send(struct web *web, const struct web_request *request, web_done_fn *done,
                          void *arg);
/* Nobody waits for it any more: done is not called. Not from a chunk. */
void web_drop(struct web_call *call);

/* Percent-encoded as one segment of a path or one value of a query. */
void web_add_escaped(struct buf *out, const char *text);
