/* web.c: see web.h. curl_multi_socket_action drives libcurl: it names the sockets and the time it
 * waits for, the loop tells it of them.
 *
 *   web_send -> [socket or timer -> act -> libcurl -> on_body ...]* -> finish -> done
 * Nothing calls back out of libcurl but chunks. */
#include "io/web.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"

#define AT_ONCE 8 /* connections to one host */

struct web {
    struct loop *loop;
    CURLM *multi;
    struct timer timer;
    struct list calls;
};

struct web_socket {
    uv_poll_t poll;
    struct web *web;
    curl_socket_t descriptor;
};

struct web_call {
    struct list node;
    struct web *web;
    CURL *easy;
    struct curl_slist *headers;
    struct buf sent, body;
    size_t answer_max;
    bool is_too_large;
    char reason[CURL_ERROR_SIZE];
    void (*chunk)(void *arg, const char *data, size_t len);
    web_done_fn *done;
    void *arg;
};

static int on_socket(CURL *easy, curl_socket_t descriptor, int what, void *arg, void *known);
static void on_poll(uv_poll_t *poll, int status, int events);
static int on_timeout(CURLM *multi, long after_ms, void *arg);
static void on_timer(struct timer *timer);
static void act(struct web *web, curl_socket_t descriptor, int events);
static size_t on_body(char *data, size_t one, size_t len, void *arg);
static void set_up(struct web_call *call, const struct web_request *request);
static void finish(struct web_call *call, CURLcode code);
static int status_of(const struct web_call *call);
static void call_free(struct web_call *call);

struct web *web_new(struct loop *loop)
{
    struct web *web = xcalloc(1, sizeof *web);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    web->loop = loop;
    web->multi = curl_multi_init();
    if (!web->multi) abort(); /* no memory */
    list_init(&web->calls);
    timer_init(loop, &web->timer, on_timer);
    curl_multi_setopt(web->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(web->multi, CURLMOPT_SOCKETDATA, web);
    curl_multi_setopt(web->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(web->multi, CURLMOPT_TIMERDATA, web);
    curl_multi_setopt(web->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)AT_ONCE);
    return web;
}

static void on_timer_closed(struct timer *timer) { free(container_of(timer, struct web, timer)); }

void web_free(struct web *web)
{
    LIST_EACH (node, &web->calls) {
        struct web_call *call = container_of(node, struct web_call, node);
        struct web_answer none = { .body = "", .was_sent = true };
        struct err err;
        err_set(&err, ERR_CANCELLED, "not waited for any more");
        call->done(call->arg, &none, &err);
        call_free(call);
    }
    curl_multi_cleanup(web->multi);
    curl_global_cleanup();
    timer_close(&web->timer, on_timer_closed);
}

struct web_call *web_send(struct web *web, const struct web_request *request, web_done_fn *done,
                          void *arg)
{
    struct web_call *call = xcalloc(1, sizeof *call);
    call->web = web;
    call->chunk = request->chunk;
    call->done = done;
    call->arg = arg;
    call->answer_max = request->answer_max;
    call->easy = curl_easy_init();
    if (!call->easy) abort(); /* no memory */
    list_push_back(&web->calls, &call->node);
    set_up(call, request);
    curl_multi_add_handle(web->multi, call->easy);
    return call;
}

void web_drop(struct web_call *call) { call_free(call); }

static void add_header(struct web_call *call, const char *text)
{
    struct curl_slist *longer = curl_slist_append(call->headers, text);
    if (!longer) abort(); /* no memory */
    call->headers = longer;
}

static void set_up(struct web_call *call, const struct web_request *request)
{
    CURL *easy = call->easy;
    const char *certificates = getenv("SSL_CERT_FILE");
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L); /* a queue may be named ".." */
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "ctutor-run/" CTUTOR_VERSION);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->reason);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)request->answer_max);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(request->connect_us / 1000));
    if (request->most_us >= 0)
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(request->most_us / 1000));
    if (request->silence_us >= 0) {
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)(request->silence_us / 1000000));
    }
    if (certificates && *certificates) curl_easy_setopt(easy, CURLOPT_CAINFO, certificates);
    if (request->bearer) {
        struct buf line = BUF_EMPTY;
        buf_addf(&line, "Authorization: Bearer %s", request->bearer);
        add_header(call, buf_text(&line));
        explicit_bzero(line.data, line.len);
        buf_close(&line);
    }
    if (request->takes_json) {
        call->sent = *request->takes_json;
        *request->takes_json = BUF_EMPTY;
        add_header(call, "Content-Type: application/json");
        add_header(call, "Expect:");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->sent.len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, buf_text(&call->sent));
    } else if (strcmp(request->method, "POST") == 0) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
        add_header(call, "Content-Type:");
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
}

