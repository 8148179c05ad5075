/* Heartbeats, deaths, sweeps, unknown tasks and the hooks they leave, on a real Postgres. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "support/ledger_fixture.h"

static void release(struct ident owner, struct ident culprit, enum death_cause cause)
{
    struct death death = { owner, culprit, cause, -1 };
    AWAIT(ledger_declare_dead(ledger_a, &death, on_hints, NULL));
}

static const struct ident nobody;

struct beat {
    bool done;
    size_t alive, cancels;
    struct cancel_mark cancel;
    char paused[200];
    bool hooks_owed, controls;
};

static void on_beat(void *arg, const struct heartbeat_answer *heard, const struct err *err)
{
    struct beat *beat = arg;
    if (err) fail_msg("%s", err->text);
    *beat = (struct beat){ .done = true,
                           .alive = heard->alive_count,
                           .cancels = heard->cancel_count,
                           .hooks_owed = heard->hooks_owed,
                           .controls = heard->controls };
    if (heard->cancel_count) beat->cancel = heard->cancels[0];
    strncpy(beat->paused, heard->paused, sizeof beat->paused - 1);
}

static struct beat beat_of(struct ident one, struct ident two)
{
    struct heartbeat beats[] = { { one, "{\"running\": 2}" }, { two, "{\"running\": 3}" } };
    struct beat beat = { 0 };
    ledger_heartbeat(ledger_a, beats, 2, on_beat, &beat);
    wait_for(&beat.done);
    return beat;
}

static void a_heartbeat_brings_what_a_supervisor_must_know(void **state)
{
    (void)state;
    struct ident one = worker_living("one"), two = worker_living("two");
    struct beat beat = beat_of(one, two);
    assert_int_equal(beat.alive, 2);
    assert_int_equal(beat.cancels, 0);
    assert_string_equal(beat.paused, "");
    assert_false(beat.hooks_owed || beat.controls);
    struct ident id = insert_named("greet"), claim = started_by(&one, id, 0);
    AWAIT(ledger_cancel(ledger_a, &id, 1, "test", on_operate, NULL));
    AWAIT(ledger_pause(ledger_a, "b", true, "test", on_plain, NULL));
    AWAIT(ledger_pause(ledger_a, "a", true, "test", on_plain, NULL));
    sql("INSERT INTO hooks_owed VALUES (gen_random_uuid(), 1, 1, 'failure', 'greet')");
    struct ident request = ident_random();
    AWAIT(ledger_control_request(ledger_a, &request, "reload", NULL, NULL, true, "test", on_json,
                                 NULL));
    release(two, nobody, DEATH_LOST);
    beat = beat_of(one, two);
    assert_int_equal(beat.alive, 1);
    assert_int_equal(beat.cancels, 1);
    assert_true(ident_equal(&beat.cancel.id, &id));
    assert_true(ident_equal(&beat.cancel.claim, &claim));
    assert_true(ident_equal(&beat.cancel.owner, &one));
    assert_string_equal(beat.paused, "a,b");
    assert_true(beat.hooks_owed && beat.controls);
    assert_int_equal(sql_int("SELECT heartbeat FROM workers WHERE name = 'one'"), 2);
    assert_int_equal(sql_int("SELECT heartbeat FROM workers WHERE name = 'two'"), 1);
}

static void a_living_name_cannot_be_taken_twice(void **state)
{
    (void)state;
    struct ident first = worker_living("same");
    struct worker_row row = { .incarnation = ident_random(),
                              .name = "same",
                              .host = "h",
                              .boot_id = "b",
                              .queues = (const char *const[]){ NULL } };
    answer.done = false;
    ledger_worker_register(ledger_a, &row, on_plain, NULL);
    wait_for(&answer.done);
    assert_int_equal(answer.err.code, ERR_CONFLICT);
    row.supervisor = first; /* its runners bear its name */
    AWAIT(ledger_worker_register(ledger_a, &row, on_plain, NULL));
    AWAIT(ledger_worker_register(ledger_a, &row, on_plain, NULL)); /* repeated */
    release(first, nobody, DEATH_LOST);
    assert_string_equal(sql("SELECT state FROM workers WHERE supervisor IS NULL"), "gone");
    worker_living("same");
    AWAIT(ledger_workers_of_host(ledger_a, "h", "b", on_json, NULL));
    assert_string_equal(field("0,incarnation"), text_of(row.incarnation));
    assert_string_equal(field("0,supervisor"), text_of(first));
}

