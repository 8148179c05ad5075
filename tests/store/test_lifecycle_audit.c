/* The audit of both stores, and the trial of an installation, on real servers. */
#include <jansson.h>

#include "lifecycle/audit.h"
#include "lifecycle/trial.h"
#include "store/lifecycle_fixture.h"

#define LEASE_US (15 * SECOND_US)

static json_t *report;

static void audit(void)
{
    struct err err;
    const struct audit_stores stores = {
        .loop = &at->loop, .ledger = at->ledger, .broker = at->broker, .lease_us = LEASE_US
    };
    json_decref(report);
    report = NULL;
    if (!audit_run(&stores, &report, &err)) fail_msg("%s", err.text);
}

static int64_t differences(void)
{
    return json_integer_value(json_object_get(report, "difference_count"));
}

static int64_t hints(const char *which)
{
    return json_integer_value(json_object_get(json_object_get(report, "hints"), which));
}

static const char *told(size_t index, const char *key)
{
    const json_t *item = json_array_get(json_object_get(report, "differences"), index);
    const char *text = json_string_value(json_object_get(item, key));
    return text ? text : "";
}

/* A worker's heartbeat, as its supervisor would send it. */
struct pulse {
    struct timer timer;
    bool is_closed;
};

static void on_pulse(struct timer *timer)
{
    stores_sql("UPDATE workers SET heartbeat = heartbeat + 1 WHERE state = 'alive'");
    timer_start(timer, SECOND_US);
}

static void on_pulse_closed(struct timer *timer)
{
    container_of(timer, struct pulse, timer)->is_closed = true;
}

static void pulse_begin(struct pulse *pulse)
{
    *pulse = (struct pulse){ .is_closed = false };
    timer_init(&at->loop, &pulse->timer, on_pulse);
    timer_start(&pulse->timer, SECOND_US);
}

static void pulse_end(struct pulse *pulse)
{
    timer_close(&pulse->timer, on_pulse_closed);
    UNTIL(&at->loop, pulse->is_closed);
}

static void test_what_waits_is_claimed_and_runs_is_in_order(void **state)
{
    (void)state;
    struct taker *taker = start_many(5);
    struct finish done = success_of(taker, 0);
    settle_at(0, &done);
    settle_wait(1);
    submit_many(1200, NULL); /* pages of them */
    audit();
    assert_int_equal(differences(), 0);
    const json_t *counts = json_object_get(report, "counts");
    assert_int_equal(json_integer_value(json_object_get(counts, "submitted")), 1205);
    assert_int_equal(json_integer_value(json_object_get(counts, "waiting")), 1200);
    assert_int_equal(json_integer_value(json_object_get(counts, "running")), 4);
    assert_int_equal(hints("waiting"), 1200);
}

static void test_hints_that_somebody_wrote_are_told(void **state)
{
    (void)state;
    struct ident alien = ident_v7(), ahead = submit_plain();
    const struct hint planted[] = { { .id = alien, .queue = "default" },
                                    { .id = ahead, .starts = 3, .queue = "default" } };
    broker_push(at->broker, planted, 2, NULL, NULL);
    UNTIL(&at->loop, stores_waiting("default") == 2);
    stores_redis_do("ZADD @:q:default 1 nonsense");
    audit();
    assert_int_equal(differences(), 3);
    assert_string_equal(told(0, "kind"), "hint_odd");
    assert_string_equal(told(0, "id"), "");
    for (size_t i = 1; i < 3; i++) {
        bool is_alien = strcmp(told(i, "id"), id_text(&alien)) == 0;
        assert_string_equal(told(i, "kind"), is_alien ? "hint_unknown" : "hint_ahead");
        assert_true(is_alien || strcmp(told(i, "id"), id_text(&ahead)) == 0);
        assert_true(*told(i, "remedy"));
    }
}

/* The ledger is asked after Redis, so a task that was deleted between the two looks foreign once.
 */
static void test_a_hint_that_goes_by_itself_is_no_difference(void **state)
{
    (void)state;
    struct ident alien = ident_v7();
    const struct hint planted = { .id = alien, .queue = "default" };
    broker_push(at->broker, &planted, 1, NULL, NULL);
    UNTIL(&at->loop, stores_waiting("default") == 1);
    struct pulse pulse;
    pulse_begin(&pulse); /* turns the loop while the audit waits */
    stores_redis_do("PEXPIRE @:q:default 1500");
    audit();
    pulse_end(&pulse);
    assert_int_equal(differences(), 0);
    broker_forget(at->broker, &planted, 1, NULL, NULL);
}

static void test_a_claimed_hint_without_a_lease_is_told(void **state)
{
    (void)state;
    struct ident id = submit_plain();
    struct taker *taker = taker_begin(0, &at->worker, 1);
    stores_sql("UPDATE active SET run_at = now() + interval '1 hour'"); /* so it is put back */
    UNTIL(&at->loop, stores_count("SELECT 1") == 1 && quiet(0) &&
                         strcmp(stores_redis_do("HLEN @:claimed"), "1") == 0);
    claimer_stop(taker->claimer);
    audit();
    assert_int_equal(differences(), 0);
    assert_int_equal(hints("claimed"), 1);
    stores_redis_do("DEL @:lease");
    audit();
    assert_int_equal(differences(), 1);
    assert_string_equal(told(0, "kind"), "hint_held");
    assert_string_equal(told(0, "id"), id_text(&id));
}

