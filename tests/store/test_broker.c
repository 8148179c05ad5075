/* What the broker promises, against a real Redis. Time is moved by editing the lease set through a
 * raw connection, never by sleeping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "broker/broker.h"
#include "io/redis.h"
#include "support/servers.h"

#define PATIENCE_US 20000000
#define NOW_US      INT64_C(1790000000000000)
#define HINTS_MOST  100

struct fixture {
    struct loop loop;
    struct test_redis *server;
    struct broker *broker;
    struct redis *raw;
    int connected, lost;
    struct ident runner, other_runner;
    uint64_t kin; /* of the runners */

    int ended; /* completions */
    enum err_code code;
    char text[1000];

    struct hint hints[HINTS_MOST]; /* of the last claim */
    size_t count;
    bool more;
    char epoch[64];
    bool present[16];
    struct broker_queue queues[8];
    size_t queue_count;
    int64_t claimed;
    int64_t integer; /* of the last raw command */

    int heard; /* messages */
    char last[256];
};

static void on_connected(void *arg) { ((struct fixture *)arg)->connected++; }
static void on_lost(void *arg, const struct err *why)
{
    (void)why;
    ((struct fixture *)arg)->lost++;
}

static void hear(struct fixture *at, const char *kind, const char *text)
{
    size_t len = strlen(at->last);
    snprintf(at->last + len, sizeof at->last - len, "%s:%s ", kind, text);
    at->heard++;
}
static void on_wake(void *arg, const char *queue) { hear(arg, "wake", queue ? queue : "all"); }
static void on_keeper(void *arg, int64_t run_at_us)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, run_at_us);
    hear(arg, "keeper", text);
}
static void on_cancel(void *arg, const struct ident *id)
{
    char text[IDENT_TEXT_SIZE];
    ident_text(id, text);
    hear(arg, "cancel", text);
}
static void on_event(void *arg, const char *line, size_t len)
{
    char text[64];
    snprintf(text, sizeof text, "%.*s", (int)len, line);
    hear(arg, "event", text);
}

static void turn_until(struct fixture *at, const int *counter, int value)
{
    int64_t end_us = clock_boot_us() + PATIENCE_US;
    while (*counter < value) {
        if (clock_boot_us() > end_us) fail_msg("waited in vain for %d, have %d", value, *counter);
        loop_turn(&at->loop, true);
    }
}

static void ended(struct fixture *at, const struct err *err)
{
    at->ended++;
    at->code = err ? err->code : ERR_NONE;
    snprintf(at->text, sizeof at->text, "%s", err ? err->text : "");
}

static void await(struct fixture *at) { turn_until(at, &at->ended, at->ended + 1); }

static void expect_ok(struct fixture *at)
{
    await(at);
    if (at->code != ERR_NONE) fail_msg("%s", at->text);
}

static int set_up(void **state)
{
    struct fixture *at = xcalloc(1, sizeof *at);
    loop_init(&at->loop);
    at->server = test_redis_start();
    at->runner = ident_random();
    at->other_runner = ident_random();
    struct redis_target target = { .unix_path = (char *)(uintptr_t)test_redis_socket(at->server) };
    struct broker_hooks hooks = {
        at, on_connected, on_lost, on_wake, on_keeper, on_cancel, on_event
    };
    at->broker = broker_new(&at->loop, &target, "t", &hooks);
    at->raw = redis_new(&at->loop, &target, &(struct redis_hooks){ .arg = at });
    turn_until(at, &at->connected, 1);
    *state = at;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *at = *state;
    broker_free(at->broker);
    redis_free(at->raw);
    loop_close(&at->loop);
    test_redis_stop(at->server);
    free(at);
    return 0;
}

/* ---- the verbs, made to wait ---- */

static void on_raw(void *arg, const struct redis_reply *reply, const struct err *err)
{
    struct fixture *at = arg;
    at->integer = reply ? reply->integer : -1;
    ended(at, err);
}

static int64_t raw(struct fixture *at, const char *const *argv)
{
    struct redis_command command = { .argv = argv, .wait_for_connection = true };
    while (argv[command.argc]) command.argc++;
    redis_send(at->raw, &command, on_raw, at);
    expect_ok(at);
    return at->integer;
}
#define RAW(at, ...) raw(at, (const char *const[]){ __VA_ARGS__, NULL })

static void on_done(void *arg, const struct err *err) { ended(arg, err); }

#define ALONE "default/isolated"

