/* The journey of a task through both stores: submit, claim, settle, and what operators do; with
 * stores that go away, refuse, or do what they were told and never say so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "keeper/keeper.h"
#include "lifecycle/operate.h"
#include "lifecycle/settle.h"
#include "lifecycle/submit.h"
#include "support/stores_fixture.h"

#define ANSWERS_MOST 2000

struct fixture {
    struct loop loop;
    struct broker *broker;
    struct ledger *ledger, *probe; /* the probe is what hangs when commits are made to */
    struct submitter *submitter;
    struct settler *settler;
    struct keeper *keeper;
    struct taker *takers[2];
    struct ident worker;

    size_t answered; /* submits; in their order below */
    struct submit_answer answers[ANSWERS_MOST];
    enum err_code codes[ANSWERS_MOST];

    size_t settled;
    struct finished finished[ANSWERS_MOST];

    bool operated;
    json_t *operate_answer;

    int cancels, keeper_wakes, events; /* heard on the channels */
    struct ident cancelled;
    int64_t woken_for_us;
    char event[400];
};
static struct fixture *at;

static void hear_cancel(void *arg, const struct ident *id)
{
    (void)arg;
    at->cancels++;
    at->cancelled = *id;
}

static void hear_keeper(void *arg, int64_t run_at_us)
{
    (void)arg;
    at->keeper_wakes++;
    at->woken_for_us = run_at_us;
}

static void hear_event(void *arg, const char *line, size_t len)
{
    (void)arg;
    at->events++;
    snprintf(at->event, sizeof at->event, "%.*s", (int)len, line);
}

static void hear_wake(void *arg, const char *queue)
{
    (void)arg, (void)queue;
    for (size_t i = 0; i < COUNT_OF(at->takers); i++)
        if (at->takers[i]) claimer_wake(at->takers[i]->claimer);
}

static int set_up(void **state)
{
    const struct broker_hooks hooks = {
        .wake = hear_wake, .cancel = hear_cancel, .keeper = hear_keeper, .event = hear_event
    };
    (void)state;
    stores_fresh();
    at = xcalloc(1, sizeof *at);
    loop_init(&at->loop);
    at->broker = stores_broker(&at->loop, &hooks);
    at->ledger = stores_ledger(&at->loop);
    at->probe = stores_ledger(&at->loop);
    broker_listen(at->broker, BROKER_WAKE | BROKER_CANCEL | BROKER_KEEPER | BROKER_EVENTS);
    at->submitter = submitter_new(&at->loop, at->ledger, at->broker);
    at->worker = worker_alive(&at->loop, at->ledger, "first");
    at->settler = settler_new(&at->loop, at->broker, at->ledger, &at->worker);
    UNTIL(&at->loop, broker_is_up(at->broker) && at->keeper_wakes == 1); /* subscribed */
    at->keeper_wakes = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    keeper_stop(at->keeper);
    ledger_free(at->ledger);
    ledger_free(at->probe);
    broker_free(at->broker);
    for (size_t i = 0; i < COUNT_OF(at->takers); i++)
        if (at->takers[i]) taker_free(at->takers[i]);
    submitter_free(at->submitter);
    settler_free(at->settler);
    keeper_free(at->keeper);
    loop_close(&at->loop);
    json_decref(at->operate_answer);
    free(at);
    return 0;
}

/* ---- submit ---- */

static void on_submitted(void *arg, const struct submit_answer *answer, const struct err *err)
{
    size_t place = (size_t)(uintptr_t)arg;
    at->answered++;
    assert_int_equal(at->codes[place], ERR_INTERNAL); /* once each */
    at->codes[place] = err ? err->code : ERR_NONE;
    if (answer) at->answers[place] = *answer;
}

static void submit_at(size_t place, struct submission_box *box)
{
    at->codes[place] = ERR_INTERNAL;
    submit_task(at->submitter, box, on_submitted, (void *)(uintptr_t)place);
}

static void submit_wait(size_t total) { UNTIL(&at->loop, at->answered == total); }

static struct ident submit_one(struct submission_box *box)
{
    struct ident id = box_id(box);
    at->answered = 0;
    submit_at(0, box);
    submit_wait(1);
    assert_int_equal(at->codes[0], ERR_NONE);
    assert_int_equal(at->answers[0].verdict, INSERT_NEW);
    assert_true(ident_equal(&at->answers[0].id, &id));
    return id;
}

static struct ident submit_plain(void) { return submit_one(box_of("greet", "{}")); }

