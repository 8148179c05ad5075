/* From hints to started tasks: each once, in rank order, whatever happens to the connections. */
#include "store/lifecycle_fixture.h"

static int by_bytes(const void *a, const void *b) { return memcmp(a, b, sizeof(struct ident)); }

static void assert_each_once(const struct ident *ids, size_t count)
{
    struct ident all[ANSWERS_MOST], wanted[ANSWERS_MOST];
    size_t taken = 0;
    for (size_t n = 0; n < COUNT_OF(at->takers); n++) {
        const struct taker *taker = at->takers[n];
        for (size_t i = 0; taker && i < taker->count; i++) all[taken++] = taker->ids[i];
    }
    assert_int_equal(taken, count);
    memcpy(wanted, ids, count * sizeof *ids);
    qsort(all, count, sizeof *all, by_bytes);
    qsort(wanted, count, sizeof *wanted, by_bytes);
    assert_memory_equal(all, wanted, count * sizeof *ids);
}

/* What the ledger holds is what the taker was told. */
static void assert_claims_stand(const struct taker *taker)
{
    for (size_t i = 0; i < taker->count; i++) {
        assert_int_equal(taker->attempts[i], 1);
        assert_string_equal(
            stores_sql("SELECT claim_id FROM active WHERE id = '%s'", id_text(&taker->ids[i])),
            id_text(&taker->claims[i]));
    }
}

static void test_two_claimers_start_each_task_once(void **state)
{
    struct ident ids[500];
    (void)state;
    submit_many(500, ids);
    struct ident second = worker_alive(&at->loop, at->ledger, "second");
    struct taker *one = taker_begin(0, &at->worker, 10), *other = taker_begin(1, &second, 10);
    UNTIL(&at->loop, one->count + other->count >= 500 && quiet(0) && quiet(1));
    assert_each_once(ids, 500);
    assert_true(one->count > 0 && other->count > 0);
    assert_claims_stand(one);
    assert_claims_stand(other);
    assert_string_equal(stores_redis_do("HLEN @:claimed"), "0");
    assert_int_equal(one->fenced + other->fenced, 0);
    UNTIL(&at->loop, one->idle > 0);
}

static void test_no_more_is_claimed_than_there_are_slots(void **state)
{
    struct ident ids[20];
    (void)state;
    submit_many(20, ids);
    struct taker *taker = taker_begin(0, &at->worker, 7);
    taker->keeps = true;
    UNTIL(&at->loop, taker->count == 7 && quiet(0));
    turn_for(&at->loop, 1200000); /* also not by the poll */
    assert_int_equal(taker->count, 7);
    assert_int_equal(stores_waiting("default"), 13);
}

/* Queues in their order, priority in a queue, then first come, first served. */
static void test_one_slot_starts_in_rank_order(void **state)
{
    static const struct {
        const char *queue;
        int32_t priority;
        size_t rank;
    } cases[] = { { "low_priority", 2, 8 },  { "default", 5, 3 }, { "default", 5, 4 },
                  { "low_priority", 10, 7 }, { "default", 4, 6 }, { "high_priority", 6, 1 },
                  { "default", 5, 5 },       { "default", 9, 2 }, { "high_priority", 9, 0 } };
    struct ident wanted[COUNT_OF(cases)];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct submission_box *box = box_of("greet", "{}");
        box->submission.queue = cases[i].queue;
        box->submission.priority = cases[i].priority;
        wanted[cases[i].rank] = submit_one(box);
    }
    struct taker *taker = taker_begin(0, &at->worker, 1);
    UNTIL(&at->loop, taker->count == COUNT_OF(cases));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (!ident_equal(&taker->ids[i], &wanted[i])) fail_msg("number %zu is another one", i);
    }
}

static void push_hint(struct ident id, int32_t starts)
{
    struct hint hint = { id, starts, 5, clock_wall_us(), "default" };
    broker_push(at->broker, &hint, 1, NULL, NULL);
}

