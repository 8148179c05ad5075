/* test_interrupt.c: Lua that does not yield is stopped at its deadline, in every generation, and
 * the others do not notice. */
#include "unit/script/world.h"

static const char *const endless[] = {
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "local x = 0 for i = 1, 1e18 do x = x + i end",
    "for i = 1, 1e18 do pcall(error, 'x') end",
    "local function f() return pcall(f) end while true do f() end",
    "local t = {} while true do for i = 1, 100 do t[i] = tostring(i) .. 'x' end end",
    "coroutine.wrap(function() while true do pcall(function() for i = 1, 1e9 do end end) end "
    "end)()",
    "table.sort({ 1, 2, 3 }, function(a, b) while true do end end)",
    "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do "
    "co() end",
    "while true do xpcall(function() while true do end end, function() while true do end end) end",
    "while true do xpcall(error, function() while true do end end, 'x') end",
    "xpcall(function() while true do end end, function(m) pcall(function() while true do end end) "
    "end)",
    "local s = 0 while true do s = (s * 1103515245 + 12345) % 2147483648 if s < 0 then break end "
    "end",
};

static void expect_timeout(struct generation *generation, const char *params)
{
    struct story story = { 0 };
    story_start(&story, generation, (struct start){ .timeout_us = 100000, .params = params });
    story_finish(&story);
    if (story.end != END_TIMEOUT) fail_msg("%s: ended with %d", params, (int)story.end);
    assert_non_null(strstr(story.error, "\"message\":\"timed out after 100ms\""));
    assert_true(story.seconds < 5);
    story_close(&story);
    story_start(&story, generation, (struct start){ 0 }); /* the state is as good as before */
    story_finish(&story);
    assert_string_equal(story.result, "\"fine\"");
    story_close(&story);
}

/* A task whose parameter picks the loop. */
static struct generation *endless_generation(void)
{
    struct buf body = BUF_EMPTY;
    buf_add_text(&body, "local loops = {\n");
    for (size_t i = 0; i < COUNT_OF(endless); i++)
        buf_addf(&body, "function() %s end,\n", endless[i]);
    buf_add_text(&body, "}\nif params.warm then for i = 1, 1000 do local s = 0 for j = 1, 1000 do "
                        "s = s + j end end end "
                        "if params.n then loops[params.n]() end return 'fine'");
    struct generation *generation = generation_of_body(body.data);
    buf_close(&body);
    return generation;
}

static void time_out_all(struct generation *generation)
{
    for (size_t i = 1; i <= COUNT_OF(endless); i++) {
        char params[60];
        snprintf(params, sizeof params, "{\"n\":%zu,\"warm\":true}", i);
        expect_timeout(generation, params);
    }
}

static void endless_loops_are_stopped(void **state)
{
    (void)state;
    struct generation *generation = endless_generation();
    time_out_all(generation);
    generation_done(generation);
}

static void they_are_stopped_in_retired_generations_too(void **state)
{
    (void)state;
    enum { SWAPS = 3 };
    struct generation *generations[SWAPS + 1];
    struct story sleepers[SWAPS + 1] = { { 0 } };
    for (int i = 0; i <= SWAPS; i++) {
        generations[i] = endless_generation();
        /* a run that began in this generation and turns wild after the swaps */
        struct start start = { .timeout_us = 100000, .params = "{\"n\":2}" };
        story_start(&sleepers[i], generations[i], start);
        if (i < SWAPS) generation_retire(generations[i]);
    }
    for (int i = 0; i <= SWAPS; i++) {
        story_finish(&sleepers[i]);
        assert_int_equal(sleepers[i].end, END_TIMEOUT);
        story_close(&sleepers[i]);
    }
    time_out_all(generations[SWAPS]);
    generation_done(generations[SWAPS]);
}

/* Without retiring: the newest takes the profiler, the older is interpreted. */
static void two_living_generations_are_both_stopped(void **state)
{
    (void)state;
    struct generation *older = endless_generation();
    expect_timeout(older, "{\"n\":1,\"warm\":true}");
    struct generation *newer = endless_generation();
    time_out_all(older);
    expect_timeout(newer, "{\"n\":2}");
    generation_done(older);
    expect_timeout(newer, "{\"n\":3,\"warm\":true}");
    generation_done(newer);
}