static void submit_many(size_t count, struct ident *ids)
{
    at->answered = 0;
    for (size_t i = 0; i < count; i++) {
        struct submission_box *box = box_of("greet", "{}");
        if (ids) ids[i] = box_id(box);
        submit_at(i, box);
    }
    submit_wait(count);
}

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
    at->keeper = keeper_new(&at->loop, at->probe, at->broker, &options);
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

/* ---- claim ---- */

static struct taker *taker_begin(size_t place, const struct ident *worker, int32_t slots)
{
    struct ledger *ledger = place ? at->probe : at->ledger;
    return at->takers[place] = taker_new(&at->loop, at->broker, ledger, worker, slots);
}

static bool quiet(size_t place) { return claimer_is_quiet(at->takers[place]->claimer); }

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
        assert_string_equal(stores_sql("SELECT claim_id FROM active WHERE id = '%s'",
                                       id_text(&taker->ids[i])),
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
    ledger_pause(at->ledger, "default", paused, on_plain, &done);
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
    UNTIL(&at->loop, strcmp(stores_redis_do("HLEN @:claimed"), "1") == 0 && quiet(0));
    claimer_stop(other->claimer);
    struct taker *taker = taker_begin(1, &second, 10);
    UNTIL(&at->loop, taker->count == 1);
    assert_true(ident_equal(&taker->ids[0], &id));
    assert_int_equal(other->count, 0);
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

/* ---- settle ---- */

/* Submits and starts so many; they lie in takers[0]. */
static struct taker *start_many(size_t count)
{
    submit_many(count, NULL);
    struct taker *taker = taker_begin(0, &at->worker, (int32_t)count);
    UNTIL(&at->loop, taker->count == count && quiet(0));
    claimer_stop(taker->claimer);
    return taker;
}

static void on_settled(void *arg, const struct finished *finished)
{
    at->finished[(size_t)(uintptr_t)arg] = *finished;
    at->settled++;
}

static struct finish success_of(const struct taker *taker, size_t i)
{
    return (struct finish){ .id = taker->ids[i],
                            .claim = taker->claims[i],
                            .status = TASK_SUCCESS,
                            .percent = -1,
                            .result = "{\"ok\":true}",
                            .result_len = 11 };
}

static const char boom[] = "{\"kind\":\"exception\",\"message\":\"boom\",\"traceback\":null}";

static struct finish failure_of(const struct taker *taker, size_t i, enum task_status status)
{
    return (struct finish){ .id = taker->ids[i],
                            .claim = taker->claims[i],
                            .status = status,
                            .spends_failure = true,
                            .ended = status == TASK_RETRY ? "failed" : NULL,
                            .percent = -1,
                            .error = boom,
                            .error_len = strlen(boom) };
}

static void settle_at(size_t place, const struct finish *finish)
{
    settle(at->settler, finish, 1, on_settled, (void *)(uintptr_t)place);
}

static void settle_wait(size_t total)
{
    UNTIL(&at->loop, at->settled == total);
    assert_int_equal(settler_pending(at->settler), 0);
    assert_int_equal(settler_pending_bytes(at->settler), 0);
}

static int64_t outcomes(enum task_status status)
{
    return stores_count("SELECT count(*) FROM outcomes WHERE status = %d", (int)status);
}

static void test_a_success_is_written_and_told(void **state)
{
    (void)state;
    struct taker *taker = start_many(1);
    struct finish finish = success_of(taker, 0);
    settle_at(0, &finish);
    assert_int_equal(settler_pending(at->settler), 1);
    assert_true(settler_pending_bytes(at->settler) > 0);
    settle_wait(1);
    assert_int_equal(at->finished[0].verdict, FINISH_DONE);
    assert_int_equal(at->finished[0].status, TASK_SUCCESS);
    assert_string_equal(stores_sql("SELECT result->>'ok' FROM outcomes"), "true");
    UNTIL(&at->loop, at->events > 0);
    assert_non_null(strstr(at->event, id_text(&taker->ids[0])));
    assert_non_null(strstr(at->event, "\"status\":\"SUCCESS\""));
    assert_non_null(strstr(at->event, "\"attempt\":1"));
}

static void test_a_failure_keeps_its_error(void **state)
{
    (void)state;
    struct finish finish = failure_of(start_many(1), 0, TASK_FAILURE);
    settle_at(0, &finish);
    settle_wait(1);
    assert_int_equal(at->finished[0].status, TASK_FAILURE);
    assert_string_equal(stores_sql("SELECT error->>'message' FROM outcomes"), "boom");
}

static void test_a_retry_at_once_is_pushed(void **state)
{
    (void)state;
    struct taker *taker = start_many(1);
    struct finish finish = failure_of(taker, 0, TASK_RETRY);
    settle_at(0, &finish);
    settle_wait(1);
    assert_int_equal(at->finished[0].status, TASK_RETRY);
    UNTIL(&at->loop, stores_waiting("default") == 1);
    at->takers[1] = taker_new(&at->loop, at->broker, at->probe, &at->worker, 1);
    UNTIL(&at->loop, at->takers[1]->count == 1);
    assert_int_equal(at->takers[1]->attempts[0], 2);
}

static void test_a_later_retry_wakes_the_keeper(void **state)
{
    (void)state;
    struct finish finish = failure_of(start_many(1), 0, TASK_RETRY);
    finish.delay_us = 60 * SECOND_US;
    settle_at(0, &finish);
    settle_wait(1);
    UNTIL(&at->loop, at->keeper_wakes > 0);
    assert_true(at->woken_for_us > clock_wall_us() + 50 * SECOND_US);
    assert_int_equal(stores_waiting("default"), 0);
}

/* Its text is small and the error long: what is pending must still come to nothing. */
static void test_one_unstorable_result_ends_alone(void **state)
{
    (void)state;
    struct taker *taker = start_many(100);
    for (size_t i = 0; i < 100; i++) {
        struct finish finish = success_of(taker, i);
        if (i == 41) {
            finish.result = "\"\\u0000\"";
            finish.result_len = 8;
            finish.hook = "success";
        }
        settle_at(i, &finish);
    }
    settle_wait(100);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(at->finished[i].verdict, FINISH_DONE);
        assert_int_equal(at->finished[i].status, i == 41 ? TASK_FAILURE : TASK_SUCCESS);
    }
    assert_int_equal(outcomes(TASK_SUCCESS), 99);
    assert_string_equal(stores_sql("SELECT error->>'kind' FROM outcomes WHERE id = '%s'",
                                   id_text(&taker->ids[41])),
                        "unstorable");
    assert_int_equal(stores_count("SELECT count(*) FROM hooks_owed"), 0);
}