static void test_stale_hints_are_dropped(void **state)
{
    (void)state;
    struct ident cancelled = submit_plain(), later = submit_plain();
    stores_redis_do("DEL @:q:default");
    stores_sql("SELECT cancel_tasks('{%s}')", id_text(&cancelled));
    push_hint(ident_v7(), 0); /* unknown */
    push_hint(cancelled, 0);  /* over */
    push_hint(later, 3);      /* of a start that never was */
    UNTIL(&at->loop, stores_waiting("default") == 3);
    struct taker *taker = taker_begin(0, &at->worker, 10);
    UNTIL(&at->loop, stores_waiting("default") == 0 && quiet(0));
    assert_string_equal(stores_redis_do("HLEN @:claimed"), "0");
    assert_int_equal(taker->count, 0);
}

static void test_a_task_that_is_not_due_waits(void **state)
{
    (void)state;
    struct submission_box *box = box_of("greet", "{}");
    box->submission.delay_us = 700000;
    int64_t before_us = clock_wall_us();
    struct ident id = submit_one(box);
    push_hint(id, 0); /* too early */
    struct taker *taker = taker_begin(0, &at->worker, 10);
    UNTIL(&at->loop, taker->count == 1);
    assert_true(taker->at_us[0] >= before_us + 700000);
    assert_true(taker->at_us[0] < before_us + 4000000);
}

static void on_plain(void *arg, int64_t count, bool unknown, const struct err *err)
{
    (void)count, (void)unknown;
    assert_null(err);
    *(bool *)arg = true;
}

static void pause_queue(bool paused)
{
    bool done = false;
    ledger_pause(at->ledger, "default", paused, "test", on_plain, &done);
    UNTIL(&at->loop, done);
}

/* The ledger's word counts, also where Redis has not heard of it. */
static void test_a_paused_queue_starts_nothing(void **state)
{
    (void)state;
    submit_plain();
    pause_queue(true);
    struct taker *taker = taker_begin(0, &at->worker, 10);
    UNTIL(&at->loop, strcmp(stores_redis_do("HLEN @:claimed"), "1") == 0 && quiet(0));
    turn_for(&at->loop, 1500000);
    assert_int_equal(taker->count, 0);
    pause_queue(false);
    UNTIL(&at->loop, taker->count == 1);
}

static void test_what_a_worker_does_not_carry_is_put_back(void **state)
{
    (void)state;
    struct ident id = submit_plain(), second = worker_alive(&at->loop, at->ledger, "second");
    struct taker *other = taker_begin(0, &at->worker, 10);
    const struct carried others[] = { { "other", "v1" } };
    claimer_set_carried(other->claimer, others, 1);
    UNTIL(&at->loop, other->idle > 0);
    assert_int_equal(stores_waiting("default"), 1);
    struct taker *taker = taker_begin(1, &second, 10);
    UNTIL(&at->loop, taker->count == 1);
    assert_true(ident_equal(&taker->ids[0], &id));
    assert_int_equal(other->count, 0);
}

static void test_workers_of_other_tasks_do_not_slow_it_down(void **state)
{
    (void)state;
    struct ident second = worker_alive(&at->loop, at->ledger, "second");
    struct taker *other = taker_begin(0, &at->worker, 1000); /* would take all of them */
    const struct carried others[] = { { "other", "v1" } };
    claimer_set_carried(other->claimer, others, 1);
    submit_many(40, NULL);
    int64_t before_us = clock_mono_us();
    struct taker *taker = taker_begin(1, &second, 1);
    UNTIL(&at->loop, taker->count == 40);
    assert_int_equal(other->count, 0);
    assert_true(clock_mono_us() - before_us < 1500000);
    claimer_set_carried(other->claimer, (const struct carried[]){ { "greet", "v1" } }, 1);
    submit_many(40, NULL);
    UNTIL(&at->loop, other->count > 0 && taker->count + other->count == 80);
}