static void the_culprit_pays_and_bystanders_do_not(void **state)
{
    (void)state;
    struct ident owner = worker_living("w");
    struct submission guilty = submission_of("greet");
    guilty.retry = (struct retry_policy){ 0, BACKOFF_EXPONENTIAL, 40000000, 60000000, false };
    insert_one(&guilty);
    struct ident bystander = insert_named("greet");
    struct ident claim = started_by(&owner, guilty.id, 0);
    started_by(&owner, bystander, 0);
    release(owner, claim, DEATH_LOST);
    assert_int_equal(answer.hint_count, 1);
    assert_true(ident_equal(&answer.hints[0].id, &bystander));
    assert_int_equal(answer.hints[0].starts, 1);
    assert_int_equal(
        answer.next_run_at_us,
        sql_int("SELECT micros(run_at) FROM active WHERE id = '%s'", text_of(guilty.id)));
    assert_string_equal(
        sql("SELECT concat_ws(' ', status, losses, failures, unwitnessed, claim_id,"
            " run_at - now() BETWEEN '38 s' AND '40 s') FROM active WHERE id = '%s'",
            text_of(guilty.id)),
        "2 1 0 0 t");
    assert_string_equal(sql("SELECT concat_ws(' ', status, losses, failures, unwitnessed, claim_id)"
                            " FROM active WHERE id = '%s'",
                            text_of(bystander)),
                        "0 0 0 0");
    assert_string_equal(sql("SELECT string_agg(concat_ws(' ', ended, error->>'kind', worker), ', '"
                            " ORDER BY ended) FROM attempts"),
                        "lost worker_lost w, released w");
    assert_string_equal(sql("SELECT state FROM workers"), "dead");
    release(owner, claim, DEATH_LOST); /* repeated */
    assert_int_equal(answer.hint_count, 0);
    assert_int_equal(sql_int("SELECT max(losses) FROM active"), 1);
}

static void losses_end_when_their_budget_is_spent(void **state)
{
    (void)state;
    AWAIT(ledger_catalogue_publish(
        ledger_a, &nobody,
        "{\"entries\":[{\"name\":\"greet\",\"hooks\":"
        "[\"failure\"]}]}",
        strlen("{\"entries\":[{\"name\":\"greet\",\"hooks\":[\"failure\"]}]}"), on_plain, NULL));
    struct ident id = insert_named("greet");
    for (int loss = 0; loss < 3; loss++) {
        struct ident owner = worker_living("w");
        sql("UPDATE active SET run_at = now()");
        release(owner, started_by(&owner, id, loss), DEATH_LOST);
    }
    assert_string_equal(
        sql("SELECT concat_ws(' ', status, losses, failures, attempt, error->>'kind')"
            " FROM outcomes"),
        "4 3 0 3 worker_lost");
    assert_string_equal(sql("SELECT concat_ws(' ', event, attempt, name, owner) FROM hooks_owed"),
                        "failure 3 greet");
    assert_int_equal(sql_int("SELECT count(*) FROM active"), 0);
}

static void a_culprit_by_timeout_spends_a_failure(void **state)
{
    (void)state;
    struct submission slow = submission_of("greet");
    slow.retry = (struct retry_policy){ 1, BACKOFF_FIXED, 0, 0, false };
    insert_one(&slow);
    struct ident owner = worker_living("one"), next = worker_living("two");
    release(owner, started_by(&owner, slow.id, 0), DEATH_TIMEOUT);
    assert_string_equal(
        sql("SELECT concat_ws(' ', a.status, a.failures, a.losses, p.ended, p.error->>'kind')"
            " FROM active a, attempts p"),
        "2 1 0 failed timeout");
    release(next, started_by(&next, slow.id, 1), DEATH_TIMEOUT);
    assert_string_equal(
        sql("SELECT concat_ws(' ', status, failures, losses, error->>'kind') FROM outcomes"),
        "4 2 0 timeout");
}

