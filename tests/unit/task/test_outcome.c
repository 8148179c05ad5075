/* Delays of retries, and what each end of a run means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "task/outcome.h"

#define SECOND INT64_C(1000000)

static const struct retry_policy plain = { 3, BACKOFF_EXPONENTIAL, SECOND, 60 * SECOND, false };

static void delays_grow_as_the_backoff_says_up_to_the_cap(void **state)
{
    (void)state;
    static const struct {
        enum backoff backoff;
        int32_t failures;
        int64_t seconds;
    } rows[] = {
        { BACKOFF_EXPONENTIAL, 1, 1 },  { BACKOFF_EXPONENTIAL, 2, 2 },
        { BACKOFF_EXPONENTIAL, 6, 32 }, { BACKOFF_EXPONENTIAL, 7, 60 },
        { BACKOFF_LINEAR, 1, 1 },       { BACKOFF_LINEAR, 7, 7 },
        { BACKOFF_LINEAR, 61, 60 },     { BACKOFF_FIXED, 1, 1 },
        { BACKOFF_FIXED, 9, 1 },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct retry_policy policy = plain;
        policy.backoff = rows[i].backoff;
        assert_int_equal(retry_delay_us(&policy, rows[i].failures, 0.5), rows[i].seconds * SECOND);
    }
}

static void delays_never_overflow(void **state)
{
    (void)state;
    for (int backoff = BACKOFF_EXPONENTIAL; backoff <= BACKOFF_FIXED; backoff++) {
        struct retry_policy policy = { 3, (enum backoff)backoff, INT64_MAX / 2, INT64_MAX, false };
        assert_true(retry_delay_us(&policy, INT32_MAX, 0) > 0);
        policy.base_us = 0;
        assert_int_equal(retry_delay_us(&policy, INT32_MAX, 0), 0);
        policy.base_us = 100;
        policy.cap_us = 10;
        assert_int_equal(retry_delay_us(&policy, 1, 0), 10);
    }
}

static void jitter_draws_from_zero_to_the_delay(void **state)
{
    (void)state;
    struct retry_policy policy = plain;
    policy.jitter = true;
    assert_int_equal(retry_delay_us(&policy, 3, 0), 0);
    assert_int_equal(retry_delay_us(&policy, 3, 0.5), 2 * SECOND);
    assert_true(retry_delay_us(&policy, 3, 0.999999) < 4 * SECOND);
}

static void every_end_of_a_run_has_its_outcome(void **state)
{
    (void)state;
    static const struct {
        enum run_end end;
        int32_t failures, max_attempts;
        enum task_status status;
        bool spends;
        int64_t delay_us;
        enum error_kind kind;
    } rows[] = {
        { END_RETURNED, 0, 1, TASK_SUCCESS, false, 0, KIND_EXCEPTION },
        { END_FAILED, 0, 2, TASK_RETRY, true, SECOND, KIND_EXCEPTION },
        { END_FAILED, 1, 3, TASK_RETRY, true, 2 * SECOND, KIND_EXCEPTION },
        { END_FAILED, 1, 2, TASK_FAILURE, true, 0, KIND_EXCEPTION },
        { END_FAILED, 0, 1, TASK_FAILURE, true, 0, KIND_EXCEPTION },
        { END_FATAL, 0, 9, TASK_FAILURE, true, 0, KIND_EXCEPTION },
        { END_RETRY_IN, 0, 2, TASK_RETRY, true, 77 * SECOND, KIND_EXCEPTION },
        { END_RETRY_IN, 1, 2, TASK_FAILURE, true, 0, KIND_EXCEPTION },
        { END_SNOOZED, 5, 6, TASK_PENDING, false, 77 * SECOND, KIND_EXCEPTION },
        { END_TIMEOUT, 0, 2, TASK_RETRY, true, SECOND, KIND_TIMEOUT },
        { END_TIMEOUT, 0, 1, TASK_FAILURE, true, 0, KIND_TIMEOUT },
        { END_MEMORY, 0, 2, TASK_RETRY, true, SECOND, KIND_MEMORY },
        { END_MEMORY, 1, 2, TASK_FAILURE, true, 0, KIND_MEMORY },
        { END_REJECTED, 0, 9, TASK_FAILURE, true, 0, KIND_REJECTED },
        { END_UNSTORABLE, 0, 9, TASK_FAILURE, true, 0, KIND_UNSTORABLE },
        { END_CANCELLED, 0, 9, TASK_REVOKED, false, 0, KIND_CANCELLED },
        { END_RELEASED, 0, 1, TASK_PENDING, false, 0, KIND_EXCEPTION },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct run_facts facts = {
            rows[i].end, rows[i].failures, rows[i].max_attempts, 77 * SECOND, 0.5, plain
        };
        struct decision decision = outcome_decide(&facts);
        assert_int_equal(decision.status, rows[i].status);
        assert_int_equal(decision.spends_failure, rows[i].spends);
        assert_int_equal(decision.delay_us, rows[i].delay_us);
        assert_int_equal(decision.kind, rows[i].kind);
        assert_true(task_may_become(TASK_STARTED, decision.status));
    }
}

static void failing_for_ever_ends_after_max_attempts(void **state)
{
    (void)state;
    struct run_facts facts = { .end = END_FAILED, .max_attempts = 4, .policy = plain };
    int runs = 0;
    struct decision decision;
    do {
        decision = outcome_decide(&facts);
        facts.failures += decision.spends_failure;
        runs++;
    } while (decision.status == TASK_RETRY && runs < 100);
    assert_int_equal(runs, 4);
    assert_int_equal(decision.status, TASK_FAILURE);
}

static void a_negative_delay_asked_for_means_at_once(void **state)
{
    (void)state;
    struct run_facts facts = { .end = END_SNOOZED, .max_attempts = 2, .asked_delay_us = -5 };
    assert_int_equal(outcome_decide(&facts).delay_us, 0);
    facts.end = END_RETRY_IN;
    assert_int_equal(outcome_decide(&facts).delay_us, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_grow_as_the_backoff_says_up_to_the_cap),
        cmocka_unit_test(delays_never_overflow),
        cmocka_unit_test(jitter_draws_from_zero_to_the_delay),
        cmocka_unit_test(every_end_of_a_run_has_its_outcome),
        cmocka_unit_test(failing_for_ever_ends_after_max_attempts),
        cmocka_unit_test(a_negative_delay_asked_for_means_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