static void test_a_due_task_without_a_hint_is_told_where_a_worker_lives(void **state)
{
    (void)state;
    struct ident id = submit_plain();
    UNTIL(&at->loop, stores_waiting("default") == 1);
    stores_redis_do("FLUSHDB");
    stores_redis_do("SET @:epoch filled");
    stores_sql("UPDATE active SET run_at = now() - interval '1 minute'");
    stores_sql("UPDATE workers SET carries = '{greet}', queues = '{default}'");
    audit(); /* its heartbeat stands still: nobody lives who could take it */
    assert_int_equal(differences(), 0);
    struct pulse pulse;
    pulse_begin(&pulse);
    audit();
    pulse_end(&pulse);
    assert_int_equal(differences(), 1);
    assert_string_equal(told(0, "kind"), "hint_missing");
    assert_string_equal(told(0, "id"), id_text(&id));
}

static void test_a_hint_that_comes_late_is_no_difference(void **state)
{
    (void)state;
    submit_plain();
    UNTIL(&at->loop, stores_waiting("default") == 1);
    stores_redis_do("FLUSHDB");
    stores_sql("UPDATE active SET run_at = now() - interval '1 minute'");
    stores_sql("UPDATE workers SET carries = '{greet}', queues = '{default}'");
    const struct keeper_options options = { .me = at->worker,
                                            .unknown_grace_us = 600 * SECOND_US,
                                            .max_waiting = 1000,
                                            .result_ttl_us = -1 };
    at->keeper = keeper_new(&at->loop, at->probe, at->probe, at->broker, &options);
    struct pulse pulse;
    pulse_begin(&pulse);
    audit();
    pulse_end(&pulse);
    assert_int_equal(differences(), 0);
    assert_int_equal(stores_waiting("default"), 1);
}

static void test_a_store_that_is_away_is_an_error(void **state)
{
    (void)state;
    struct err err;
    const struct audit_stores stores = {
        .loop = &at->loop, .ledger = at->ledger, .broker = at->broker, .lease_us = LEASE_US
    };
    test_redis_kill(stores_redis, SIGKILL);
    UNTIL(&at->loop, !broker_is_up(at->broker));
    json_t *none = NULL;
    assert_false(audit_run(&stores, &none, &err));
    assert_int_equal(err.code, ERR_STORE);
    assert_null(none);
    test_redis_restart(stores_redis);
}

static void test_a_trial_goes_through_and_leaves_nothing(void **state)
{
    (void)state;
    struct trial trial;
    struct err err;
    trial_init(&trial);
    if (!trial_run(&trial, &at->loop, at->ledger, at->broker, &err)) fail_msg("%s", err.text);
    assert_int_equal(trial.done, TRIAL_STEPS);
    for (int i = 0; i < TRIAL_STEPS; i++) assert_true(trial.took_us[i] > 0);
    assert_int_equal(stores_count("SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM"
                                  " active) + (SELECT count(*) FROM outcomes)"),
                     0);
    assert_int_equal(stores_count("SELECT count(*) FROM workers"), 1);
    assert_string_equal(stores_redis_do("DBSIZE"), "0");
}

/* Whatever refuses it, what it has left behind is removed, and the step is named. */
static void test_a_trial_that_fails_says_where(void **state)
{
    (void)state;
    struct trial trial;
    struct err err;
    stores_sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
               " $$BEGIN RAISE 'refused'; END$$");
    stores_sql("CREATE TRIGGER refuse BEFORE UPDATE ON active EXECUTE FUNCTION refuse()");
    trial_init(&trial);
    assert_false(trial_run(&trial, &at->loop, at->ledger, at->broker, &err));
    assert_int_equal(trial.done, TRIAL_START);
    assert_non_null(strstr(err.text, "start it"));
    assert_non_null(strstr(err.text, "refused"));
    assert_int_equal(stores_count("SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM"
                                  " active) + (SELECT count(*) FROM workers)"),
                     1);
    assert_string_equal(stores_redis_do("DBSIZE"), "0");
}

static bool is_examined;
static struct broker_facts facts;

static void on_facts(void *arg, const struct broker_facts *found, const struct err *err)
{
    (void)arg;
    if (err) fail_msg("%s", err->text);
    facts = *found;
    is_examined = true;
}

static void test_examine_tells_what_redis_is(void **state)
{
    (void)state;
    broker_examine(at->broker, on_facts, NULL);
    UNTIL(&at->loop, is_examined);
    assert_string_equal(facts.policy, "noeviction");
    assert_string_equal(facts.role, "master");
    assert_string_equal(facts.mode, "standalone");
    assert_true(strtol(facts.version, NULL, 10) >= 6);
    assert_string_equal(facts.fsync, "everysec");
    assert_false(facts.has_aof || facts.is_loading || facts.writes_fail);
    assert_true(facts.latency_us > 0 && facts.memory > 0 && facts.clients > 0);
}

static int stop(void **state)
{
    json_decref(report);
    return stores_stop(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE_TEST(test_what_waits_is_claimed_and_runs_is_in_order),
        LIFE_TEST(test_hints_that_somebody_wrote_are_told),
        LIFE_TEST(test_a_hint_that_goes_by_itself_is_no_difference),
        LIFE_TEST(test_a_claimed_hint_without_a_lease_is_told),
        LIFE_TEST(test_a_due_task_without_a_hint_is_told_where_a_worker_lives),
        LIFE_TEST(test_a_hint_that_comes_late_is_no_difference),
        LIFE_TEST(test_a_store_that_is_away_is_an_error),
        LIFE_TEST(test_a_trial_goes_through_and_leaves_nothing),
        LIFE_TEST(test_a_trial_that_fails_says_where),
        LIFE_TEST(test_examine_tells_what_redis_is),
    };
    return cmocka_run_group_tests(tests, stores_start, stop);
}
