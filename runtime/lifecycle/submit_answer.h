/* submit_answer.h: what a submission is answered with, in the words of the contract. */
#pragma once
#include "base/buf.h"
#include "lifecycle/submit.h"

/* {task_id, status, message[, warnings][, dispatch]}. warning may be NULL. */
void submit_answer_json(struct buf *out, const struct submit_answer *answer, const char *warning);
/* false when it was not accepted: err says why. max_waiting: of a queue, for the words. */
MUSTUSE bool submit_answer_is_good(const struct submit_answer *answer, const struct err *failure,
                                   const struct ident *id, int64_t max_waiting, struct err *err);