static void max_losses_zero_never_runs_twice(void **state)
{
    (void)state;
    struct submission once = submission_of("greet");
    once.max_losses = 0;
    insert_one(&once);
    struct ident owner = worker_living("w");
    started_by(&owner, once.id, 0);
    release(owner, nobody, DEATH_LOST); /* a bystander, even */
    assert_string_equal(sql("SELECT concat_ws(' ', status, error->>'kind') FROM outcomes"),
                        "4 worker_lost");
}

/* Also when its worker leaves in peace and gives back what it runs. */
static void max_losses_zero_makes_a_release_final(void **state)
{
    static const char entry[] = "{\"entries\":[{\"name\":\"greet\",\"hooks\":[\"failure\"]}]}";
    (void)state;
    AWAIT(ledger_catalogue_publish(ledger_a, &nobody, entry, strlen(entry), on_plain, NULL));
    struct submission once = submission_of("greet");
    once.max_losses = 0;
    insert_one(&once);
    struct ident owner = worker_living("w"), claim = started_by(&owner, once.id, 0);
    struct finish release = finish_of(once.id, claim, TASK_PENDING);
    release.error = NULL;
    for (int i = 0; i < 2; i++) { /* repeated */
        struct finished finished = finish_one(&owner, &release);
        assert_int_equal(finished.verdict, FINISH_DONE);
        assert_int_equal(finished.status, TASK_FAILURE);
    }
    assert_string_equal(sql("SELECT concat_ws(' ', status, error->>'kind') FROM outcomes"),
                        "4 worker_lost");
    assert_string_equal(sql("SELECT concat_ws(' ', event, attempt, name, owner) FROM hooks_owed"),
                        "failure 1 greet");
}

static void a_pending_cancel_makes_a_release_final(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), id = insert_named("greet");
    started_by(&owner, id, 0);
    AWAIT(ledger_cancel(ledger_a, &id, 1, "test", on_operate, NULL));
    release(owner, nobody, DEATH_LOST);
    assert_int_equal(answer.hint_count, 0);
    assert_string_equal(sql("SELECT concat_ws(' ', status, error->>'kind') FROM outcomes"),
                        "5 cancelled");
}

static void the_keeper_declares_dead_only_what_stood_still(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), id = insert_named("greet");
    started_by(&owner, id, 0);
    struct death death = { .incarnation = owner, .seen_heartbeat = 5 };
    AWAIT(ledger_declare_dead(ledger_a, &death, on_hints, NULL));
    assert_int_equal(answer.hint_count, 0);
    assert_string_equal(sql("SELECT state FROM workers"), "alive");
    death.seen_heartbeat = 0;
    AWAIT(ledger_declare_dead(ledger_a, &death, on_hints, NULL));
    assert_int_equal(answer.hint_count, 1);
    assert_string_equal(sql("SELECT concat_ws(' ', status, losses, unwitnessed) FROM active"),
                        "0 0 1");
}

/* A whole worker died, and the next one on that machine finds the corpses. */
static void a_death_after_that_of_its_supervisor_is_unwitnessed(void **state)
{
    (void)state;
    struct ident supervisor = worker_living("w");
    for (int i = 0; i < 2; i++) {
        struct ident id = insert_named("greet");
        struct worker_row runner = { .incarnation = ident_random(),
                                     .supervisor = supervisor,
                                     .name = "w",
                                     .host = "here",
                                     .boot_id = "boot",
                                     .queues = (const char *const[]){ "default", NULL } };
        AWAIT(ledger_worker_register(ledger_a, &runner, on_plain, NULL));
        started_by(&runner.incarnation, id, 0);
        if (i == 1) release(supervisor, nobody, DEATH_LOST);
        release(runner.incarnation, nobody, DEATH_LOST);
        assert_int_equal(answer.hint_count, 1);
        assert_int_equal(
            sql_int("SELECT unwitnessed FROM active WHERE id = '%s' AND status = 0", text_of(id)),
            i);
    }
}

