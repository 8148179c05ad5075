/* announce.h: event lines for watchers, gathered within a turn into one publish.
 * {"id","event":"status","status","attempt","at"},
 * {"id","event":"progress","percentage","metadata","at"},
 * {"id","event":"log","attempt","level","text","at"}. Lost ones cost time, never a task.
 * A status and a log line are announced once the ledger has them: who reads there finds them. */
#pragma once
#include "base/ident.h"
#include "broker/broker.h"
#include "loop/loop.h"
#include "task/task.h"

struct announcer; /* opaque */
struct announcer *announcer_new(struct loop *loop, struct broker *broker);
void announcer_free(struct announcer *announcer);
void announce_status(struct announcer *announcer, const struct ident *id, enum task_status status,
                     int32_t attempt);
void announce_progress(struct announcer *announcer, const struct ident *id, double percent,
                       const char *metadata_json);
/* at_us: as the ledger has it. */
void announce_log(struct announcer *announcer, const struct ident *id, int32_t attempt,
                  const char *level, const char *text, size_t len, int64_t at_us);
