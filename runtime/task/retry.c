/* retry.c: the delay before the next attempt. Every step saturates at the cap, so no count of
 * failures and no base can overflow. */
#include "task/retry.h"

static int64_t delay_exponential(const struct retry_policy *policy, int32_t failures);
static int64_t delay_linear(const struct retry_policy *policy, int32_t failures);

int64_t retry_delay_us(const struct retry_policy *policy, int32_t failures, double random01)
{
    int64_t delay = policy->base_us;
    switch (policy->backoff) {
    case BACKOFF_EXPONENTIAL: delay = delay_exponential(policy, failures); break;
    case BACKOFF_LINEAR: delay = delay_linear(policy, failures); break;
    case BACKOFF_FIXED: break;
    }
    if (delay > policy->cap_us) delay = policy->cap_us;
    return policy->jitter ? (int64_t)((double)delay * random01) : delay;
}

static int64_t delay_exponential(const struct retry_policy *policy, int32_t failures)
{
    int64_t delay = policy->base_us;
    for (int32_t n = 1; n < failures && delay > 0; n++) {
        if (delay > policy->cap_us / 2) return policy->cap_us;
        delay *= 2;
    }
    return delay;
}

static int64_t delay_linear(const struct retry_policy *policy, int32_t failures)
{
    int64_t count = failures > 1 ? failures : 1;
    if (policy->base_us > policy->cap_us / count) return policy->cap_us;
    return policy->base_us * count;
}