static void sweep_releases_what_a_dead_owner_started_late(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), living = worker_living("v");
    struct ident id = insert_named("greet"), other = insert_named("greet");
    started_by(&owner, id, 0);
    started_by(&living, other, 0);
    sql("UPDATE workers SET state = 'dead', ended_at = now() WHERE name = 'w'");
    AWAIT(ledger_sweep(ledger_a, on_hints, NULL));
    assert_int_equal(answer.hint_count, 1);
    assert_true(ident_equal(&answer.hints[0].id, &id));
    assert_int_equal(sql_int("SELECT status FROM active WHERE id = '%s'", text_of(other)), 1);
    assert_string_equal(sql("SELECT settled FROM workers WHERE name = 'w'"), "f");
    sql("UPDATE workers SET ended_at = now() - interval '1 hour' WHERE name = 'w'");
    AWAIT(ledger_sweep(ledger_a, on_hints, NULL));
    assert_string_equal(sql("SELECT settled FROM workers WHERE name = 'w'"), "t");
}

static void what_its_owner_does_not_know_of_goes_back_uncharged(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), other = worker_living("v");
    struct ident known = insert_named("greet"), late = insert_named("greet");
    struct ident young = insert_named("greet"), foreign = insert_named("greet");
    struct ident claim = started_by(&owner, known, 0);
    started_by(&owner, late, 0);
    started_by(&other, foreign, 0);
    sql("UPDATE active SET started_at = now() - interval '1 minute' WHERE status = 1");
    started_by(&owner, young, 0);
    AWAIT(ledger_release_unclaimed(ledger_a, &owner, &claim, 1, 20000000, on_hints, NULL));
    assert_int_equal(answer.hint_count, 1);
    assert_true(ident_equal(&answer.hints[0].id, &late));
    assert_int_equal(answer.hints[0].starts, 1);
    assert_string_equal(sql("SELECT concat_ws(' ', status, starts, failures, losses, unwitnessed)"
                            " FROM active WHERE id = '%s'",
                            text_of(late)),
                        "0 1 0 0 0");
    assert_int_equal(sql_int("SELECT count(*) FROM active WHERE status = 1"), 3);
    AWAIT(ledger_release_unclaimed(ledger_a, &owner, &claim, 1, 20000000, on_hints, NULL));
    assert_int_equal(answer.hint_count, 0);
}

static void the_tenth_unwitnessed_release_is_the_last(void **state)
{
    (void)state;
    struct ident id = insert_named("greet");
    for (int i = 0; i < 10; i++) {
        struct ident owner = worker_living("w");
        started_by(&owner, id, i);
        sql("UPDATE workers SET state = 'dead', ended_at = now()");
        AWAIT(ledger_sweep(ledger_a, on_hints, NULL));
        assert_int_equal(answer.hint_count, i < 9);
    }
    assert_string_equal(sql("SELECT concat_ws(' ', status, attempt, error->>'kind') FROM outcomes"),
                        "4 10 worker_lost");
}

static void sweep_ends_what_expired_before_it_was_started(void **state)
{
    (void)state;
    struct submission brief = submission_of("greet"), running = submission_of("greet");
    brief.expires_us = 1;
    running.expires_us = 3600000000;
    insert_one(&brief);
    insert_one(&running);
    struct ident owner = worker_living("w");
    started_by(&owner, running.id, 0);
    sql("UPDATE active SET expires_at = now()");
    AWAIT(ledger_sweep(ledger_a, on_hints, NULL));
    assert_string_equal(
        sql("SELECT concat_ws(' ', id = '%s', status, error->>'kind') FROM outcomes",
            text_of(brief.id)),
        "t 5 expired");
    assert_int_equal(sql_int("SELECT count(*) FROM active"), 1);
}

/* A start has its time, whichever it is: what would come too late for the first does so for the
 * next. */
static void a_retry_past_the_expiry_is_not_made(void **state)
{
    (void)state;
    struct submission brief = submission_of("greet");
    brief.expires_us = 3600000000;
    brief.retry.max = 1;
    insert_one(&brief);
    struct ident owner = worker_living("w");
    struct finish again = finish_of(brief.id, started_by(&owner, brief.id, 0), TASK_RETRY);
    assert_int_equal(finish_one(&owner, &again).verdict, FINISH_DONE);
    sql("UPDATE active SET expires_at = now()");
    assert_int_equal(start_one(&owner, brief.id, 1, ident_random()).verdict, START_NOT_DUE);
    AWAIT(ledger_sweep(ledger_a, on_hints, NULL));
    assert_string_equal(
        sql("SELECT concat_ws(' ', status, attempt, error->>'message') FROM outcomes"),
        "5 1 it expired while it waited to start");
}

