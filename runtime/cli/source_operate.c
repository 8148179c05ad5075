/* source_operate.c: see source.h: cancel, retry, delete; pause. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "cli/member.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/remote_paths.h"
#include "cli/remote_wait.h"
#include "cli/source.h"

#define AT_ONCE        500
#define MATCH_MAX      200000
#define BROKER_WAIT_US INT64_C(200000)
#define ANSWER_US      INT64_C(30000000)
#define MANY_US        INT64_C(600000000) /* hundreds of thousands of tasks, slice after slice */

static bool operate_remotely(struct app *app, enum operation operation, const struct ident *id,
                             struct buf *answers, struct err *err);
static void add_refusal(struct buf *out, const struct ident *id, const struct err *why);
static void tell_capped(int64_t count);
static void count_answers(const struct buf *json, struct tally *tally);
static bool copy_to_broker(struct app *app, struct err *err);

bool source_operate(struct app *app, enum operation operation, const struct ident *ids,
                    size_t count, struct buf *answers, struct err *err)
{
    struct await await = { 0 };
    bool good = true;
    buf_add_char(answers, '[');
    if (!app->remote) app_wait_broker(app, BROKER_WAIT_US);
    for (size_t at = 0, slice; good && at < count; at += slice) {
        slice = app->remote ? 1 : count - at < AT_ONCE ? count - at : AT_ONCE;
        if (at > 0) buf_add_char(answers, ',');
        if (app->remote) {
            good = operate_remotely(app, operation, &ids[at], answers, err);
        } else {
            operate(app->ledger, app->broker, operation, ids + at, slice, app_actor(), await_json,
                    &await);
            good = await_run(&app->loop, &await, err);
            if (await.json.len > 2) buf_add(answers, await.json.data + 1, await.json.len - 2);
        }
        if (!good && at > 0) answers->len--; /* the comma */
    }
    buf_add_char(answers, ']');
    if (!app->remote) app_flush_broker(app);
    await_close(&await);
    return good;
}

/* What is refused is an answer like others. */
static bool operate_remotely(struct app *app, enum operation operation, const struct ident *id,
                             struct buf *answers, struct err *err)
{
    static const char *const what[] = {
        [OPERATE_CANCEL] = "/cancel", [OPERATE_RETRY] = "/retry", [OPERATE_DELETE] = ""
    };
    char path[REMOTE_PATH_SIZE];
    struct remote_wait wait = { 0 };
    remote_task_path(path, id, what[operation]);
    remote_ask(app->remote, operation == OPERATE_DELETE ? "DELETE" : "POST", path, NULL, ANSWER_US,
               remote_wait_done, &wait);
    bool good = remote_wait_run(&app->loop, &wait, err);
    if (good) {
        buf_add(answers, wait.json.data, wait.json.len);
    } else if (err->code == ERR_NOT_FOUND || err->code == ERR_STATE) {
        add_refusal(answers, id, err);
        good = true;
    }
    remote_wait_close(&wait);
    return good;
}

/* The API says "ID is STATUS: message" of what is refused. */
static void add_refusal(struct buf *out, const struct ident *id, const struct err *why)
{
    char text[IDENT_TEXT_SIZE], word[16] = "";
    struct jsonw w;
    enum task_status status;
    bool is_missing = why->code == ERR_NOT_FOUND;
    const char *at = strstr(why->text, " is "), *message = at ? strstr(at, ": ") : NULL;
    if (message && message - at - 4 < (ptrdiff_t)sizeof word)
        memcpy(word, at + 4, (size_t)(message - at - 4));
    bool is_known = !is_missing && task_status_parse(word, &status);
    ident_text(id, text);
    jsonw_init(&w, out);
    jsonw_object(&w);
    jsonw_key_text(&w, "task_id", text);
    jsonw_key_text(&w, "status", is_missing ? "not_found" : "refused");
    jsonw_key_text(&w, "task_status", is_known ? word : NULL);
    jsonw_key_text(&w, "message", is_missing ? "no such task" : is_known ? message + 2 : why->text);
    jsonw_object_end(&w);
}

/* ---- all that a filter matches ---- */

