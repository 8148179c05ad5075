/* retry.h: when a failed attempt runs again. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum backoff { BACKOFF_EXPONENTIAL, BACKOFF_LINEAR, BACKOFF_FIXED };
struct retry_policy {
    int32_t max; /* retries; attempts that may fail = max + 1 */
    enum backoff backoff;
    int64_t base_us; /* default 1 s */
    int64_t cap_us;  /* default 60 s */
    bool jitter;     /* draw uniformly from 0..delay */
};
#define RETRY_NONE ((struct retry_policy){ 0, BACKOFF_EXPONENTIAL, 1000000, 60000000, true })
/* failures: how many were spent, this one included (>= 1). random01 in [0,1). Delay in
 * microseconds: base*2^(n-1), base*n or base, at most cap. */
int64_t retry_delay_us(const struct retry_policy *policy, int32_t failures, double random01);