static void test_finishes_of_unknown_outcome_are_resolved(void **state)
{
    (void)state;
    struct taker *taker = start_many(50);
    stores_commits_hang(&at->loop, at->probe);
    for (size_t i = 0; i < 50; i++) {
        struct finish finish =
            i % 2 ? success_of(taker, i) : failure_of(taker, i, i % 4 ? TASK_FAILURE : TASK_RETRY);
        settle_at(i, &finish);
    }
    UNTIL(&at->loop, stores_hanging("tested") == 2);
    stores_commits_go_on();
    stores_end_backends("tested");
    settle_wait(50);
    for (size_t i = 0; i < 50; i++) assert_int_equal(at->finished[i].verdict, FINISH_DONE);
    assert_int_equal(settler_fenced(at->settler), 0);
    assert_int_equal(outcomes(TASK_SUCCESS), 25);
    assert_int_equal(outcomes(TASK_FAILURE), 12);
    assert_int_equal(stores_count("SELECT count(*) FROM active WHERE status = 2"), 13);
}

static void test_finishes_outlive_an_absence_of_postgres(void **state)
{
    (void)state;
    struct taker *taker = start_many(300);
    test_postgres_kill(stores_postgres, SIGQUIT);
    UNTIL(&at->loop, !ledger_is_up(at->ledger));
    for (size_t i = 0; i < 300; i++) {
        struct finish finish = success_of(taker, i);
        settle_at(i, &finish);
        if (i % 50 == 0) turn_for(&at->loop, 50000);
    }
    assert_int_equal(settler_pending(at->settler), 300);
    test_postgres_restart(stores_postgres);
    settle_wait(300);
    assert_int_equal(outcomes(TASK_SUCCESS), 300);
    assert_int_equal(stores_count("SELECT count(*) FROM active"), 0);
}

static void test_a_late_end_is_fenced_and_counted(void **state)
{
    (void)state;
    struct taker *taker = start_many(2);
    struct finish finish = success_of(taker, 0), other = success_of(taker, 1);
    finish.claim = ident_random(); /* the task was given to another since */
    settle_at(0, &finish);
    settle_at(1, &other);
    settle_wait(2);
    assert_int_equal(at->finished[0].verdict, FINISH_FENCED);
    assert_int_equal(at->finished[1].verdict, FINISH_DONE);
    assert_int_equal(settler_fenced(at->settler), 1);
    assert_int_equal(stores_count("SELECT count(*) FROM active WHERE status = 1"), 1);
}

