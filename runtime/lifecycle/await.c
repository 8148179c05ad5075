/* await.c: see await.h. */
#include "lifecycle/await.h"

static void finish(struct await *await, const struct err *err)
{
    await->done = true;
    if (err) await->err = *err;
}

void await_done(void *arg, int64_t count, bool unknown, const struct err *err)
{
    struct await *await = arg;
    await->count = count;
    await->unknown = unknown;
    finish(await, err);
}

void await_json(void *arg, const char *json, size_t len, const struct err *err)
{
    struct await *await = arg;
    buf_clear(&await->json);
    if (!err) buf_add(&await->json, json, len);
    finish(await, err);
}

void await_broker(void *arg, const struct err *err) { finish(arg, err); }

bool await_run(struct loop *loop, struct await *await, struct err *err)
{
    while (!await->done) loop_turn(loop, true);
    await->done = false;
    if (await->err.code == ERR_NONE) return true;
    if (err) *err = await->err;
    err_clear(&await->err);
    return false;
}

void await_close(struct await *await) { buf_close(&await->json); }
