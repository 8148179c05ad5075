/* operate.h: what an operator does to tasks: cancel, retry, delete: the ledger decides, then Redis
 * hears of it. */
#pragma once
#include "broker/broker.h"
#include "ledger/ledger.h"

enum operation { OPERATE_CANCEL, OPERATE_RETRY, OPERATE_DELETE };
/* Answer: JSON array of {"task_id","status","task_status","message"}, in order. broker may be NULL
 * or down: the keeper makes up for it. actor: who is noted to have done it. */
typedef void operate_fn(void *arg, const char *json, size_t len, const struct err *err);
void operate(struct ledger *ledger, struct broker *broker, enum operation operation,
             const struct ident *ids, size_t count, const char *actor, operate_fn *done, void *arg);