static void a_thousand_sleepers_are_not_disturbed(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static struct story sleepers[COUNT];
    struct generation *generation = generation_of_body(
        "if params.wild then while true do pcall(function() while true do end end) end end "
        "for i = 1, 10 do ctx.sleep(0.02) end return coroutine.wrap(function() ctx.sleep(0) return "
        "params.n end)()");
    for (int i = 0; i < COUNT; i++) {
        char params[40];
        snprintf(params, sizeof params, "{\"n\":%d}", i);
        story_start(&sleepers[i], generation,
                    (struct start){ .params = params, .timeout_us = 2000000 });
    }
    for (int i = 0; i < 3; i++) {
        struct story wild = { 0 };
        story_start(&wild, generation,
                    (struct start){ .params = "{\"wild\":true}", .timeout_us = 100000 });
        story_finish(&wild);
        assert_int_equal(wild.end, END_TIMEOUT);
        story_close(&wild);
    }
    for (int i = 0; i < COUNT; i++) {
        char expected[20];
        snprintf(expected, sizeof expected, "%d", i);
        story_finish(&sleepers[i]);
        if (!sleepers[i].result) fail_msg("%s", sleepers[i].error);
        assert_string_equal(sleepers[i].result, expected);
        story_close(&sleepers[i]);
    }
    generation_done(generation);
}

static void a_deadline_that_passed_in_anothers_slice_is_extended_by_it(void **state)
{
    (void)state;
    struct generation *generation = generation_of_body(
        "if params.wild then while true do end end ctx.sleep(0.05) return 'in time'");
    struct story sleeper = { 0 }, wild = { 0 };
    story_start(&sleeper, generation, (struct start){ .timeout_us = 100000 });
    story_start(&wild, generation,
                (struct start){ .params = "{\"wild\":true}", .timeout_us = 400000 });
    story_finish(&wild);
    story_finish(&sleeper);
    assert_int_equal(wild.end, END_TIMEOUT);
    assert_int_equal(sleeper.end, END_RETURNED);
    story_close(&sleeper);
    story_close(&wild);
    generation_done(generation);
}

static void cancelled_runs_that_compute_are_stopped_after_the_grace(void **state)
{
    (void)state;
    struct generation *generation = generation_of_body("pcall(test.park) while true do end");
    struct story story = { 0 };
    story_start(&story, generation, (struct start){ 0 });
    turn_until(!list_is_empty(&parked));
    run_cancel(story.run);
    story_finish(&story);
    assert_int_equal(story.end, END_CANCELLED);
    assert_true(story.seconds > 4.9 && story.seconds < 6.5);
    story_close(&story);
    generation_done(generation);
}

static void the_note_tells_who_is_on_the_cpu(void **state)
{
    (void)state;
    static struct slice_note note;
    interrupt_stop();
    interrupt_start(&note);
    struct generation *generation = generation_of_body("while true do end");
    struct story story = { 0 };
    story_start(&story, generation, (struct start){ .timeout_us = 100000 });
    struct ident claim = *run_claim(story.run);
    story_finish(&story);
    assert_int_equal(atomic_load(&note.sequence) % 2, 0);
    assert_true(atomic_load(&note.sequence) > 0);
    uint64_t halves[2] = { atomic_load(&note.claim_high), atomic_load(&note.claim_low) };
    assert_memory_equal(halves, claim.bytes, sizeof halves);
    story_close(&story);
    generation_done(generation);
    interrupt_stop();
    interrupt_start(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endless_loops_are_stopped),
        cmocka_unit_test(they_are_stopped_in_retired_generations_too),
        cmocka_unit_test(two_living_generations_are_both_stopped),
        cmocka_unit_test(a_thousand_sleepers_are_not_disturbed),
        cmocka_unit_test(a_deadline_that_passed_in_anothers_slice_is_extended_by_it),
        cmocka_unit_test(cancelled_runs_that_compute_are_stopped_after_the_grace),
        cmocka_unit_test(the_note_tells_who_is_on_the_cpu),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