static void a_task_that_nobody_carries_ends_after_the_grace(void **state)
{
    (void)state;
    insert_named("greet");
    struct ident lost = insert_named("lost");
    AWAIT(ledger_unknown(ledger_a, 0, 1000, on_plain, NULL));
    assert_int_equal(answer.count, 0); /* no worker serves the queue */
    worker_living("w");
    AWAIT(ledger_unknown(ledger_a, 3600000000, 1000, on_plain, NULL));
    assert_int_equal(answer.count, 0); /* it does, but not for long enough */
    AWAIT(ledger_unknown(ledger_a, 0, 1000, on_plain, NULL));
    assert_int_equal(answer.count, 1);
    assert_string_equal(
        sql("SELECT concat_ws(' ', id = '%s', status, error->>'kind') FROM outcomes",
            text_of(lost)),
        "t 4 unknown_task");
}

/* Retried by an operator and again carried by nobody: it ends at the same start as before, while
 * the hook of the first end is still owed. */
static void each_round_that_ends_unknown_owes_its_hook(void **state)
{
    static const char entry[] = "{\"entries\":[{\"name\":\"lost\",\"hooks\":[\"failure\"]}]}";
    const char *const lost[] = { "lost", NULL };
    (void)state;
    AWAIT(ledger_catalogue_publish(ledger_a, &nobody, entry, strlen(entry), on_plain, NULL));
    struct ident one = worker_living("one"), id = insert_named("lost");
    AWAIT(ledger_unknown(ledger_a, 0, 1000, on_plain, NULL));
    AWAIT(ledger_unknown(ledger_a, 0, 1000, on_plain, NULL));
    AWAIT(ledger_retry(ledger_a, &id, 1, "test", on_operate, NULL));
    AWAIT(ledger_unknown(ledger_a, 0, 1000, on_plain, NULL));
    assert_int_equal(answer.count, 1);
    AWAIT(ledger_hooks_take(ledger_a, &one, lost, 10, false, on_json, NULL));
    assert_string_equal(field("0,event"), "failure");
    assert_string_equal(field("1,event"), "failure");
    AWAIT(ledger_hook_done(ledger_a, &id, 0, "failure", on_plain, NULL));
    assert_int_equal(sql_int("SELECT count(*) FROM hooks_owed"), 1);
    AWAIT(ledger_hook_done(ledger_a, &id, 0, "failure", on_plain, NULL));
    assert_int_equal(sql_int("SELECT count(*) FROM hooks_owed"), 0);
}

static void a_hook_is_taken_by_one_and_again_when_it_dies(void **state)
{
    (void)state;
    struct ident one = worker_living("one"), two = worker_living("two");
    struct ident id = insert_named("greet"), claim = started_by(&one, id, 0);
    struct finish finish = finish_of(id, claim, TASK_FAILURE);
    finish.hook = "failure";
    finish_one(&one, &finish);
    const char *const greet[] = { "greet", NULL }, *const other[] = { "other", NULL };
    AWAIT(ledger_hooks_take(ledger_a, &two, greet, 10, false, on_json, NULL));
    assert_string_equal(answer.json, "[]"); /* one is alive and runs it */
    release(one, nobody, DEATH_LOST);
    AWAIT(ledger_hooks_take(ledger_a, &two, other, 10, false, on_json, NULL));
    assert_string_equal(answer.json, "[]");
    AWAIT(ledger_hooks_take(ledger_a, &two, greet, 10, false, on_json, NULL));
    assert_string_equal(field("0,id"), text_of(id));
    assert_string_equal(field("0,event"), "failure");
    assert_string_equal(field("0,error,message"), "boom");
    assert_string_equal(field("0,failures"), "1");
    assert_string_equal(field("0,parameters,message"), "hi");
    AWAIT(ledger_hooks_take(ledger_a, &two, greet, 10, false, on_json, NULL));
    assert_string_equal(answer.json, "[]");
    AWAIT(ledger_hook_done(ledger_a, &id, 1, "failure", on_plain, NULL));
    assert_int_equal(answer.count, 1);
    assert_int_equal(sql_int("SELECT count(*) FROM hooks_owed"), 0);
}

