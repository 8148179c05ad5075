/* outcome.c: the one place that decides what the end of a run means. A cancellation that the row
 * holds still wins over what is decided here: the ledger's statement sees to that. */
#include "task/outcome.h"

static struct decision decide_failed(const struct run_facts *facts, enum error_kind kind);
static struct decision decide_final(enum error_kind kind);
static struct decision decide_waiting(int64_t delay_us);
static int64_t next_delay_us(const struct run_facts *facts);

struct decision outcome_decide(const struct run_facts *facts)
{
    switch (facts->end) {
    case END_RETURNED: return (struct decision){ .status = TASK_SUCCESS };
    case END_FAILED:
    case END_RETRY_IN: return decide_failed(facts, KIND_EXCEPTION);
    case END_TIMEOUT: return decide_failed(facts, KIND_TIMEOUT);
    case END_MEMORY: return decide_failed(facts, KIND_MEMORY);
    case END_FATAL: return decide_final(KIND_EXCEPTION);
    case END_REJECTED: return decide_final(KIND_REJECTED);
    case END_UNSTORABLE: return decide_final(KIND_UNSTORABLE);
    case END_SNOOZED: return decide_waiting(facts->asked_delay_us);
    case END_RELEASED: return decide_waiting(0);
    case END_CANCELLED: break;
    }
    return (struct decision){ .status = TASK_REVOKED, .kind = KIND_CANCELLED };
}

static struct decision decide_failed(const struct run_facts *facts, enum error_kind kind)
{
    if (facts->failures >= facts->max_attempts - 1) return decide_final(kind);
    return (struct decision){
        .status = TASK_RETRY, .spends_failure = true, .delay_us = next_delay_us(facts), .kind = kind
    };
}

static int64_t next_delay_us(const struct run_facts *facts)
{
    if (facts->end != END_RETRY_IN) {
        return retry_delay_us(&facts->policy, facts->failures + 1, facts->random01);
    }
    return facts->asked_delay_us > 0 ? facts->asked_delay_us : 0;
}

static struct decision decide_final(enum error_kind kind)
{
    return (struct decision){ .status = TASK_FAILURE, .spends_failure = true, .kind = kind };
}

static struct decision decide_waiting(int64_t delay_us)
{
    return (struct decision){ .status = TASK_PENDING, .delay_us = delay_us > 0 ? delay_us : 0 };
}
