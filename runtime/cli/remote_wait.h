/* remote_wait.h: for commands that read downwards: one remote_ask, one answer, as lifecycle/await.h
 * for the ledger. Pass &wait as arg and remote_wait_done as done, then remote_wait_run. */
#pragma once
#include "cli/remote.h"

struct remote_wait {
    bool is_done, is_unknown;
    struct err err;
    struct buf json; /* of a refusal, too; closed by remote_wait_close */
};
void remote_wait_done(void *arg, const char *json, size_t len, bool is_unknown,
                      const struct err *err);
MUSTUSE bool remote_wait_run(struct loop *loop, struct remote_wait *wait, struct err *err);
void remote_wait_close(struct remote_wait *wait);
