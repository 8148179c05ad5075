/* submit_slices.c: see submit_slices.h. */
#include "cli/submit_slices.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/member.h"
#include "cli/output.h"
#include "cli/remote.h"

#define LINES_MAX   1000
#define BYTES_MAX   ((size_t)16 << 20)
#define ANSWER_US   INT64_C(120000000)
#define PATIENCE_US INT64_C(60000000) /* with an API that does not answer any more */
#define AGAIN_US    INT64_C(500000)

struct slice {
    struct buf json; /* the array, without its end */
    void *lines[LINES_MAX];
    size_t count;
};

struct slices {
    struct app *app;
    slice_answer_fn *answered;
    struct slice *next, *sent; /* sent->count 0: nothing is under way */
    struct timer again;
    int64_t since_us; /* it does not answer; 0: it does */
};

static void send_slice(struct slices *slices);
static void on_answer(void *arg, const char *json, size_t len, bool is_unknown,
                      const struct err *err);
static void on_again(struct timer *timer);
static void settle(struct slices *slices, const json_t *answers, const struct err *err);

struct slices *slices_new(struct app *app, slice_answer_fn *answered)
{
    struct slices *slices = xcalloc(1, sizeof *slices);
    slices->app = app;
    slices->answered = answered;
    slices->next = xcalloc(1, sizeof *slices->next);
    slices->sent = xcalloc(1, sizeof *slices->sent);
    timer_init(&app->loop, &slices->again, on_again);
    return slices;
}

static void on_timer_closed(struct timer *timer)
{
    struct slices *slices = container_of(timer, struct slices, again);
    buf_close(&slices->next->json);
    buf_close(&slices->sent->json);
    free(slices->next);
    free(slices->sent);
    free(slices);
}

void slices_free(struct slices *slices) { timer_close(&slices->again, on_timer_closed); }

/* The text stays as it is: only the id is put in front. */
void slices_add(struct slices *slices, void *line, const char *text, size_t len, const json_t *body,
                struct ident *id)
{
    struct slice *slice = slices->next;
    const json_t *own = json_object_get(body, "id");
    const char *brace = memchr(text, '{', len);
    buf_add_char(&slice->json, slice->count ? ',' : '[');
    if (own) {
        if (!json_is_string(own) || !ident_parse(json_string_value(own), id))
            *id = (struct ident){ 0 };
        buf_add(&slice->json, text, len);
    } else {
        char word[IDENT_TEXT_SIZE];
        *id = ident_v7();
        ident_text(id, word);
        buf_addf(&slice->json, "{\"id\":\"%s\"%s", word, json_object_size(body) ? "," : "");
        buf_add(&slice->json, brace + 1, len - (size_t)(brace + 1 - text));
    }
    slice->lines[slice->count++] = line;
}

bool slices_is_full(const struct slices *slices)
{
    return slices->next->count == LINES_MAX || slices->next->json.len >= BYTES_MAX;
}

void slices_send(struct slices *slices)
{
    if (slices->sent->count > 0 || slices->next->count == 0) return;
    struct slice *slice = slices->next;
    slices->next = slices->sent;
    slices->sent = slice;
    buf_add_char(&slice->json, ']');
    send_slice(slices);
}

static void send_slice(struct slices *slices)
{
    struct buf copy = BUF_EMPTY; /* it may have to be sent again */
    buf_add(&copy, slices->sent->json.data, slices->sent->json.len);
    remote_ask(slices->app->remote, "POST", "/tasks/submit/bulk", &copy, ANSWER_US, on_answer,
               slices);
}

static void on_answer(void *arg, const char *json, size_t len, bool is_unknown,
                      const struct err *err)
{
    struct slices *slices = arg;
    struct err wrong;
    int64_t now_us = clock_boot_us();
    bool may_come_back = is_unknown || remote_has_answered(slices->app->remote);
    if (err && err->code == ERR_STORE && may_come_back &&
        (!slices->since_us || now_us - slices->since_us < PATIENCE_US)) {
        if (!slices->since_us) output_note("%s; trying again", err->text);
        if (!slices->since_us) slices->since_us = now_us;
        timer_start(&slices->again, AGAIN_US);
        return;
    }
    json_t *answers = err ? NULL : params_load(json, len);
    if (!err && json_array_size(answers) != slices->sent->count) {
        err_set(&wrong, ERR_INTERNAL, "the API answers %zu of %zu lines", json_array_size(answers),
                slices->sent->count);
        err = &wrong;
    }
    if (!err) slices->since_us = 0;
    settle(slices, answers, err);
    json_decref(answers);
}

static void on_again(struct timer *timer) { send_slice(container_of(timer, struct slices, again)); }

static void settle(struct slices *slices, const json_t *answers, const struct err *err)
{
    struct slice *slice = slices->sent;
    for (size_t i = 0; i < slice->count; i++)
        slices->answered(slice->lines[i], err ? NULL : json_array_get(answers, i), err);
    slice->count = 0;
    buf_clear(&slice->json);
}
