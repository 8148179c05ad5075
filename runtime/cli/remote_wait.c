/* remote_wait.c: see remote_wait.h. */
#include "cli/remote_wait.h"

void remote_wait_done(void *arg, const char *json, size_t len, bool is_unknown,
                      const struct err *err)
{
    struct remote_wait *wait = arg;
    buf_clear(&wait->json);
    buf_add(&wait->json, json, len);
    wait->is_unknown = is_unknown;
    if (err) wait->err = *err;
    wait->is_done = true;
}

bool remote_wait_run(struct loop *loop, struct remote_wait *wait, struct err *err)
{
    while (!wait->is_done) loop_turn(loop, true);
    if (wait->err.code == ERR_NONE) return true;
    *err = wait->err;
    return false;
}

void remote_wait_close(struct remote_wait *wait) { buf_close(&wait->json); }
