/* The nouns: names, statuses and the choice of a queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "task/task.h"

static void a_status_is_read_back_from_its_text(void **state)
{
    (void)state;
    for (int i = TASK_PENDING; i <= TASK_REVOKED; i++) {
        enum task_status status;
        assert_true(task_status_parse(task_status_text((enum task_status)i), &status));
        assert_int_equal(status, i);
    }
    enum task_status status;
    assert_false(task_status_parse("pending", &status));
    assert_false(task_status_parse("", &status));
    assert_string_equal(task_status_text(TASK_REVOKED), "REVOKED");
}

/* Rows are from, columns to, in the order PENDING STARTED RETRY SUCCESS FAILURE REVOKED. */
static void only_the_arrows_of_the_diagram_exist(void **state)
{
    (void)state;
    static const char *const arrows[] = {
        ".x..xx", "x.xxxx", ".x..xx", "......", "x.....", "x....."
    };
    for (int from = 0; from < 6; from++) {
        for (int to = 0; to < 6; to++) {
            bool may = task_may_become((enum task_status)from, (enum task_status)to);
            assert_int_equal(may, arrows[from][to] == 'x');
        }
        bool final = from >= TASK_SUCCESS;
        assert_int_equal(task_status_is_final((enum task_status)from), final);
    }
}

static void names_of_tasks_follow_the_contract(void **state)
{
    (void)state;
    static const char *const good[] = { "a", "_x", "9lives", "grade.python-3_11", "A" };
    static const char *const bad[] = { "", ".a", "-a", "a b", "a/b", "\xc3\xa4", "a\n" };
    for (size_t i = 0; i < COUNT_OF(good); i++) assert_true(task_name_is_valid(good[i]));
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_false(task_name_is_valid(bad[i]));
    assert_false(task_name_is_valid(NULL));
    char name[TASK_NAME_MAX + 2];
    memset(name, 'a', sizeof name);
    name[TASK_NAME_MAX + 1] = '\0';
    assert_false(task_name_is_valid(name));
    name[TASK_NAME_MAX] = '\0';
    assert_true(task_name_is_valid(name));
}

static void names_of_queues_are_lower_case(void **state)
{
    (void)state;
    assert_true(queue_name_is_valid("high_priority"));
    assert_true(queue_name_is_valid("-.0"));
    assert_false(queue_name_is_valid("High"));
    assert_false(queue_name_is_valid(""));
    assert_false(queue_name_is_valid(NULL));
    char name[QUEUE_NAME_MAX + 2];
    memset(name, 'q', sizeof name);
    name[QUEUE_NAME_MAX + 1] = '\0';
    assert_false(queue_name_is_valid(name));
    assert_true(queue_name_is_valid(name + 1));
}

static void a_queue_is_that_submitted_else_defined_else_by_priority(void **state)
{
    (void)state;
    assert_string_equal(queue_choose("a", "b", 9), "a");
    assert_string_equal(queue_choose("", "b", 9), "b");
    assert_string_equal(queue_choose(NULL, NULL, 6), "high_priority");
    assert_string_equal(queue_choose(NULL, "", 5), "default");
    assert_string_equal(queue_choose(NULL, NULL, 3), "default");
    assert_string_equal(queue_choose(NULL, NULL, 2), "low_priority");
}

static void kinds_of_errors_have_the_words_of_the_contract(void **state)
{
    (void)state;
    assert_string_equal(error_kind_text(KIND_EXCEPTION), "exception");
    assert_string_equal(error_kind_text(KIND_WORKER_LOST), "worker_lost");
    assert_string_equal(error_kind_text(KIND_UNKNOWN_TASK), "unknown_task");
    assert_string_equal(error_kind_text(KIND_EXPIRED), "expired");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_status_is_read_back_from_its_text),
        cmocka_unit_test(only_the_arrows_of_the_diagram_exist),
        cmocka_unit_test(names_of_tasks_follow_the_contract),
        cmocka_unit_test(names_of_queues_are_lower_case),
        cmocka_unit_test(a_queue_is_that_submitted_else_defined_else_by_priority),
        cmocka_unit_test(kinds_of_errors_have_the_words_of_the_contract),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
