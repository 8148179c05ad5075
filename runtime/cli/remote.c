/* remote.c: see remote.h. The token is in the header of each request and nowhere else. */
#include "cli/remote.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/member.h"
#include "io/web.h"
#include "task/params.h"

#define CONNECT_US INT64_C(5000000)
#define ANSWER_US  INT64_C(30000000)
#define ANSWER_MAX ((size_t)1 << 30)
#define SILENCE_US INT64_C(60000000) /* of an event stream, then it is begun anew */
#define LINE_MAX_  ((size_t)8 << 20) /* of an event stream */

struct remote {
    struct web *web;
    char *address; /* without /api */
    char *token;
    bool has_answered;

    struct web_call *following; /* or NULL */
    struct buf line;            /* of the stream, as far as it has come */
    void (*event)(void *arg, const char *line, size_t len);
    void *arg;
};

struct asking {
    struct remote *remote;
    remote_fn *done;
    ledger_json_fn *got; /* instead of done */
    void *arg;
};

static bool check_token(const char *token, struct err *err);
static void ask(struct remote *remote, const char *method, const char *path, struct buf *takes_json,
                int64_t most_us, struct asking *takes_asking);
static struct web_request request_of(const struct remote *remote, const char *method,
                                     const char *url);
static char *url_of(const struct remote *remote, const char *path);
static void on_answer(void *arg, const struct web_answer *answer, const struct err *err);
static void judge(const struct remote *remote, const struct web_answer *answer,
                  const struct err *failure, struct err *err);
static enum err_code code_of(int status, const char *code);
static void on_chunk(void *arg, const char *data, size_t len);
static void on_stream_end(void *arg, const struct web_answer *answer, const struct err *err);

bool remote_new(struct loop *loop, const struct config *config, struct remote **out,
                struct err *err)
{
    const char *address = config_text(config, SET_API_URL), *token = config_text(config, SET_TOKEN);
    size_t len = strlen(address);
    if (!check_token(token, err)) return false;
    while (len > 0 && address[len - 1] == '/') len--;
    if (len > 4 && strncmp(address + len - 4, "/api", 4) == 0) len -= 4;
    struct remote *remote = xcalloc(1, sizeof *remote);
    remote->web = web_new(loop);
    remote->address = xasprintf("%.*s", (int)len, address);
    remote->token = xstrdup(token);
    *out = remote;
    return true;
}

/* It becomes part of a header. */
static bool check_token(const char *token, struct err *err)
{
    for (const char *c = token; *c; c++)
        if (*c <= ' ' || *c > '~')
            return err_set(err, ERR_INPUT,
                           "CTUTOR_TOKEN holds a character that no token has: a blank, perhaps");
    return true;
}

void remote_free(struct remote *remote)
{
    remote_unfollow(remote);
    web_free(remote->web);
    explicit_bzero(remote->token, strlen(remote->token));
    free(remote->token);
    free(remote->address);
    free(remote);
}

bool remote_has_answered(const struct remote *remote) { return remote->has_answered; }

void remote_ask(struct remote *remote, const char *method, const char *path, struct buf *takes_json,
                int64_t most_us, remote_fn *done, void *arg)
{
    struct asking *asking = xcalloc(1, sizeof *asking);
    *asking = (struct asking){ .remote = remote, .done = done, .arg = arg };
    ask(remote, method, path, takes_json, most_us, asking);
}

void remote_get(struct remote *remote, const char *path, ledger_json_fn *done, void *arg)
{
    struct asking *asking = xcalloc(1, sizeof *asking);
    *asking = (struct asking){ .remote = remote, .got = done, .arg = arg };
    ask(remote, "GET", path, NULL, ANSWER_US, asking);
}

static void ask(struct remote *remote, const char *method, const char *path, struct buf *takes_json,
                int64_t most_us, struct asking *takes_asking)
{
    char *url = url_of(remote, path);
    struct web_request request = request_of(remote, method, url);
    request.takes_json = takes_json;
    request.most_us = most_us;
    web_send(remote->web, &request, on_answer, takes_asking);
    free(url);
}

static struct web_request request_of(const struct remote *remote, const char *method,
                                     const char *url)
{
    return (struct web_request){ .method = method,
                                 .url = url,
                                 .bearer = remote->token,
                                 .connect_us = CONNECT_US,
                                 .silence_us = -1,
                                 .answer_max = ANSWER_MAX };
}

static char *url_of(const struct remote *remote, const char *path)
{
    return xasprintf("%s/api%s", remote->address, path);
}