static struct hint hint_of(uint8_t n, const char *queue, int priority, int64_t ready_us, int starts)
{
    struct hint hint = { .starts = starts, .priority = (int16_t)priority, .ready_us = ready_us };
    memset(hint.id.bytes, 0, sizeof hint.id.bytes); /* binary: zero bytes must survive */
    hint.id.bytes[15] = n;
    snprintf(hint.queue, sizeof hint.queue, "%s", queue);
    return hint;
}

static struct hint plain(uint8_t n) { return hint_of(n, "default", 5, NOW_US, 0); }

static void push(struct fixture *at, struct hint hint)
{
    broker_push(at->broker, &hint, 1, on_done, at);
    expect_ok(at);
}

static void on_claimed(void *arg, const struct broker_claimed *claimed, const struct err *err)
{
    struct fixture *at = arg;
    assert_true(!claimed == !!err);
    at->count = 0;
    if (claimed) {
        at->count = claimed->count;
        at->more = claimed->more;
        memcpy(at->hints, claimed->hints, claimed->count * sizeof at->hints[0]);
        snprintf(at->epoch, sizeof at->epoch, "%s", claimed->epoch);
    }
    ended(at, err);
}

static void start_claim(struct fixture *at, const struct ident *runner, struct ident token, int max,
                        const char *const *queues)
{
    struct broker_claim claim = { runner, &token, queues, max, at->kin };
    broker_claim(at->broker, &claim, on_claimed, at);
}

/* Gives the token. */
static struct ident claim_from(struct fixture *at, int max, const char *const *queues)
{
    struct ident token = ident_random();
    start_claim(at, &at->runner, token, max, queues);
    expect_ok(at);
    return token;
}
#define QUEUES(...) ((const char *const[]){ __VA_ARGS__, NULL })
static struct ident claim(struct fixture *at, int max)
{
    return claim_from(at, max, QUEUES("default"));
}

static void settle(struct fixture *at, uint8_t n, struct ident token, bool drop,
                   int64_t not_before_us)
{
    struct broker_settle one = { plain(n).id, token, drop, not_before_us, 0, NULL };
    broker_settle(at->broker, &one, 1, on_done, at);
    expect_ok(at);
}

/* Every lease runs out now. */
static void let_leases_expire(struct fixture *at)
{
    RAW(at, "EVAL",
        "for _, id in ipairs(redis.call('ZRANGE', '{t}:lease', 0, -1)) do "
        "redis.call('ZADD', '{t}:lease', 1, id) end return 0",
        "0");
}

static void assert_claimed(const struct fixture *at, const char *wanted)
{
    char have[256] = "";
    for (size_t i = 0; i < at->count; i++)
        snprintf(have + strlen(have), sizeof have - strlen(have), "%s%d", i ? " " : "",
                 at->hints[i].id.bytes[15]);
    assert_string_equal(have, wanted);
}

static void assert_nothing_left(struct fixture *at)
{
    assert_int_equal(RAW(at, "EXISTS", "{t}:q:default", "{t}:starts", "{t}:claimed", "{t}:lease"),
                     0);
}

/* ---- order ---- */

static void hints_come_by_priority_then_time_then_id(void **state)
{
    struct fixture *at = *state;
    struct hint hints[] = {
        hint_of(6, "default", 0, NOW_US - 1000000, 0), hint_of(5, "default", 5, NOW_US + 2000, 0),
        hint_of(3, "default", 5, NOW_US, 0),           hint_of(4, "default", 5, NOW_US + 1000, 0),
        hint_of(2, "default", 5, NOW_US + 999, 0),     hint_of(1, "default", 10, NOW_US * 2, 7),
    };
    broker_push(at->broker, hints, COUNT_OF(hints), on_done, at);
    expect_ok(at);
    claim(at, 100);
    assert_claimed(at, "1 2 3 4 5 6");
    assert_false(at->more);
    assert_int_equal(at->hints[0].priority, 10);
    assert_int_equal(at->hints[0].ready_us, NOW_US * 2);
    assert_int_equal(at->hints[0].starts, 7);
    assert_int_equal(at->hints[5].priority, 0);
    assert_int_equal(at->hints[5].ready_us, NOW_US - 1000000);
    assert_int_equal(at->hints[5].starts, 0);
    assert_string_equal(at->hints[5].queue, "default");
    assert_memory_equal(at->hints[5].id.bytes, hints[0].id.bytes, 16);
}

