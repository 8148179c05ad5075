/* From a submission to the ledger and a hint; with stores that go away, refuse, or do what they
 * were told and never say so. */
#include "store/lifecycle_fixture.h"

static void assert_all_new(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(at->codes[i], ERR_NONE);
        assert_int_equal(at->answers[i].verdict, INSERT_NEW);
    }
}

static void test_a_thousand_submits_of_one_turn_share_few_statements(void **state)
{
    struct ident ids[1000];
    (void)state;
    submit_many(1000, ids);
    assert_all_new(1000);
    for (size_t i = 0; i < 1000; i++) {
        assert_true(ident_equal(&at->answers[i].id, &ids[i]));
        assert_false(at->answers[i].deferred);
    }
    assert_int_equal(stores_count("SELECT count(*) FROM active"), 1000);
    assert_true(stores_count("SELECT count(DISTINCT xmin::text) FROM active") <= 3);
    UNTIL(&at->loop, stores_waiting("default") == 1000);
}

static void test_large_parameters_go_in_small_batches(void **state)
{
    (void)state;
    size_t len = 1 << 20;
    char *large = xmalloc(len + 1);
    memset(large, 'x', len);
    memcpy(large, "{\"n\":\"", 6);
    memcpy(large + len - 2, "\"}", 3);
    at->answered = 0;
    for (size_t i = 0; i < 20; i++) submit_at(i, box_of("greet", large));
    free(large);
    submit_wait(20);
    assert_all_new(20);
    assert_true(stores_count("SELECT max(n) FROM (SELECT count(*) AS n FROM tasks"
                             " GROUP BY xmin::text) c") <= 8);
}

static void test_a_repeated_id_is_a_duplicate_or_a_conflict(void **state)
{
    (void)state;
    struct ident id = submit_plain();
    struct submission_box *same = box_of("greet", "{}"), *other = box_of("greet", "{\"n\":1}");
    same->submission.id = other->submission.id = id;
    at->answered = 0;
    submit_at(0, same);
    submit_at(1, other);
    submit_wait(2);
    assert_int_equal(at->answers[0].verdict, INSERT_DUPLICATE);
    assert_int_equal(at->answers[1].verdict, INSERT_CONFLICT);
    assert_int_equal(stores_count("SELECT count(*) FROM tasks"), 1);
}

static void test_a_unique_key_answers_the_first_id(void **state)
{
    (void)state;
    at->answered = 0;
    for (size_t i = 0; i < 3; i++) {
        struct submission_box *box = box_of("greet", "{}");
        box->texts[2] = xstrdup("user 7");
        box->submission.unique_key = box->texts[2];
        submit_at(i, box);
    }
    submit_wait(3);
    assert_int_equal(at->answers[0].verdict, INSERT_NEW);
    assert_int_equal(at->answers[1].verdict, INSERT_DUPLICATE);
    assert_true(ident_equal(&at->answers[1].id, &at->answers[0].id));
    assert_true(ident_equal(&at->answers[2].id, &at->answers[0].id));
    UNTIL(&at->loop, stores_waiting("default") == 1);
}

static void test_a_delayed_task_wakes_the_keeper(void **state)
{
    (void)state;
    struct submission_box *box = box_of("greet", "{}");
    box->submission.delay_us = 60 * SECOND_US;
    int64_t before_us = clock_wall_us();
    submit_one(box);
    UNTIL(&at->loop, at->keeper_wakes > 0);
    int64_t ahead_us = at->woken_for_us - before_us - 60 * SECOND_US;
    assert_true(ahead_us > -SECOND_US && ahead_us < 5 * SECOND_US);
    assert_int_equal(stores_waiting("default"), 0);
}

static void keeper_begin(void)
{
    struct keeper_options options = { .me = ident_random(),
                                      .lease_us = 15 * SECOND_US,
                                      .unknown_grace_us = 600 * SECOND_US,
                                      .max_waiting = 1000000,
                                      .result_ttl_us = -1 };
    at->keeper = keeper_new(&at->loop, at->probe, at->probe, at->broker, &options);
}