bool source_match(struct app *app, const struct task_filter *filter, struct matched *out,
                  struct err *err)
{
    struct await await = { 0 };
    struct task_filter wanted = *filter;
    *out = (struct matched){ .filter = filter };
    wanted.limit = app->remote ? 1 : MATCH_MAX;
    wanted.offset = 0;
    if (app->remote)
        source_list(app, &wanted, await_json, &await);
    else
        ledger_match(app->ledger, &wanted, await_json, &await);
    bool good = await_run(&app->loop, &await, err);
    json_t *answer = params_load(buf_text(&await.json), await.json.len), *text;
    await_close(&await);
    if (app->remote) {
        out->count = member_int(answer, "total");
        out->is_capped = json_is_true(json_object_get(answer, "total_capped"));
    } else {
        size_t index;
        out->ids = xcalloc(json_array_size(answer) + 1, sizeof *out->ids);
        json_array_foreach(answer, index, text)
        {
            if (ident_parse(json_string_value(text), &out->ids[out->count])) out->count++;
        }
    }
    json_decref(answer);
    tell_capped(app->remote ? 0 : out->count);
    return good;
}

static void tell_capped(int64_t count)
{
    if (count == MATCH_MAX)
        output_note("the first %d are taken; repeat the command for the rest", MATCH_MAX);
}

void matched_close(struct matched *matched) { free(matched->ids); }

bool source_operate_matched(struct app *app, enum operation operation,
                            const struct matched *matched, struct tally *tally, struct err *err)
{
    static const char *const paths[] = { [OPERATE_CANCEL] = "/tasks/cancel",
                                         [OPERATE_RETRY] = "/tasks/retry",
                                         [OPERATE_DELETE] = "/tasks/delete" };
    bool good;
    struct buf json = BUF_EMPTY;
    *tally = (struct tally){ .matched = matched->count };
    if (app->remote) {
        struct remote_wait wait = { 0 };
        remote_filter_body(&json, matched->filter);
        remote_ask(app->remote, "POST", paths[operation], &json, MANY_US, remote_wait_done, &wait);
        good = remote_wait_run(&app->loop, &wait, err);
        json_t *answer = good ? params_load(buf_text(&wait.json), wait.json.len) : NULL;
        *tally = (struct tally){ member_int(answer, "matched"), member_int(answer, "done"),
                                 member_int(answer, "refused") };
        json_decref(answer);
        remote_wait_close(&wait);
        tell_capped(tally->matched);
    } else {
        good = source_operate(app, operation, matched->ids, (size_t)matched->count, &json, err);
        count_answers(&json, tally);
    }
    buf_close(&json);
    return good;
}

static void count_answers(const struct buf *json, struct tally *tally)
{
    json_t *answers = params_load(buf_text(json), json->len), *answer;
    size_t index;
    json_array_foreach(answers, index, answer)
    {
        const char *status = member_text(answer, "status");
        bool is_refused = strcmp(status, "refused") == 0 || strcmp(status, "not_found") == 0;
        tally->refused += is_refused;
        tally->done += !is_refused;
    }
    json_decref(answers);
}

/* ---- pause: the ledger holds what is paused; Redis a copy so that claims need not ask ---- */

bool source_pause(struct app *app, const char *queue, bool is_paused, struct err *err)
{
    struct await await = { 0 };
    if (app->remote) {
        char path[REMOTE_PATH_SIZE];
        struct remote_wait wait = { 0 };
        snprintf(path, sizeof path, "/queues/%s/%s", queue, is_paused ? "pause" : "resume");
        remote_ask(app->remote, "POST", path, NULL, ANSWER_US, remote_wait_done, &wait);
        bool good = remote_wait_run(&app->loop, &wait, err);
        remote_wait_close(&wait);
        return good;
    }
    ledger_pause(app->ledger, queue, is_paused, app_actor(), await_done, &await);
    if (!await_run(&app->loop, &await, err)) return false;
    if (!app_wait_broker(app, BROKER_WAIT_US) || !copy_to_broker(app, err))
        output_note("warning: Redis is away; workers hear of it once it is back");
    return true;
}

static bool copy_to_broker(struct app *app, struct err *err)
{
    struct await await = { 0 };
    ledger_paused(app->ledger, await_json, &await);
    bool good = await_run(&app->loop, &await, err);
    json_t *paused = params_load(buf_text(&await.json), await.json.len);
    size_t count = json_array_size(paused);
    const char **names = xcalloc(count + 1, sizeof *names);
    for (size_t i = 0; i < count; i++) names[i] = json_string_value(json_array_get(paused, i));
    if (good) {
        broker_set_paused(app->broker, names, count, await_broker, &await);
        good = await_run(&app->loop, &await, err);
    }
    free(names);
    json_decref(paused);
    await_close(&await);
    return good;
}