static void queues_are_served_strictly_in_order(void **state)
{
    struct fixture *at = *state;
    push(at, hint_of(1, "low", 10, NOW_US, 0));
    push(at, hint_of(2, "high", 0, NOW_US, 0));
    push(at, hint_of(3, "high", 0, NOW_US + 1000, 0));
    claim_from(at, 1, QUEUES("empty", "high", "low"));
    assert_claimed(at, "2");
    assert_true(at->more);
    claim_from(at, 10, QUEUES("empty", "high", "low"));
    assert_claimed(at, "3 1");
    assert_string_equal(at->hints[1].queue, "low");
    assert_false(at->more);
}

static void an_empty_answer_is_a_success(void **state)
{
    struct fixture *at = *state;
    claim(at, 10);
    assert_int_equal(at->count, 0);
    assert_false(at->more);
    assert_string_equal(at->epoch, "");
}

static void little_work_is_shared_among_the_live_runners(void **state)
{
    struct fixture *at = *state;
    for (uint8_t n = 1; n <= 5; n++) push(at, plain(n));
    start_claim(at, &at->other_runner, ident_random(), 1, QUEUES("nothing"));
    expect_ok(at);
    push(at, hint_of(9, "low", 5, NOW_US, 0));
    claim_from(at, 100, QUEUES("default", "low")); /* two live: half of five */
    assert_claimed(at, "1 2 3");                   /* and nothing of low while default holds more */
    assert_true(at->more);
    RAW(at, "ZADD", "{t}:runners", "1", "somebody of long ago");
    claim(at, 100);
    assert_claimed(at, "4");
    claim(at, 100);
    assert_claimed(at, "5");
}

/* ---- push ---- */

static void a_push_replaces_an_older_hint_and_an_older_push_does_nothing(void **state)
{
    struct fixture *at = *state;
    push(at, hint_of(1, "default", 5, NOW_US, 1));
    push(at, hint_of(1, "default", 7, NOW_US, 2));
    push(at, hint_of(1, "default", 5, NOW_US, 1));
    push(at, hint_of(1, "default", 7, NOW_US, 2)); /* a duplicate */
    struct ident token = claim(at, 10);
    assert_claimed(at, "1");
    assert_int_equal(at->hints[0].starts, 2);
    assert_int_equal(at->hints[0].priority, 7);
    settle(at, 1, token, true, 0);
    assert_nothing_left(at);
}

static void a_count_without_its_hint_does_not_stop_a_push(void **state)
{
    struct fixture *at = *state;
    push(at, hint_of(1, "default", 5, NOW_US, 9));
    RAW(at, "DEL", "{t}:q:default");
    push(at, plain(1)); /* the ledger was restored to an older state */
    struct ident token = claim(at, 10);
    assert_claimed(at, "1");
    assert_int_equal(at->hints[0].starts, 0);
    settle(at, 1, token, true, 0);
    assert_nothing_left(at);
}

static void a_claimed_hint_is_left_alone_unless_the_push_is_newer(void **state)
{
    struct fixture *at = *state;
    push(at, hint_of(1, "default", 5, NOW_US, 1));
    struct ident old = claim(at, 10);
    push(at, hint_of(1, "default", 5, NOW_US, 1));
    push(at, plain(1));
    claim(at, 10);
    assert_int_equal(at->count, 0);
    push(at, hint_of(1, "default", 5, NOW_US, 2));
    settle(at, 1, old, true, 0); /* too late: touches nothing */
    struct ident fresh = claim(at, 10);
    assert_claimed(at, "1");
    assert_int_equal(at->hints[0].starts, 2);
    settle(at, 1, old, true, 0);
    assert_int_equal(RAW(at, "HLEN", "{t}:claimed"), 1);
    settle(at, 1, fresh, true, 0);
    assert_nothing_left(at);
}

/* As many as a runner that died may leave behind. */
static void any_number_of_hints_goes_in_one_push(void **state)
{
    struct fixture *at = *state;
    struct hint *hints = xcalloc(10500, sizeof *hints);
    for (int i = 0; i < 10500; i++) {
        hints[i] = hint_of(0, i % 2 ? "a" : "b", 5, NOW_US, i % 3);
        hints[i].id.bytes[0] = (uint8_t)(i / 256), hints[i].id.bytes[1] = (uint8_t)i;
    }
    broker_push(at->broker, hints, 10500, on_done, at);
    expect_ok(at);
    assert_int_equal(at->ended, 1);
    assert_int_equal(RAW(at, "ZCARD", "{t}:q:a"), 5250);
    assert_int_equal(RAW(at, "ZCARD", "{t}:q:b"), 5250);
    free(hints);
}