static void on_answer(void *arg, const struct web_answer *answer, const struct err *failure)
{
    struct asking *asking = arg;
    struct err err = { 0 };
    judge(asking->remote, answer, failure, &err);
    if (err.code != ERR_STORE) asking->remote->has_answered = true;
    bool is_good = err.code == ERR_NONE, is_unknown = err.code == ERR_STORE && answer->was_sent;
    if (asking->done)
        asking->done(asking->arg, answer->body, answer->len, is_unknown, is_good ? NULL : &err);
    else if (err.code == ERR_NOT_FOUND)
        asking->got(asking->arg, "", 0, NULL);
    else
        asking->got(asking->arg, answer->body, answer->len, is_good ? NULL : &err);
    free(asking);
}

/* Leaves err as it is when all is well. */
static void judge(const struct remote *remote, const struct web_answer *answer,
                  const struct err *failure, struct err *err)
{
    bool is_json = answer->len > 0 && (answer->body[0] == '{' || answer->body[0] == '[');
    if (failure) {
        *err = *failure;
        if (err->code == ERR_STORE)
            err_wrap(err, "the API at %s (CTUTOR_API_URL) does not answer", remote->address);
        return;
    }
    if (answer->status / 100 == 2 && is_json) return;
    json_t *told = is_json ? params_load(answer->body, answer->len) : NULL;
    const char *detail = member_text(told, "detail"), *code = member_text(told, "code");
    if (answer->status / 100 == 3)
        err_set(err, ERR_STORE,
                "the API at %s sends elsewhere (status %d): CTUTOR_API_URL must name where it is",
                remote->address, answer->status);
    else if (*detail && answer->status / 100 != 2)
        err_set(err, code_of(answer->status, code), "%s", detail);
    else
        err_set(err, ERR_STORE, "what answers at %s (CTUTOR_API_URL) is not the API: status %d",
                remote->address, answer->status);
    json_decref(told);
}

static enum err_code code_of(int status, const char *code)
{
    switch (status) {
    case 401:
    case 403: return ERR_DENIED;
    case 404: return ERR_NOT_FOUND;
    case 409: return strcmp(code, "refused") == 0 ? ERR_STATE : ERR_CONFLICT;
    case 413: return ERR_TOO_LARGE;
    case 429: return ERR_STORE;
    case 503: return strcmp(code, "full") == 0 ? ERR_FULL : ERR_STORE;
    case 504: return ERR_DEADLINE;
    }
    return status < 500 ? ERR_INPUT : ERR_INTERNAL;
}

/* ---- following a task ---- */

void remote_follow(struct remote *remote, const struct ident *id,
                   void (*event)(void *arg, const char *line, size_t len), void *arg)
{
    char id_text[IDENT_TEXT_SIZE], path[128];
    ident_text(id, id_text);
    if (remote->following) return;
    remote->event = event;
    remote->arg = arg;
    snprintf(path, sizeof path, "/tasks/%s/events", id_text);
    char *url = url_of(remote, path);
    struct web_request request = request_of(remote, "GET", url);
    request.most_us = -1;
    request.silence_us = SILENCE_US;
    request.chunk = on_chunk;
    buf_clear(&remote->line);
    remote->following = web_send(remote->web, &request, on_stream_end, remote);
    free(url);
}

void remote_unfollow(struct remote *remote)
{
    if (remote->following) web_drop(remote->following);
    remote->following = NULL;
    buf_close(&remote->line);
}

/* Each event is one line "data: JSON"; the other lines say nothing that it does not. */
static void on_chunk(void *arg, const char *data, size_t len)
{
    static const char prefix[] = "data:";
    struct remote *remote = arg;
    size_t taken = 0;
    buf_add(&remote->line, data, len);
    const char *start = buf_text(&remote->line), *end;
    while ((end = memchr(start + taken, '\n', remote->line.len - taken))) {
        const char *line = start + taken;
        size_t size = (size_t)(end - line);
        taken += size + 1;
        if (size > sizeof prefix && memcmp(line, prefix, sizeof prefix - 1) == 0)
            remote->event(remote->arg, line + sizeof prefix - 1, size - (sizeof prefix - 1));
    }
    buf_drop_front(&remote->line, taken);
    if (remote->line.len > LINE_MAX_) buf_clear(&remote->line); /* no event of ours */
}

static void on_stream_end(void *arg, const struct web_answer *answer, const struct err *err)
{
    (void)answer;
    (void)err;
    ((struct remote *)arg)->following = NULL;
}