/* The process died with the hook on the CPU, or was killed since the hook did not yield. Its task
 * is final, and nobody else pays. */
static void a_hook_that_ends_its_process_is_given_up(void **state)
{
    static const char entry[] = "{\"entries\":[{\"name\":\"greet\",\"version\":\"a\"}]}";
    const char *const greet[] = { "greet", NULL };
    (void)state;
    AWAIT(ledger_catalogue_publish(ledger_a, &nobody, entry, strlen(entry), on_plain, NULL));
    struct ident owner = worker_living("w"),
                 ids[] = { insert_named("greet"), insert_named("greet") };
    struct ident hook = started_by(&owner, ids[0], 0);
    started_by(&owner, ids[1], 0); /* a bystander */
    struct finish finish = finish_of(ids[0], hook, TASK_FAILURE);
    finish.hook = "failure";
    finish_one(&owner, &finish);
    for (int losses = 1; losses <= 3; losses++) {
        release(owner, hook, DEATH_LOST);
        release(owner, hook, DEATH_LOST); /* repeated */
        owner = worker_living("w");
        AWAIT(ledger_hooks_take(ledger_a, &owner, greet, 10, false, on_json, NULL));
        assert_string_equal(field("0,is_given_up"), losses < 3 ? "false" : "true");
        assert_true(ident_parse(field("0,claim"), &hook));
    }
    sql("UPDATE hooks_owed SET losses = 0");
    release(owner, nobody, DEATH_LOST); /* nobody was on the CPU */
    owner = worker_living("w");
    AWAIT(ledger_hooks_take(ledger_a, &owner, greet, 10, false, on_json, NULL));
    assert_string_equal(field("0,is_given_up"), "false");
    assert_true(ident_parse(field("0,claim"), &hook));
    release(owner, hook, DEATH_TIMEOUT); /* it had its time */
    AWAIT(ledger_hooks_take(ledger_a, &owner, greet, 10, false, on_json, NULL));
    assert_string_equal(field("0,is_given_up"), "true");
    assert_string_equal(sql("SELECT concat_ws(' ', status, failures, losses) FROM outcomes"),
                        "4 1 0");
    assert_string_equal(sql("SELECT concat_ws(' ', status, failures, losses) FROM active"),
                        "0 0 0");
    assert_string_equal(sql("SELECT blocked_version FROM catalogue"), "a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(a_heartbeat_brings_what_a_supervisor_must_know),
        LEDGER_TEST(a_living_name_cannot_be_taken_twice),
        LEDGER_TEST(the_culprit_pays_and_bystanders_do_not),
        LEDGER_TEST(losses_end_when_their_budget_is_spent),
        LEDGER_TEST(a_culprit_by_timeout_spends_a_failure),
        LEDGER_TEST(max_losses_zero_never_runs_twice),
        LEDGER_TEST(max_losses_zero_makes_a_release_final),
        LEDGER_TEST(a_pending_cancel_makes_a_release_final),
        LEDGER_TEST(the_keeper_declares_dead_only_what_stood_still),
        LEDGER_TEST(a_death_after_that_of_its_supervisor_is_unwitnessed),
        LEDGER_TEST(sweep_releases_what_a_dead_owner_started_late),
        LEDGER_TEST(what_its_owner_does_not_know_of_goes_back_uncharged),
        LEDGER_TEST(the_tenth_unwitnessed_release_is_the_last),
        LEDGER_TEST(sweep_ends_what_expired_before_it_was_started),
        LEDGER_TEST(a_retry_past_the_expiry_is_not_made),
        LEDGER_TEST(a_task_that_nobody_carries_ends_after_the_grace),
        LEDGER_TEST(each_round_that_ends_unknown_owes_its_hook),
        LEDGER_TEST(a_hook_is_taken_by_one_and_again_when_it_dies),
        LEDGER_TEST(a_hook_that_ends_its_process_is_given_up),
    };
    return cmocka_run_group_tests(tests, ledger_server_start, ledger_server_stop);
}