/* ---- leases and settling ---- */

static void an_expired_lease_returns_its_hint_and_the_old_token_is_worthless(void **state)
{
    struct fixture *at = *state;
    push(at, hint_of(1, "default", 8, NOW_US, 3));
    struct ident old = claim(at, 10);
    claim(at, 10);
    assert_int_equal(at->count, 0);
    let_leases_expire(at);
    struct ident fresh = claim(at, 10);
    assert_claimed(at, "1");
    assert_int_equal(at->hints[0].starts, 3);
    assert_int_equal(at->hints[0].priority, 8);
    assert_int_equal(at->hints[0].ready_us, NOW_US);
    settle(at, 1, old, true, 0);
    settle(at, 1, old, false, 0);
    claim(at, 10);
    assert_int_equal(at->count, 0);
    assert_int_equal(RAW(at, "HLEN", "{t}:claimed"), 1);
    settle(at, 1, fresh, true, 0);
    assert_nothing_left(at);
}

/* As if Redis' clock had been an hour ahead, and was set right. */
static void what_was_noted_by_a_clock_that_is_set_back_is_over(void **state)
{
    struct fixture *at = *state;
    at->kin = 7;
    for (uint8_t n = 1; n <= 3; n++) push(at, plain(n));
    struct ident token = claim(at, 3);
    settle(at, 2, token, false, 5000000);
    struct broker_settle not_mine = { plain(3).id, token, false, 0, 7, NULL };
    broker_settle(at->broker, &not_mine, 1, on_done, at);
    expect_ok(at);
    assert_int_equal(RAW(at, "EVAL",
                         "for _, key in ipairs({ '{t}:lease', '{t}:skip:7', '{t}:runners' }) do "
                         "for _, id in ipairs(redis.call('ZRANGE', key, 0, -1)) do "
                         "redis.call('ZINCRBY', key, 3600000, id) end end return 0",
                         "0"),
                     0);
    start_claim(at, &at->other_runner, ident_random(), 3, QUEUES("default"));
    expect_ok(at);
    assert_claimed(at, "1 2 3"); /* nobody else counts as live */
}

static void the_lease_is_ten_seconds(void **state)
{
    struct fixture *at = *state;
    push(at, plain(1));
    claim(at, 1);
    int64_t left_ms = RAW(at, "EVAL",
                          "local t = redis.call('TIME') return "
                          "redis.call('ZRANGE', '{t}:lease', 0, 0, 'WITHSCORES')[2] - t[1] * 1000",
                          "0");
    assert_in_range(left_ms, 5000, 11000);
}

static void a_hint_put_back_waits_for_its_time(void **state)
{
    struct fixture *at = *state;
    push(at, hint_of(1, "default", 8, NOW_US, 3));
    struct ident token = claim(at, 10);
    settle(at, 1, token, false, 5000000);
    settle(at, 1, token, true, 0); /* no longer held */
    claim(at, 10);
    assert_int_equal(at->count, 0);
    push(at, hint_of(1, "default", 8, NOW_US, 3));
    claim(at, 10);
    assert_int_equal(at->count, 0);
    let_leases_expire(at);
    token = claim(at, 10);
    assert_claimed(at, "1");
    assert_int_equal(at->hints[0].starts, 3);
    settle(at, 1, token, false, 0); /* at once */
    token = claim(at, 10);
    assert_claimed(at, "1");
    settle(at, 1, token, true, 0);
    assert_nothing_left(at);
}

/* Back for others at once, past its kin, which reaches what lies behind. */
static void a_hint_that_is_not_mine_is_left_to_others(void **state)
{
    struct fixture *at = *state;
    at->kin = 7;
    for (uint8_t n = 0; n < 3; n++) push(at, plain(n));
    struct ident token = claim(at, 2);
    struct broker_settle settles[] = { { plain(0).id, token, false, 0, 7, NULL },
                                       { plain(1).id, token, false, 0, 7, NULL } };
    broker_settle(at->broker, settles, 2, on_done, at);
    expect_ok(at);
    assert_int_equal(RAW(at, "ZCARD", "{t}:q:default"), 3);
    claim(at, 2);
    assert_claimed(at, "2");
    assert_false(at->more);
    claim(at, 2);
    assert_claimed(at, "");
    at->kin = 8;
    claim(at, 3);
    assert_claimed(at, "0 1");
    assert_in_range(RAW(at, "PTTL", "{t}:skip:7"), 1, 4000);
}

