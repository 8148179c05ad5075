/* operate.c: ledger first, then Redis: hints of finals are forgotten, running tasks hear of a
 * cancel, retried ones are pushed. */
#include "lifecycle/operate.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "task/params.h"

struct operate_call {
    struct broker *broker;
    enum operation operation;
    operate_fn *done;
    void *arg;
};

static void on_ledger(void *arg, const char *json, size_t len, const struct ledger_hints *hints,
                      const struct err *err);
static void tell_broker(struct operate_call *call, const char *json, size_t len);

void operate(struct ledger *ledger, struct broker *broker, enum operation operation,
             const struct ident *ids, size_t count, const char *actor, operate_fn *done, void *arg)
{
    struct operate_call *call = xcalloc(1, sizeof *call);
    *call = (struct operate_call){ broker, operation, done, arg };
    switch (operation) {
    case OPERATE_CANCEL: ledger_cancel(ledger, ids, count, actor, on_ledger, call); break;
    case OPERATE_RETRY: ledger_retry(ledger, ids, count, actor, on_ledger, call); break;
    case OPERATE_DELETE: ledger_delete(ledger, ids, count, actor, on_ledger, call); break;
    }
}

static void on_ledger(void *arg, const char *json, size_t len, const struct ledger_hints *hints,
                      const struct err *err)
{
    struct operate_call *call = arg;
    if (!err && call->broker && broker_is_up(call->broker)) {
        if (hints->count) broker_push(call->broker, hints->hints, hints->count, NULL, NULL);
        if (call->operation == OPERATE_CANCEL) tell_broker(call, json, len);
    }
    call->done(call->arg, json, len, err);
    free(call);
}

/* Waiting ones are final now: their hints go. Running ones are told through their runner. */
static void tell_broker(struct operate_call *call, const char *json, size_t len)
{
    json_t *answers = params_load(json, len);
    size_t index;
    json_t *answer;
    json_array_foreach(answers, index, answer)
    {
        struct ident id;
        const char *status = json_string_value(json_object_get(answer, "status"));
        const char *queue = json_string_value(json_object_get(answer, "queue"));
        const char *text = json_string_value(json_object_get(answer, "task_id"));
        if (!status || !text || !ident_parse(text, &id)) continue;
        if (strcmp(status, "cancelling") == 0) broker_announce_cancel(call->broker, &id);
        if (strcmp(status, "cancelled") == 0 && queue) {
            broker_forget(call->broker, &id, &queue, 1, NULL, NULL);
        }
    }
    json_decref(answers);
}
