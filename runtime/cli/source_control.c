/* source_control.c: see source.h: what workers are told: a request in the ledger, an answer of each
 * worker. A NOTIFY says when to look; once a second we look anyway. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/remote_wait.h"
#include "cli/source.h"
#include "io/web.h"

#define ANSWER_MOST_US INT64_C(60000000)
#define LOOK_EVERY_US  INT64_C(1000000)

static bool ask_remote(struct app *app, const char *const *names, const char *host, bool is_all,
                       json_t **answers, struct err *err);
static bool wait_for_answers(struct app *app, const struct ident *request, json_t **out,
                             struct err *err);
static bool are_complete(const json_t *answers);

bool source_control(struct app *app, const char *verb, const char *const *names, const char *host,
                    bool is_all, json_t **answers, struct err *err)
{
    struct await await = { 0 };
    const struct ident request = ident_random();
    if (app->remote) return ask_remote(app, names, host, is_all, answers, err);
    ledger_listen(app->ledger);
    ledger_control_request(app->ledger, &request, verb, names, host, is_all, app_actor(),
                           await_json, &await);
    bool good = await_run(&app->loop, &await, err);
    await_close(&await);
    return good && wait_for_answers(app, &request, answers, err);
}

/* There being none is an answer, too. */
static bool ask_remote(struct app *app, const char *const *names, const char *host, bool is_all,
                       json_t **answers, struct err *err)
{
    struct buf path = BUF_EMPTY;
    struct remote_wait wait = { 0 };
    buf_add_text(&path, "/workers/reload");
    for (size_t i = 0; !is_all && names && names[i]; i++) {
        buf_add_text(&path, i ? "&name=" : "?name=");
        web_add_escaped(&path, names[i]);
    }
    if (!is_all && !names) {
        buf_add_text(&path, "?host=");
        web_add_escaped(&path, host);
    }
    remote_ask(app->remote, "POST", buf_text(&path), NULL, 2 * ANSWER_MOST_US, remote_wait_done,
               &wait);
    bool good = remote_wait_run(&app->loop, &wait, err);
    json_t *answer = good ? params_load(buf_text(&wait.json), wait.json.len) : NULL;
    *answers = json_incref(json_object_get(answer, "workers"));
    json_decref(answer);
    remote_wait_close(&wait);
    buf_close(&path);
    return good || err->code == ERR_NOT_FOUND;
}

struct answers_wait {
    struct timer tick;
    bool is_news, is_closed;
};

static void on_control(void *arg) { ((struct answers_wait *)arg)->is_news = true; }

static void on_tick(struct timer *timer)
{
    container_of(timer, struct answers_wait, tick)->is_news = true;
}

static void on_tick_closed(struct timer *timer)
{
    container_of(timer, struct answers_wait, tick)->is_closed = true;
}

/* gives *out: what there is when all have answered, or it took too long */
static bool wait_for_answers(struct app *app, const struct ident *request, json_t **out,
                             struct err *err)
{
    struct answers_wait wait = { 0 };
    struct await await = { 0 };
    int64_t until_us = clock_boot_us() + ANSWER_MOST_US;
    bool good = true, is_over = false;
    app->news = (struct app_news){ .arg = &wait, .control = on_control };
    timer_init(&app->loop, &wait.tick, on_tick);
    while (good && !is_over) {
        wait.is_news = false;
        ledger_control_read(app->ledger, request, await_json, &await);
        good = await_run(&app->loop, &await, err);
        json_decref(*out);
        *out = params_load(buf_text(&await.json), await.json.len);
        is_over = are_complete(*out) || clock_boot_us() > until_us;
        timer_start(&wait.tick, LOOK_EVERY_US);
        while (good && !is_over && !wait.is_news) loop_turn(&app->loop, true);
    }
    app->news = (struct app_news){ 0 };
    timer_close(&wait.tick, on_tick_closed);
    while (!wait.is_closed) loop_turn(&app->loop, true);
    await_close(&await);
    return good;
}

static bool are_complete(const json_t *answers)
{
    size_t index;
    json_t *answer;
    json_array_foreach((json_t *)(uintptr_t)answers, index, answer)
    {
        if (json_is_null(json_object_get(answer, "answer"))) return false;
    }
    return true;
}
