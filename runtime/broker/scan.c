/* scan.c: all hints, page by page, for who compares them with the ledger. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "broker/broker_private.h"

#define FIELDS 4 /* member, starts, queue, whether it comes back */

struct scan_call {
    broker_scan_fn *done;
    void *arg;
};

static void on_scanned(void *arg, const struct redis_reply *reply, const struct err *err);
static bool is_page(const struct redis_reply *reply);
static void read_held(struct redis_reply *const *fields, struct broker_held *out);

void broker_scan(struct broker *broker, const char *queue, const char *cursor, broker_scan_fn *done,
                 void *arg)
{
    struct scan_call *call = xmalloc(sizeof *call);
    *call = (struct scan_call){ done, arg };
    struct args args = { 0 };
    args_text(&args, cursor);
    args_text(&args, queue);
    args_send(&args, broker->commands, &script_scan, broker->key, on_scanned, call);
}

static void on_scanned(void *arg, const struct redis_reply *reply, const struct err *err)
{
    struct scan_call *call = arg;
    struct broker_scanned scanned = { 0 };
    struct broker_held *held = NULL;
    struct err odd;
    if (!err && !is_page(reply)) {
        err_set(&odd, ERR_INTERNAL, "Redis answered to scan what it never should");
        err = &odd;
    }
    if (!err) {
        scanned.count = (reply->count - 1) / FIELDS;
        held = xcalloc(scanned.count + 1, sizeof *held);
        for (size_t i = 0; i < scanned.count; i++)
            read_held(reply->items + 1 + i * FIELDS, &held[i]);
        scanned.held = held;
        scanned.cursor = reply->items[0]->text;
    }
    call->done(call->arg, err ? NULL : &scanned, err);
    free(held);
    free(call);
}

static bool is_page(const struct redis_reply *reply)
{
    if (reply->type != REDIS_ARRAY || reply->count % FIELDS != 1) return false;
    for (size_t i = 0; i < reply->count; i++)
        if (reply->items[i]->type != REDIS_TEXT) return false;
    return true;
}

static void read_held(struct redis_reply *const *fields, struct broker_held *out)
{
    struct hint *hint = &out->hint;
    size_t len = fields[2]->len < HINT_QUEUE_MAX ? fields[2]->len : HINT_QUEUE_MAX;
    memcpy(hint->queue, fields[2]->text, len);
    hint->starts = (int32_t)strtol(fields[1]->text, NULL, 10);
    out->comes_back = fields[3]->text[0] == '1';
    out->is_id = fields[0]->len == sizeof hint->id;
    if (out->is_id) memcpy(hint->id.bytes, fields[0]->text, sizeof hint->id);
}

void broker_drop_queue(struct broker *broker, const char *queue, const struct ident *incarnation,
                       broker_done_fn *done, void *arg)
{
    struct args args = { 0 };
    args_text(&args, queue);
    args_ident(&args, incarnation);
    args_send(&args, broker->commands, &script_drop_queue, broker->key, broker_call_done,
              broker_call_new(done, arg));
}
