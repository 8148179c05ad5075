/* call.c: sends a verb's statement until it is answered, and reads the shapes that many share. */
#include "ledger/call.h"

#include <stdlib.h>
#include <string.h>

#define TRIES_MAX 8

static void on_answer(void *arg, const struct pg_answer *answer);
static void plain_answered(struct call *call, const struct pg_answer *answer);
static void json_answered(struct call *call, const struct pg_answer *answer);
static void hints_answered(struct call *call, const struct pg_answer *answer);
static void operate_answered(struct call *call, const struct pg_answer *answer);
static void hints_collect(const struct pg_rows *rows, int column, struct hint *into,
                          struct ledger_hints *found);

void *call_new(struct ledger *ledger, size_t size,
               void (*answered)(struct call *, const struct pg_answer *), void *arg)
{
    struct call *call = xcalloc(1, size);
    call->ledger = ledger;
    call->answered = answered;
    call->arg = arg;
    list_init(&call->node);
    pg_params_init(&call->params);
    return call;
}

void call_free(struct call *call)
{
    pg_params_close(&call->params);
    free(call);
}

/* pg takes what it sends: it gets a copy. */
void call_send(struct call *call, const struct pg_statement *statement)
{
    call->statement = statement;
    struct pg_params copy = call->params;
    copy.bytes = BUF_EMPTY;
    buf_add(&copy.bytes, call->params.bytes.data, call->params.bytes.len);
    pg_send(ledger_pg(call->ledger), statement, &copy, call->deadline_us, on_answer, call);
}

static void on_answer(void *arg, const struct pg_answer *answer)
{
    struct call *call = arg;
    if (answer->err && answer->err->code == ERR_RETRY && ++call->tries < TRIES_MAX) {
        ledger_again(call->ledger, &call->node, call->tries);
        return;
    }
    call->answered(call, answer);
}

struct call *call_plain(struct ledger *ledger, ledger_done_fn *done, void *arg)
{
    struct call *call = call_new(ledger, sizeof *call, plain_answered, arg);
    call->done = done;
    return call;
}

static void plain_answered(struct call *call, const struct pg_answer *answer)
{
    bool has_row = !answer->err && pg_row_count(answer->rows) > 0;
    int64_t count = has_row ? pg_get_int8(answer->rows, 0, 0) : 0;
    if (call->done) call->done(call->arg, count, answer->unknown, answer->err);
    call_free(call);
}

struct call *call_json(struct ledger *ledger, ledger_json_fn *json, void *arg)
{
    struct call *call = call_new(ledger, sizeof *call, json_answered, arg);
    call->json = json;
    return call;
}

static void json_answered(struct call *call, const struct pg_answer *answer)
{
    size_t len = 0;
    bool has_row = !answer->err && pg_row_count(answer->rows) > 0;
    const char *text = has_row ? pg_get_text(answer->rows, 0, 0, &len) : "";
    call->json(call->arg, text, len, answer->err);
    call_free(call);
}

struct call *call_hints(struct ledger *ledger, ledger_hints_fn *hints, void *arg)
{
    struct call *call = call_new(ledger, sizeof *call, hints_answered, arg);
    call->hints = hints;
    return call;
}

static void hints_answered(struct call *call, const struct pg_answer *answer)
{
    struct ledger_hints found = { 0 };
    struct hint *hints = NULL;
    if (!answer->err) {
        hints = xcalloc((size_t)pg_row_count(answer->rows) + 1, sizeof *hints);
        hints_collect(answer->rows, 0, hints, &found);
    }
    call->hints(call->arg, &found, answer->err);
    free(hints);
    call_free(call);
}

struct call *call_operate(struct ledger *ledger, ledger_operate_fn *operate, void *arg)
{
    struct call *call = call_new(ledger, sizeof *call, operate_answered, arg);
    call->operate = operate;
    return call;
}

static void operate_answered(struct call *call, const struct pg_answer *answer)
{
    struct ledger_hints found = { 0 };
    struct hint *hints = NULL;
    struct buf json = BUF_EMPTY;
    if (!answer->err) {
        hints = xcalloc((size_t)pg_row_count(answer->rows) + 1, sizeof *hints);
        hints_collect(answer->rows, 1, hints, &found);
        for (int row = 0; row < pg_row_count(answer->rows); row++) {
            size_t len;
            const char *text = pg_get_text(answer->rows, row, 0, &len);
            buf_add_char(&json, row == 0 ? '[' : ',');
            buf_add(&json, text, len);
        }
        buf_add_text(&json, json.len ? "]" : "[]");
    }
    call->operate(call->arg, buf_text(&json), json.len, &found, answer->err);
    buf_close(&json);
    free(hints);
    call_free(call);
}

static void hints_collect(const struct pg_rows *rows, int column, struct hint *into,
                          struct ledger_hints *found)
{
    for (int row = 0; row < pg_row_count(rows); row++) {
        if (pg_is_null(rows, row, column)) continue;
        if (pg_is_null(rows, row, column + 5)) {
            found->now_us = pg_get_int8(rows, row, column + 3);
            continue;
        }
        struct hint *hint = &into[found->count];
        if (hint_read(rows, row, column, hint)) {
            found->count++;
        } else if (!found->next_run_at_us || hint->ready_us < found->next_run_at_us) {
            found->next_run_at_us = hint->ready_us;
        }
    }
    found->hints = into;
}

bool hint_read(const struct pg_rows *rows, int row, int column, struct hint *hint)
{
    *hint = (struct hint){ .id = pg_get_uuid(rows, row, column),
                           .starts = pg_get_int4(rows, row, column + 1),
                           .priority = (int16_t)pg_get_int4(rows, row, column + 2),
                           .ready_us = pg_get_int8(rows, row, column + 3) };
    hint_read_queue(rows, row, column + 4, hint);
    return pg_get_bool(rows, row, column + 5);
}

void hint_read_queue(const struct pg_rows *rows, int row, int column, struct hint *hint)
{
    size_t len;
    const char *queue = pg_get_text(rows, row, column, &len);
    if (len > HINT_QUEUE_MAX) len = HINT_QUEUE_MAX;
    memcpy(hint->queue, queue, len);
    hint->queue[len] = '\0';
}

void item_text(struct pg_params *params, const char *text)
{
    pg_item_text(params, text, text ? strlen(text) : 0);
}

void put_idents(struct pg_params *params, const struct ident *ids, size_t count)
{
    ARRAY_OF(params, PG_OID_UUID, count, pg_item_uuid(params, &ids[i]));
}

void put_ident_or_null(struct pg_params *params, const struct ident *id)
{
    if (ident_is_zero(id)) {
        pg_null(params, PG_OID_UUID);
    } else {
        pg_uuid(params, id);
    }
}

void put_texts(struct pg_params *params, const char *const *texts)
{
    pg_array(params, PG_OID_TEXT);
    for (; texts && *texts; texts++) item_text(params, *texts);
    pg_array_end(params);
}