/* The reload comes while the start is under way that is answered by what was carried before. */
static void test_what_a_reload_brings_is_started_at_once(void **state)
{
    (void)state;
    struct ident id = submit_plain();
    stores_redis_do("DEL @:q:default");
    struct taker *taker = taker_begin(0, &at->worker, 10);
    claimer_set_carried(taker->claimer, (const struct carried[]){ { "other", "v1" } }, 1);
    UNTIL(&at->loop, taker->idle > 0);
    stores_sql("BEGIN");
    stores_sql("LOCK TABLE active IN ACCESS EXCLUSIVE MODE");
    push_hint(id, 0);
    UNTIL(&at->loop, stores_count("SELECT count(*) FROM pg_locks WHERE NOT granted") == 1);
    claimer_set_carried(taker->claimer, (const struct carried[]){ { "greet", "v1" } }, 1);
    stores_sql("COMMIT");
    int64_t before_us = clock_mono_us();
    UNTIL(&at->loop, taker->count == 1);
    assert_true(clock_mono_us() - before_us < 2000000);
}

/* The connection dies while the starts wait for a lock: nothing was written. */
static void test_starts_that_were_cut_off_are_repeated(void **state)
{
    struct ident ids[60];
    (void)state;
    submit_many(60, ids);
    stores_sql("BEGIN");
    stores_sql("LOCK TABLE active IN ACCESS EXCLUSIVE MODE");
    struct taker *taker = taker_begin(0, &at->worker, 100);
    UNTIL(&at->loop, stores_count("SELECT count(*) FROM pg_locks WHERE NOT granted") == 1);
    stores_end_backends("tested");
    UNTIL(&at->loop, !ledger_is_up(at->ledger));
    stores_sql("COMMIT");
    UNTIL(&at->loop, taker->count >= 60 && quiet(0));
    assert_each_once(ids, 60);
    assert_claims_stand(taker);
}

/* The starts committed and nobody was told: the same claims find them. */
static void test_starts_of_unknown_outcome_are_resolved(void **state)
{
    struct ident ids[60];
    (void)state;
    submit_many(60, ids);
    stores_commits_hang(&at->loop, at->probe);
    struct taker *taker = taker_begin(0, &at->worker, 100);
    UNTIL(&at->loop, stores_hanging("tested") == 2);
    stores_commits_go_on();
    stores_end_backends("tested");
    UNTIL(&at->loop, taker->count >= 60 && quiet(0));
    assert_each_once(ids, 60);
    assert_claims_stand(taker);
    assert_int_equal(stores_count("SELECT count(*) FROM active WHERE status = 1 AND starts = 1"),
                     60);
}

static void test_starts_outlive_a_restart_of_postgres(void **state)
{
    struct ident ids[60];
    (void)state;
    submit_many(60, ids);
    stores_sql("BEGIN");
    stores_sql("LOCK TABLE active IN ACCESS EXCLUSIVE MODE");
    struct taker *taker = taker_begin(0, &at->worker, 100);
    UNTIL(&at->loop, stores_count("SELECT count(*) FROM pg_locks WHERE NOT granted") == 1);
    test_postgres_restart(stores_postgres);
    UNTIL(&at->loop, taker->count >= 60 && quiet(0));
    assert_each_once(ids, 60);
    assert_claims_stand(taker);
}

static void test_a_dead_owner_is_told_so(void **state)
{
    (void)state;
    submit_plain();
    stores_sql("UPDATE workers SET state = 'dead', ended_at = now()");
    struct taker *taker = taker_begin(0, &at->worker, 10);
    UNTIL(&at->loop, taker->fenced == 1);
    assert_int_equal(taker->count, 0);
    assert_int_equal(stores_count("SELECT count(*) FROM active WHERE status = 0"), 1);
}

static void test_a_lost_epoch_is_reported(void **state)
{
    (void)state;
    stores_redis_do("SET @:epoch one");
    struct taker *taker = taker_begin(0, &at->worker, 10);
    UNTIL(&at->loop, strcmp(taker->epoch, "one") == 0);
    stores_redis_do("FLUSHALL");
    UNTIL(&at->loop, taker->epoch[0] == '\0');
}

/* Who was busy for long claimed nothing for long, and that is no fault of the connection: its first
 * claim has its five seconds, however slow Redis is at that moment. */
