/* await.h: for programs that read downwards (commands, start-up): one verb, one answer. Pass &await
 * as arg and an await_* function as done, then await_run. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "broker/broker.h"
#include "ledger/ledger.h"
#include "loop/loop.h"

struct await {
    bool done, unknown;
    struct err err; /* code ERR_NONE on success */
    int64_t count;
    struct buf json; /* closed by await_close */
};

void await_done(void *arg, int64_t count, bool unknown, const struct err *err); /* ledger_done_fn */
void await_json(void *arg, const char *json, size_t len,
                const struct err *err);              /* ledger_json_fn, operate_fn */
void await_broker(void *arg, const struct err *err); /* broker_done_fn */
/* Turns the loop until the answer is there (it has its own deadline). false: err says why. The
 * await may be used again. */
MUSTUSE bool await_run(struct loop *loop, struct await *await, struct err *err);
void await_close(struct await *await);
