/* outcome.h: how a run ended -> what the ledger should hold. One pure function that the worker, the
 * supervisor and the tests share. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "task/retry.h"
#include "task/task.h"

enum run_end {
    END_RETURNED, /* execute returned: SUCCESS */
    END_FAILED,   /* raised, or returned nil, message */
    END_FATAL,    /* ctx.fatal */
    END_RETRY_IN, /* ctx.retry_in: fails, own delay */
    END_SNOOZED,  /* ctx.snooze */
    END_TIMEOUT,  /* the attempt's time ran out */
    END_MEMORY,
    END_REJECTED,   /* parameters no longer fit */
    END_UNSTORABLE, /* a result or parameters that cannot be kept */
    END_CANCELLED,  /* cancel was seen and the run ended by it */
    END_RELEASED    /* given back unspent: drain, worker gone as a bystander */
};

struct run_facts {
    enum run_end end;
    int32_t failures;       /* before this end */
    int32_t max_attempts;   /* retries + 1 */
    int64_t asked_delay_us; /* RETRY_IN, SNOOZED */
    double random01;
    struct retry_policy policy;
};

struct decision {
    enum task_status status; /* SUCCESS FAILURE RETRY PENDING REVOKED */
    bool spends_failure;
    int64_t delay_us;     /* RETRY and PENDING: run_at = Postgres' clock + delay */
    enum error_kind kind; /* of FAILURE, RETRY, REVOKED */
};
struct decision outcome_decide(const struct run_facts *facts);
