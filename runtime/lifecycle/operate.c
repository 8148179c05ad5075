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
static void announce_cancels(struct operate_call *call, const char *json, size_t len);

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
        bool cancels = call->operation == OPERATE_CANCEL; /* these hints are to go */
        if (hints->count)
            (cancels ? broker_forget : broker_push)(call->broker, hints->hints, hints->count, NULL,
                                                    NULL);
        if (cancels) announce_cancels(call, json, len);
    }
    call->done(call->arg, json, len, err);
    free(call);
}

/* Running ones are told through their runner. */
static void announce_cancels(struct operate_call *call, const char *json, size_t len)
{
    json_t *answers = params_load(json, len);
    size_t index;
    json_t *answer;
    json_array_foreach(answers, index, answer)
    {
        struct ident id;
        const char *status = json_string_value(json_object_get(answer, "status"));
        const char *text = json_string_value(json_object_get(answer, "task_id"));
        if (!status || !text || !ident_parse(text, &id)) continue;
        if (strcmp(status, "cancelling") == 0) broker_announce_cancel(call->broker, &id);
    }
    json_decref(answers);
}