static void test_a_first_claim_after_a_busy_time_is_not_overdue(void **state)
{
    (void)state;
    struct taker *taker = taker_begin(0, &at->worker, 0);
    turn_for(&at->loop, 5500000);
    test_redis_kill(stores_redis, SIGSTOP);
    taker->slots = 1;
    claimer_wake(taker->claimer);
    turn_for(&at->loop, 1500000); /* more than one poll */
    assert_true(broker_is_up(at->broker));
    test_redis_kill(stores_redis, SIGCONT);
    UNTIL(&at->loop, taker->idle > 0);
    assert_int_equal(taker->stuck, 0);
}

/* Redis answers PING and takes connections, but no claim: the commonest way in which a worker
 * stands still although all looks well. */
static void test_claims_that_are_never_answered_make_it_stuck(void **state)
{
    (void)state;
    struct taker *taker = taker_begin(0, &at->worker, 1);
    UNTIL(&at->loop, taker->idle > 0);
    stores_redis_do("CLIENT PAUSE 60000 WRITE");
    UNTIL(&at->loop, taker->stuck > 0);
    stores_redis_do("CLIENT UNPAUSE");
    int idle = taker->idle;
    UNTIL(&at->loop, taker->idle > idle);
}

/* Redis looked before the hint came, and the news of it was here before that answer: the next poll
 * would be a second too late. */
static void test_a_wake_during_a_claim_is_not_lost(void **state)
{
    (void)state;
    struct ident id = submit_plain();
    stores_redis_do("DEL @:q:default");
    struct taker *taker = taker_begin(0, &at->worker, 10);
    UNTIL(&at->loop, taker->idle > 0);
    at->takers[0] = NULL; /* deaf to the channel */
    claimer_wake(taker->claimer);
    while (claimer_is_quiet(taker->claimer)) loop_turn(&at->loop, false);
    int64_t before_us = clock_mono_us();
    push_hint(id, 0);
    claimer_wake(taker->claimer);
    UNTIL(&at->loop, taker->count == 1 || clock_mono_us() - before_us > 500000);
    at->takers[0] = taker;
    assert_int_equal(taker->count, 1);
}

static void test_what_was_claimed_still_arrives_after_a_stop(void **state)
{
    struct ident ids[30];
    (void)state;
    submit_many(30, ids);
    struct taker *taker = taker_begin(0, &at->worker, 30);
    UNTIL(&at->loop, !quiet(0));
    claimer_stop(taker->claimer);
    UNTIL(&at->loop, quiet(0));
    assert_int_equal(taker->count + (size_t)stores_waiting("default"), 30);
    assert_int_equal(stores_count("SELECT count(*) FROM active WHERE status = 1"), taker->count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE_TEST(test_two_claimers_start_each_task_once),
        LIFE_TEST(test_no_more_is_claimed_than_there_are_slots),
        LIFE_TEST(test_one_slot_starts_in_rank_order),
        LIFE_TEST(test_stale_hints_are_dropped),
        LIFE_TEST(test_a_task_that_is_not_due_waits),
        LIFE_TEST(test_a_paused_queue_starts_nothing),
        LIFE_TEST(test_what_a_worker_does_not_carry_is_put_back),
        LIFE_TEST(test_workers_of_other_tasks_do_not_slow_it_down),
        LIFE_TEST(test_what_a_reload_brings_is_started_at_once),
        LIFE_TEST(test_starts_that_were_cut_off_are_repeated),
        LIFE_TEST(test_starts_of_unknown_outcome_are_resolved),
        LIFE_TEST(test_starts_outlive_a_restart_of_postgres),
        LIFE_TEST(test_a_dead_owner_is_told_so),
        LIFE_TEST(test_a_lost_epoch_is_reported),
        LIFE_TEST(test_a_first_claim_after_a_busy_time_is_not_overdue),
        LIFE_TEST(test_claims_that_are_never_answered_make_it_stuck),
        LIFE_TEST(test_a_wake_during_a_claim_is_not_lost),
        LIFE_TEST(test_what_was_claimed_still_arrives_after_a_stop),
    };
    return cmocka_run_group_tests(tests, stores_start, stores_stop);
}
