/* What operators do, and what Redis hears of it. */
#include <jansson.h>

#include "lifecycle/operate.h"
#include "store/lifecycle_fixture.h"

static bool operated;
static json_t *operate_answer;

static int64_t outcomes(enum task_status status)
{
    return stores_count("SELECT count(*) FROM outcomes WHERE status = %d", (int)status);
}

static void on_operated(void *arg, const char *json, size_t len, const struct err *err)
{
    (void)arg;
    if (err) fail_msg("%s", err->text);
    json_decref(operate_answer);
    operate_answer = json_loadb(json, len, 0, NULL);
    operated = true;
}

static void operate_wait(enum operation operation, const struct ident *ids, size_t count)
{
    operated = false;
    operate(at->ledger, at->broker, operation, ids, count, "test", on_operated, NULL);
    UNTIL(&at->loop, operated);
    assert_int_equal(json_array_size(operate_answer), count);
}

static const char *verdict_of(size_t index)
{
    return json_string_value(json_object_get(json_array_get(operate_answer, index), "status"));
}

static void test_a_cancelled_task_leaves_no_hint(void **state)
{
    (void)state;
    struct ident ids[] = { submit_plain(), submit_plain(), ident_v7() };
    UNTIL(&at->loop, stores_waiting("default") == 2);
    operate_wait(OPERATE_CANCEL, ids, 3);
    assert_string_equal(verdict_of(0), "cancelled");
    assert_string_equal(verdict_of(1), "cancelled");
    assert_string_equal(verdict_of(2), "not_found");
    UNTIL(&at->loop, stores_waiting("default") == 0);
    assert_int_equal(outcomes(TASK_REVOKED), 2);
    assert_int_equal(at->cancels, 0);
}

static void test_the_cancel_of_a_running_task_is_announced(void **state)
{
    (void)state;
    struct taker *taker = start_many(1);
    operate_wait(OPERATE_CANCEL, taker->ids, 1);
    assert_string_equal(verdict_of(0), "cancelling");
    UNTIL(&at->loop, at->cancels == 1);
    assert_true(ident_equal(&at->cancelled, &taker->ids[0]));
}

static void test_a_retried_task_is_pushed(void **state)
{
    (void)state;
    struct taker *taker = start_many(1);
    struct finish finish = failure_of(taker, 0, TASK_FAILURE);
    settle_at(0, &finish);
    settle_wait(1);
    operate_wait(OPERATE_RETRY, taker->ids, 1);
    assert_string_equal(verdict_of(0), "retried");
    UNTIL(&at->loop, stores_waiting("default") == 1);
    at->takers[1] = taker_new(&at->loop, at->broker, at->probe, &at->worker, 1);
    UNTIL(&at->loop, at->takers[1]->count == 1);
    assert_int_equal(at->takers[1]->attempts[0], 2); /* attempts go on */
}

/* More than Redis is told at once. */
static void test_many_are_cancelled_and_retried_at_once(void **state)
{
    static struct ident ids[1500];
    (void)state;
    submit_many(1500, ids);
    UNTIL(&at->loop, stores_waiting("default") == 1500);
    operate_wait(OPERATE_CANCEL, ids, 1500);
    UNTIL(&at->loop, stores_waiting("default") == 0);
    operate_wait(OPERATE_RETRY, ids, 1500);
    UNTIL(&at->loop, stores_waiting("default") == 1500);
}

static void test_a_deleted_task_is_gone(void **state)
{
    (void)state;
    struct taker *taker = start_many(2);
    struct finish finish = success_of(taker, 0);
    settle_at(0, &finish);
    settle_wait(1);
    operate_wait(OPERATE_DELETE, taker->ids, 2);
    assert_string_equal(verdict_of(0), "deleted");
    assert_string_equal(verdict_of(1), "refused");
    assert_int_equal(stores_count("SELECT count(*) FROM tasks"), 1);
}

static void test_without_redis_operators_are_served_too(void **state)
{
    (void)state;
    struct ident id = submit_plain();
    test_redis_kill(stores_redis, SIGKILL);
    UNTIL(&at->loop, !broker_is_up(at->broker));
    operate_wait(OPERATE_CANCEL, &id, 1);
    assert_string_equal(verdict_of(0), "cancelled");
    operate_wait(OPERATE_RETRY, &id, 1);
    assert_string_equal(verdict_of(0), "retried");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE_TEST(test_a_cancelled_task_leaves_no_hint),
        LIFE_TEST(test_the_cancel_of_a_running_task_is_announced),
        LIFE_TEST(test_a_retried_task_is_pushed),
        LIFE_TEST(test_many_are_cancelled_and_retried_at_once),
        LIFE_TEST(test_a_deleted_task_is_gone),
        LIFE_TEST(test_without_redis_operators_are_served_too),
    };
    int failed = cmocka_run_group_tests(tests, stores_start, stores_stop);
    json_decref(operate_answer);
    return failed;
}