static void test_without_redis_a_submit_is_deferred_and_pushed_later(void **state)
{
    (void)state;
    test_redis_kill(stores_redis, SIGKILL);
    UNTIL(&at->loop, !broker_is_up(at->broker));
    submit_plain();
    assert_true(at->answers[0].deferred);
    keeper_begin();
    UNTIL(&at->loop, keeper_leads(at->keeper));
    test_redis_restart(stores_redis);
    UNTIL(&at->loop, stores_waiting("default") == 1);
}

/* Postgres refuses the text of one: the others are accepted, it alone is not. */
static void test_one_poisoned_submission_is_refused_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < 200; i++) {
        submit_at(i, box_of("greet", i == 77 ? "{\"text\":\"a\\u0000b\"}" : "{}"));
    }
    submit_wait(200);
    assert_int_equal(at->codes[77], ERR_DATA);
    at->codes[77] = ERR_NONE;
    at->answers[77].verdict = INSERT_NEW;
    assert_all_new(200);
    assert_int_equal(stores_count("SELECT count(*) FROM active"), 199);
    UNTIL(&at->loop, stores_waiting("default") == 199);
}

/* The poison lies in a duplicate: its neighbours were committed before it is looked at. */
static void test_a_poisoned_duplicate_leaves_its_neighbours_new(void **state)
{
    (void)state;
    struct ident id = submit_plain();
    at->answered = 0;
    for (size_t i = 0; i < 20; i++) {
        struct submission_box *box = box_of("greet", i == 7 ? "{\"text\":\"a\\u0000b\"}" : "{}");
        if (i == 7) box->submission.id = id;
        submit_at(i, box);
    }
    submit_wait(20);
    assert_int_equal(at->codes[7], ERR_DATA);
    at->codes[7] = ERR_NONE;
    at->answers[7].verdict = INSERT_NEW;
    assert_all_new(20);
}

/* It committed, the answer is lost with the connection: repeated, it is still this one's own. */
static void test_a_submit_of_unknown_outcome_is_repeated(void **state)
{
    (void)state;
    stores_commits_hang(&at->loop, at->probe);
    for (size_t i = 0; i < 10; i++) submit_at(i, box_of("greet", "{}"));
    UNTIL(&at->loop, stores_hanging("tested") == 2);
    stores_commits_go_on();
    stores_end_backends("tested");
    submit_wait(10);
    assert_all_new(10);
    assert_int_equal(stores_count("SELECT count(*) FROM active"), 10);
}

static void test_without_postgres_a_submit_fails_in_words(void **state)
{
    (void)state;
    test_postgres_kill(stores_postgres, SIGQUIT);
    submit_at(0, box_of("greet", "{}"));
    submit_wait(1);
    assert_int_equal(at->codes[0], ERR_STORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE_TEST(test_a_thousand_submits_of_one_turn_share_few_statements),
        LIFE_TEST(test_large_parameters_go_in_small_batches),
        LIFE_TEST(test_a_repeated_id_is_a_duplicate_or_a_conflict),
        LIFE_TEST(test_a_unique_key_answers_the_first_id),
        LIFE_TEST(test_a_delayed_task_wakes_the_keeper),
        LIFE_TEST(test_without_redis_a_submit_is_deferred_and_pushed_later),
        LIFE_TEST(test_one_poisoned_submission_is_refused_alone),
        LIFE_TEST(test_a_poisoned_duplicate_leaves_its_neighbours_new),
        LIFE_TEST(test_a_submit_of_unknown_outcome_is_repeated),
        LIFE_TEST(test_without_postgres_a_submit_fails_in_words),
    };
    return cmocka_run_group_tests(tests, stores_start, stores_stop);
}