/* ---- what libcurl waits for ---- */

static void on_socket_closed(uv_handle_t *handle)
{
    free(container_of((uv_poll_t *)handle, struct web_socket, poll));
}

static int on_socket(CURL *easy, curl_socket_t descriptor, int what, void *arg, void *known)
{
    struct web *web = arg;
    struct web_socket *socket = known;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        curl_multi_assign(web->multi, descriptor, NULL);
        if (!socket) return 0;
        uv_poll_stop(&socket->poll);
        uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
        return 0;
    }
    if (!socket) {
        socket = xcalloc(1, sizeof *socket);
        socket->web = web;
        socket->descriptor = descriptor;
        if (uv_poll_init_socket(&web->loop->uv, &socket->poll, descriptor) != 0) {
            free(socket);
            return -1;
        }
        curl_multi_assign(web->multi, descriptor, socket);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&socket->poll, events, on_poll);
    return 0;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct web_socket *socket = container_of(poll, struct web_socket, poll);
    int told = status < 0 ? CURL_CSELECT_ERR : 0;
    if (events & UV_READABLE) told |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE) told |= CURL_CSELECT_OUT;
    act(socket->web, socket->descriptor, told);
}

static int on_timeout(CURLM *multi, long after_ms, void *arg)
{
    struct web *web = arg;
    (void)multi;
    if (after_ms < 0)
        timer_stop(&web->timer);
    else
        timer_start(&web->timer, (int64_t)after_ms * 1000);
    return 0;
}

static void on_timer(struct timer *timer)
{
    act(container_of(timer, struct web, timer), CURL_SOCKET_TIMEOUT, 0);
}

static void act(struct web *web, curl_socket_t descriptor, int events)
{
    int count;
    CURLMsg *message;
    curl_multi_socket_action(web->multi, descriptor, events, &count);
    while ((message = curl_multi_info_read(web->multi, &count))) {
        char *call;
        if (message->msg != CURLMSG_DONE) continue;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        finish((struct web_call *)(void *)call, code);
    }
}

/* ---- an answer ---- */

static size_t on_body(char *data, size_t one, size_t len, void *arg)
{
    struct web_call *call = arg;
    size_t size = one * len;
    if (call->chunk && status_of(call) == 200) {
        call->chunk(call->arg, data, size);
        return size;
    }
    call->is_too_large =
        size > call->answer_max - call->body.len || !buf_try_add(&call->body, data, size);
    return call->is_too_large ? 0 : size;
}

static void finish(struct web_call *call, CURLcode code)
{
    struct err err = { 0 };
    long sent = 0;
    curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &sent);
    if (code == CURLE_FILESIZE_EXCEEDED || call->is_too_large)
        err_set(&err, ERR_TOO_LARGE, "the answer is larger than %zu bytes", call->answer_max);
    else if (code != CURLE_OK)
        err_set(&err, ERR_STORE, "%s", *call->reason ? call->reason : curl_easy_strerror(code));
    const struct web_answer answer = { .status = code == CURLE_OK ? status_of(call) : 0,
                                       .body = buf_text(&call->body),
                                       .len = call->body.len,
                                       .was_sent = sent > 0 };
    curl_multi_remove_handle(call->web->multi, call->easy);
    list_del(&call->node);
    list_init(&call->node);
    call->done(call->arg, &answer, code == CURLE_OK ? NULL : &err);
    call_free(call);
}

static int status_of(const struct web_call *call)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

static void call_free(struct web_call *call)
{
    list_del(&call->node);
    curl_multi_remove_handle(call->web->multi, call->easy); /* harmless when it was */
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    buf_close(&call->sent);
    buf_close(&call->body);
    free(call);
}

void web_add_escaped(struct buf *out, const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    for (; *text; text++) {
        if (strchr(plain, *text))
            buf_add_char(out, *text);
        else
            buf_addf(out, "%%%02X", (unsigned)(unsigned char)*text);
    }
}