static void test_a_cancel_before_the_end_makes_it_revoked(void **state)
{
    (void)state;
    struct taker *taker = start_many(1);
    stores_sql("SELECT cancel_tasks('{%s}')", id_text(&taker->ids[0]));
    struct finish finish = failure_of(taker, 0, TASK_RETRY);
    settle_at(0, &finish);
    settle_wait(1);
    assert_int_equal(at->finished[0].status, TASK_REVOKED);
    assert_int_equal(stores_waiting("default"), 0);
    UNTIL(&at->loop, strstr(at->event, "\"status\":\"REVOKED\""));
}

/* ---- operate ---- */

static void on_operated(void *arg, const char *json, size_t len, const struct err *err)
{
    (void)arg;
    if (err) fail_msg("%s", err->text);
    json_decref(at->operate_answer);
    at->operate_answer = json_loadb(json, len, 0, NULL);
    at->operated = true;
}

static void operate_wait(enum operation operation, const struct ident *ids, size_t count)
{
    at->operated = false;
    operate(at->ledger, at->broker, operation, ids, count, on_operated, NULL);
    UNTIL(&at->loop, at->operated);
    assert_int_equal(json_array_size(at->operate_answer), count);
}

static const char *verdict_of(size_t index)
{
    return json_string_value(json_object_get(json_array_get(at->operate_answer, index), "status"));
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

#define LIFE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE_TEST(test_a_thousand_submits_of_one_turn_share_few_statements),
        LIFE_TEST(test_a_repeated_id_is_a_duplicate_or_a_conflict),
        LIFE_TEST(test_a_unique_key_answers_the_first_id),
        LIFE_TEST(test_a_delayed_task_wakes_the_keeper),
        LIFE_TEST(test_without_redis_a_submit_is_deferred_and_pushed_later),
        LIFE_TEST(test_one_poisoned_submission_is_refused_alone),
        LIFE_TEST(test_a_poisoned_duplicate_leaves_its_neighbours_new),
        LIFE_TEST(test_a_submit_of_unknown_outcome_is_repeated),
        LIFE_TEST(test_without_postgres_a_submit_fails_in_words),
        LIFE_TEST(test_two_claimers_start_each_task_once),
        LIFE_TEST(test_no_more_is_claimed_than_there_are_slots),
        LIFE_TEST(test_one_slot_starts_in_rank_order),
        LIFE_TEST(test_stale_hints_are_dropped),
        LIFE_TEST(test_a_task_that_is_not_due_waits),
        LIFE_TEST(test_a_paused_queue_starts_nothing),
        LIFE_TEST(test_what_a_worker_does_not_carry_is_put_back),
        LIFE_TEST(test_starts_that_were_cut_off_are_repeated),
        LIFE_TEST(test_starts_of_unknown_outcome_are_resolved),
        LIFE_TEST(test_starts_outlive_a_restart_of_postgres),
        LIFE_TEST(test_a_dead_owner_is_told_so),
        LIFE_TEST(test_a_lost_epoch_is_reported),
        LIFE_TEST(test_a_first_claim_after_a_busy_time_is_not_overdue),
        LIFE_TEST(test_what_was_claimed_still_arrives_after_a_stop),
        LIFE_TEST(test_a_success_is_written_and_told),
        LIFE_TEST(test_a_failure_keeps_its_error),
        LIFE_TEST(test_a_retry_at_once_is_pushed),
        LIFE_TEST(test_a_later_retry_wakes_the_keeper),
        LIFE_TEST(test_one_unstorable_result_ends_alone),
        LIFE_TEST(test_finishes_of_unknown_outcome_are_resolved),
        LIFE_TEST(test_finishes_outlive_an_absence_of_postgres),
        LIFE_TEST(test_a_late_end_is_fenced_and_counted),
        LIFE_TEST(test_a_cancel_before_the_end_makes_it_revoked),
        LIFE_TEST(test_a_cancelled_task_leaves_no_hint),
        LIFE_TEST(test_the_cancel_of_a_running_task_is_announced),
        LIFE_TEST(test_a_retried_task_is_pushed),
        LIFE_TEST(test_many_are_cancelled_and_retried_at_once),
        LIFE_TEST(test_a_deleted_task_is_gone),
        LIFE_TEST(test_without_redis_operators_are_served_too),
    };
    return cmocka_run_group_tests(tests, stores_start, stores_stop);
}
