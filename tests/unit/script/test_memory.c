/* test_memory.c: the memory of a run that has its process to itself. */
#include "unit/script/world.h"

#define LIMIT (INT64_C(16) << 20)

static int open_isolated(void **state)
{
    world_open(state);
    host.is_isolated = true;
    return 0;
}

static void story_of(const char *body, struct story *story)
{
    struct generation *generation = generation_of_body(body);
    generation_limit_memory(generation, LIMIT);
    story_start(story, generation, (struct start){ 0 });
    story_finish(story);
    generation_done(generation);
}

static void expect_full(const char *body)
{
    struct story story = { 0 };
    story_of(body, &story);
    if (story.end != END_MEMORY) fail_msg("%s\n-> end %d", body, (int)story.end);
    assert_non_null(strstr(story.error, "\"kind\":\"memory\""));
    assert_non_null(strstr(story.error, "not enough memory: it may take 16 MiB"));
    story_close(&story);
}

static void who_takes_too_much_ends_as_memory(void **state)
{
    (void)state;
    expect_full("local t = {} for i = 1, 1e9 do t[i] = { i } end");
    expect_full("local t = {} for i = 1, 1e9 do t[i] = 'x' .. i end");
    expect_full("local s = 'x' while true do s = s .. s end");
    expect_full("ctx.sleep(0) local t = {} for i = 1, 1e9 do t[i] = i end");
    expect_full("coroutine.wrap(function() local t = {} while true do t[#t + 1] = {} end end)()");
    expect_full("local good, why = pcall(string.rep, 'x', 1e8) error('told: ' .. why)");
}

static void expect_end(const char *body, enum run_end end)
{
    struct story story = { 0 };
    story_of(body, &story);
    if (story.end != end) fail_msg("%s\n-> end %d, %s", body, (int)story.end, story.error);
    story_close(&story);
}

static void what_is_garbage_or_not_raised_does_no_harm(void **state)
{
    (void)state;
    expect_end("for i = 1, 1e6 do local t = { i, i, i, i } end", END_RETURNED);
    expect_end("local t = {} for i = 1, 2e6 do t[i % 1e4] = { i, i } end", END_RETURNED);
    expect_end("pcall(string.rep, 'x', 1e8) return 'well'", END_RETURNED);
    expect_end("pcall(string.rep, 'x', 1e8) ctx.sleep(0) error('other')", END_FAILED);
}

/* Its own end is not in the way of what is said about it. */
static void a_state_full_to_the_brim_still_tells_and_serves_on(void **state)
{
    (void)state;
    struct generation *generation = generation_of_body(
        "local t = {} for i = 1, 1e9 do t[i] = { i } if params.wait then ctx.sleep(0) end end");
    generation_limit_memory(generation, LIMIT);
    for (int i = 0; i < 5; i++) {
        struct story story = { 0 };
        story_start(&story, generation, (struct start){ 0 });
        story_finish(&story);
        assert_int_equal(story.end, END_MEMORY);
        assert_non_null(strstr(story.error, "traceback"));
        story_close(&story);
    }
    generation_done(generation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_takes_too_much_ends_as_memory, open_isolated,
                                        world_close),
        cmocka_unit_test_setup_teardown(what_is_garbage_or_not_raised_does_no_harm, open_isolated,
                                        world_close),
        cmocka_unit_test_setup_teardown(a_state_full_to_the_brim_still_tells_and_serves_on,
                                        open_isolated, world_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