static void forgetting_removes_waiting_and_claimed_hints(void **state)
{
    struct fixture *at = *state;
    push(at, hint_of(1, "default", 5, NOW_US, 4));
    claim(at, 10);
    push(at, hint_of(2, "default", 5, NOW_US, 4));
    struct hint gone[] = { hint_of(1, "default", 5, NOW_US, 4), hint_of(2, "default", 5, NOW_US, 4),
                           hint_of(3, "other", 5, NOW_US, 4) };
    broker_forget(at->broker, gone, 3, on_done, at);
    expect_ok(at);
    assert_nothing_left(at);
}

/* Cancelled, retried, and the cancel comes last to Redis. The start may have the same number. */
static void a_late_forgetting_leaves_the_newer_hint(void **state)
{
    struct fixture *at = *state;
    struct hint gone[] = { plain(1), plain(2), plain(3) };
    push(at, hint_of(3, "default", 5, NOW_US + 1000, 0));
    claim(at, 1);
    push(at, hint_of(1, "default", 5, NOW_US + 1000, 0));
    push(at, hint_of(2, ALONE, 5, NOW_US, 1));
    broker_forget(at->broker, gone, 3, on_done, at);
    expect_ok(at);
    assert_int_equal(RAW(at, "HLEN", "{t}:claimed"), 1);
    claim(at, 10);
    assert_claimed(at, "1");
    claim_from(at, 10, QUEUES(ALONE));
    assert_claimed(at, "2");
}

/* ---- the keeper's questions ---- */

static void on_present(void *arg, const bool *present, size_t count, const struct err *err)
{
    struct fixture *at = arg;
    if (!err) memcpy(at->present, present, count * sizeof *present);
    ended(at, err);
}

static void present_tells_waiting_claimed_and_parked_from_absent(void **state)
{
    struct fixture *at = *state;
    push(at, plain(1));
    push(at, plain(2));
    struct ident token = claim(at, 2);
    settle(at, 2, token, false, 3600000000);
    push(at, plain(3));
    push(at, hint_of(4, "default", 5, NOW_US, 1));
    struct hint asked[] = { plain(1),
                            plain(2),
                            plain(3),
                            plain(5),
                            hint_of(4, "default", 5, NOW_US, 1),
                            hint_of(4, "default", 5, NOW_US, 2),
                            hint_of(3, "other", 5, NOW_US, 0) };
    broker_present(at->broker, asked, COUNT_OF(asked), on_present, at);
    expect_ok(at);
    bool wanted[] = { true, true, true, false, true, false, false };
    assert_memory_equal(at->present, wanted, sizeof wanted);
}

static void on_counts(void *arg, const struct broker_queue *queues, size_t count, int64_t claimed,
                      const struct err *err)
{
    struct fixture *at = arg;
    at->queue_count = count;
    at->claimed = claimed;
    if (count > 0) memcpy(at->queues, queues, count * sizeof *queues);
    ended(at, err);
}

static const struct broker_queue *counts_of(struct fixture *at, const char *name)
{
    broker_counts(at->broker, on_counts, at);
    expect_ok(at);
    for (size_t i = 0; i < at->queue_count; i++)
        if (strcmp(at->queues[i].name, name) == 0) return &at->queues[i];
    fail_msg("no queue %s", name);
    return NULL;
}

static void pause_queues(struct fixture *at, const char *const *queues, size_t count)
{
    broker_set_paused(at->broker, queues, count, on_done, at);
    expect_ok(at);
}

static void a_paused_queue_is_passed_over(void **state)
{
    struct fixture *at = *state;
    push(at, plain(1));
    push(at, hint_of(2, "other", 5, NOW_US, 0));
    pause_queues(at, QUEUES("default", "unheard-of"), 2);
    claim_from(at, 10, QUEUES("default", "other"));
    assert_claimed(at, "2");
    assert_false(at->more);
    assert_true(counts_of(at, "default")->paused);
    assert_int_equal(counts_of(at, "default")->hints, 1);
    assert_int_equal(counts_of(at, "unheard-of")->hints, 0);
    assert_false(counts_of(at, "other")->paused);
    assert_int_equal(at->claimed, 1);
    pause_queues(at, NULL, 0);
    claim_from(at, 10, QUEUES("default", "other"));
    assert_claimed(at, "1");
}

/* ---- tasks that run in processes of their own ---- */

static void an_isolated_list_is_a_part_of_its_queue(void **state)
{
    struct fixture *at = *state;
    push(at, plain(1));
    push(at, hint_of(2, ALONE, 5, NOW_US, 0));
    assert_int_equal(counts_of(at, "default")->hints, 2);
    assert_int_equal(at->queue_count, 1);
    pause_queues(at, QUEUES("default"), 1);
    claim_from(at, 10, QUEUES(ALONE));
    assert_claimed(at, "");
    pause_queues(at, NULL, 0);
    claim_from(at, 10, QUEUES(ALONE));
    assert_claimed(at, "2");
    assert_string_equal(at->hints[0].queue, ALONE);
    claim(at, 10);
    assert_claimed(at, "1");
}

static void a_push_takes_the_hint_out_of_the_other_list(void **state)
{
    struct fixture *at = *state;
    push(at, plain(1));
    push(at, hint_of(1, ALONE, 5, NOW_US, 0));
    claim(at, 10);
    assert_claimed(at, "");
    push(at, plain(1));
    claim_from(at, 10, QUEUES(ALONE));
    assert_claimed(at, "");
    push(at, hint_of(1, ALONE, 5, NOW_US, 3));
    push(at, plain(1)); /* an older start */
    claim(at, 10);
    assert_claimed(at, "");
    struct hint gone = hint_of(1, "default", 5, NOW_US, 3);
    broker_forget(at->broker, &gone, 1, on_done, at);
    expect_ok(at);
    assert_nothing_left(at);
    assert_int_equal(RAW(at, "EXISTS", "{t}:q:" ALONE), 0);
}

static void a_hint_in_the_wrong_list_moves_at_its_rank(void **state)
{
    struct fixture *at = *state;
    broker_listen(at->broker, BROKER_WAKE_ISOLATED);
    turn_until(at, &at->heard, 1);
    push(at, hint_of(2, ALONE, 5, NOW_US + 1000, 0));
    turn_until(at, &at->heard, 2);
    push(at, hint_of(1, "default", 5, NOW_US, 4));
    struct broker_settle move = { .id = plain(1).id, .token = claim(at, 1), .move_to = ALONE };
    broker_settle(at->broker, &move, 1, on_done, at);
    expect_ok(at);
    turn_until(at, &at->heard, 3);
    assert_string_equal(at->last, "wake:all wake:" ALONE " wake:" ALONE " ");
    claim(at, 10);
    assert_claimed(at, "");
    claim_from(at, 10, QUEUES(ALONE));
    assert_claimed(at, "1 2");
    assert_int_equal(at->hints[0].starts, 4);
}

static void on_epoch(void *arg, const char *epoch, const struct err *err)
{
    struct fixture *at = arg;
    if (!err) snprintf(at->epoch, sizeof at->epoch, "%s", epoch);
    ended(at, err);
}

static void an_epoch_is_not_set_when_redis_lost_data_since_it_was_begun(void **state)
{
    struct fixture *at = *state;
    broker_epoch_begin(at->broker, "e1", on_done, at);
    expect_ok(at);
    RAW(at, "FLUSHALL");
    broker_epoch_set(at->broker, "e1", on_done, at);
    await(at);
    assert_int_equal(at->code, ERR_CONFLICT);
    broker_epoch_get(at->broker, on_epoch, at);
    expect_ok(at);
    assert_string_equal(at->epoch, "");
}

static void the_epoch_is_missing_when_redis_lost_its_data(void **state)
{
    struct fixture *at = *state;
    broker_epoch_begin(at->broker, "e1", on_done, at);
    expect_ok(at);
    broker_epoch_set(at->broker, "e1", on_done, at);
    expect_ok(at);
    claim(at, 1);
    assert_string_equal(at->epoch, "e1");
    broker_epoch_get(at->broker, on_epoch, at);
    expect_ok(at);
    assert_string_equal(at->epoch, "e1");
    RAW(at, "FLUSHALL");
    claim(at, 1);
    assert_string_equal(at->epoch, "");
    broker_epoch_get(at->broker, on_epoch, at);
    expect_ok(at);
    assert_string_equal(at->epoch, "");
}

/* ---- messages ---- */

static void messages_arrive_and_a_new_subscription_says_look(void **state)
{
    struct fixture *at = *state;
    broker_listen(at->broker, BROKER_WAKE | BROKER_KEEPER | BROKER_CANCEL | BROKER_EVENTS);
    turn_until(at, &at->heard, 3);
    assert_string_equal(at->last, "wake:all keeper:0 event: ");
    at->last[0] = '\0';
    struct hint hints[] = { plain(1), plain(2), hint_of(3, "other", 5, NOW_US, 0) };
    struct ident id = plain(9).id;
    broker_push(at->broker, hints, 3, on_done, at); /* a first EVALSHA is repeated: wait for it */
    expect_ok(at);
    broker_wake_keeper(at->broker, NOW_US);
    broker_announce_cancel(at->broker, &id);
    broker_publish_events(at->broker, "{\"a\":1}\n{\"b\":2}\n", 16);
    turn_until(at, &at->heard, 9);
    assert_string_equal(at->last, "wake:default wake:other keeper:1790000000000000 "
                                  "cancel:00000000-0000-0000-0000-000000000009 "
                                  "event:{\"a\":1} event:{\"b\":2} ");
    at->last[0] = '\0';
    test_redis_restart(at->server);
    turn_until(at, &at->heard, 12);
    assert_string_equal(at->last, "wake:all keeper:0 event: ");
}

static void only_what_was_asked_for_is_heard_and_more_can_be_asked_for(void **state)
{
    struct fixture *at = *state;
    broker_listen(at->broker, BROKER_WAKE);
    turn_until(at, &at->heard, 1);
    broker_wake_keeper(at->broker, 5);
    push(at, plain(1));
    turn_until(at, &at->heard, 2);
    assert_string_equal(at->last, "wake:all wake:default ");
    broker_listen(at->broker, BROKER_KEEPER);
    turn_until(at, &at->heard, 4);
    broker_wake_keeper(at->broker, 5);
    turn_until(at, &at->heard, 5);
    assert_non_null(strstr(at->last, "keeper:5"));
}

/* ---- troubles ---- */

static void a_flushed_script_cache_costs_nothing(void **state)
{
    struct fixture *at = *state;
    push(at, plain(1));
    RAW(at, "SCRIPT", "FLUSH");
    struct ident token = claim(at, 1);
    assert_claimed(at, "1");
    RAW(at, "SCRIPT", "FLUSH");
    settle(at, 1, token, true, 0);
    assert_nothing_left(at);
}

static void keys_of_a_wrong_type_are_an_error_that_loses_nothing(void **state)
{
    struct fixture *at = *state;
    const char *const planted[] = { "{t}:q:other", "{t}:starts",  "{t}:claimed",
                                    "{t}:lease",   "{t}:runners", "{t}:paused" };
    for (size_t i = 0; i < COUNT_OF(planted); i++) {
        RAW(at, "FLUSHALL");
        push(at, plain(1));
        RAW(at, "SET", planted[i], "nonsense");
        start_claim(at, &at->runner, ident_random(), 10, QUEUES("default", "other"));
        await(at);
        assert_int_equal(at->code, ERR_INTERNAL);
        assert_non_null(strstr(at->text, "WRONGTYPE"));
        assert_int_equal(RAW(at, "ZCARD", "{t}:q:default"), 1);
        struct hint both[] = { plain(2), hint_of(3, "other", 5, NOW_US, 1) };
        broker_push(at->broker, both, 2, on_done, at);
        await(at);
        if (i < 4) {
            assert_int_equal(at->code, ERR_INTERNAL);
            assert_int_equal(RAW(at, "ZCARD", "{t}:q:default"), 1); /* the good half did not go */
        }
        RAW(at, "DEL", planted[i]);
        claim(at, 10);
        assert_int_equal(at->hints[0].id.bytes[15], 1);
    }
}

static void a_queue_that_turned_wrong_keeps_its_claims(void **state)
{
    struct fixture *at = *state;
    push(at, plain(1));
    struct ident token = claim(at, 1);
    RAW(at, "SET", "{t}:q:default", "nonsense");
    struct broker_settle back = { plain(1).id, token, false, 0, 0, NULL };
    broker_settle(at->broker, &back, 1, on_done, at);
    await(at);
    assert_int_equal(at->code, ERR_INTERNAL);
    let_leases_expire(at);
    start_claim(at, &at->runner, ident_random(), 10, QUEUES("other"));
    await(at);
    assert_int_equal(at->code, ERR_INTERNAL);
    assert_int_equal(RAW(at, "HLEN", "{t}:claimed"), 1);
    RAW(at, "DEL", "{t}:q:default");
    claim(at, 1);
    assert_claimed(at, "1");
}

static void members_that_are_no_ids_are_dropped(void **state)
{
    struct fixture *at = *state;
    push(at, plain(1));
    RAW(at, "ZADD", "{t}:q:default", "1", "nonsense");
    claim(at, 10);
    assert_claimed(at, "1");
    assert_int_equal(RAW(at, "HLEN", "{t}:claimed"), 1);
}

static void verbs_fail_at_once_while_redis_is_away_and_work_again_after(void **state)
{
    struct fixture *at = *state;
    test_redis_kill(at->server, SIGKILL);
    turn_until(at, &at->lost, 1);
    assert_false(broker_is_up(at->broker));
    struct hint hint = plain(1);
    broker_push(at->broker, &hint, 1, on_done, at);
    await(at);
    assert_int_equal(at->code, ERR_STORE);
    start_claim(at, &at->runner, ident_random(), 1, QUEUES("default"));
    await(at);
    assert_int_equal(at->code, ERR_STORE);
    test_redis_restart(at->server);
    turn_until(at, &at->connected, 2);
    push(at, plain(1));
    claim(at, 1);
    assert_claimed(at, "1");
    broker_rebuild(at->broker, "a test");
    turn_until(at, &at->connected, 3);
    assert_int_equal(at->lost, 2);
}

static void freeing_ends_what_is_under_way(void **state)
{
    struct fixture *at = *state;
    struct redis_target target = { .unix_path = (char *)(uintptr_t)test_redis_socket(at->server) };
    struct broker *broker = broker_new(&at->loop, &target, "t", &(struct broker_hooks){ 0 });
    broker_check_server(broker, on_done, at);
    broker_counts(broker, on_counts, at);
    broker_free(broker);
    assert_int_equal(at->ended, 2);
    assert_int_equal(at->code, ERR_CANCELLED);
}

static void a_redis_that_may_evict_is_refused(void **state)
{
    struct fixture *at = *state;
    broker_check_server(at->broker, on_done, at);
    expect_ok(at);
    RAW(at, "CONFIG", "SET", "maxmemory-policy", "volatile-lru"); /* our keys have no TTL */
    broker_check_server(at->broker, on_done, at);
    expect_ok(at);
    RAW(at, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    broker_check_server(at->broker, on_done, at);
    await(at);
    assert_int_equal(at->code, ERR_INPUT);
    assert_non_null(strstr(at->text, "maxmemory-policy allkeys-lru"));
    assert_non_null(strstr(at->text, "noeviction"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(hints_come_by_priority_then_time_then_id),
        TEST(queues_are_served_strictly_in_order),
        TEST(an_empty_answer_is_a_success),
        TEST(little_work_is_shared_among_the_live_runners),
        TEST(a_push_replaces_an_older_hint_and_an_older_push_does_nothing),
        TEST(a_count_without_its_hint_does_not_stop_a_push),
        TEST(a_claimed_hint_is_left_alone_unless_the_push_is_newer),
        TEST(any_number_of_hints_goes_in_one_push),
        TEST(an_expired_lease_returns_its_hint_and_the_old_token_is_worthless),
        TEST(what_was_noted_by_a_clock_that_is_set_back_is_over),
        TEST(the_lease_is_ten_seconds),
        TEST(a_hint_put_back_waits_for_its_time),
        TEST(a_hint_that_is_not_mine_is_left_to_others),
        TEST(forgetting_removes_waiting_and_claimed_hints),
        TEST(a_late_forgetting_leaves_the_newer_hint),
        TEST(present_tells_waiting_claimed_and_parked_from_absent),
        TEST(a_paused_queue_is_passed_over),
        TEST(an_isolated_list_is_a_part_of_its_queue),
        TEST(a_push_takes_the_hint_out_of_the_other_list),
        TEST(a_hint_in_the_wrong_list_moves_at_its_rank),
        TEST(an_epoch_is_not_set_when_redis_lost_data_since_it_was_begun),
        TEST(the_epoch_is_missing_when_redis_lost_its_data),
        TEST(messages_arrive_and_a_new_subscription_says_look),
        TEST(only_what_was_asked_for_is_heard_and_more_can_be_asked_for),
        TEST(a_flushed_script_cache_costs_nothing),
        TEST(keys_of_a_wrong_type_are_an_error_that_loses_nothing),
        TEST(a_queue_that_turned_wrong_keeps_its_claims),
        TEST(members_that_are_no_ids_are_dropped),
        TEST(verbs_fail_at_once_while_redis_is_away_and_work_again_after),
        TEST(freeing_ends_what_is_under_way),
        TEST(a_redis_that_may_evict_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
