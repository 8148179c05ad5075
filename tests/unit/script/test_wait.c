/* test_wait.c: waiting, wherever a task may do it, and where it may not. */
#include "unit/script/world.h"

/* Runs the body and wakes it whenever it parks. */
static void play(const char *body, bool failing, struct story *story)
{
    struct generation *generation = generation_of_body(body);
    story_start(story, generation, (struct start){ 0 });
    while (story->ends == 0) {
        turn_until(story->ends > 0 || !list_is_empty(&parked));
        while (!list_is_empty(&parked)) {
            wake_first(failing);
            loop_turn(&loop, false);
        }
    }
    assert_int_equal(story->ends, 1);
    generation_done(generation);
}

static void gives(const char *body, const char *result)
{
    struct story story = { 0 };
    play(body, false, &story);
    const char *seen = story.result ? story.result : story.error;
    if (strcmp(seen, result) != 0) fail_msg("%s\n-> %s", body, seen);
    story_close(&story);
}

static void raises(const char *body, bool failing, const char *part)
{
    struct story story = { 0 };
    play(body, failing, &story);
    if (story.end != END_FAILED || !strstr(story.error, part))
        fail_msg("%s\n-> %s", body, story.error ? story.error : story.result);
    story_close(&story);
}

#define WOKEN "[\"woken\",7]"

static void a_wait_gives_the_values_of_its_wake_up(void **state)
{
    (void)state;
    released = 0;
    gives("return { test.park() }", WOKEN);
    assert_int_equal(released, 1);
    gives("test.park() test.park() return { test.park() }", WOKEN);
    gives("test.sleep(0) ctx.sleep('1ms') return select('#', ctx:sleep(0))", "0");
}

static void waiting_works_in_every_kind_of_lua_call(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "return { select(2, pcall(test.park)) }",
        "return { select(2, pcall(function() return test.park() end)) }",
        "return { select(2, xpcall(function() return test.park() end, print)) }",
        "local function each() return test.park() end for a, b in each do return { a, b } end",
        "local t = setmetatable({}, { __index = function() return { test.park() } end }) return "
        "t.x",
        "local t = setmetatable({}, { __add = function() return { test.park() } end }) return t + "
        "1",
        "return load('return { ... }')(test.park())",
        "return load(\"local test = require 'ctutor.test' return { test.park() }\")()",
    };
    for (size_t i = 0; i < COUNT_OF(bodies); i++) gives(bodies[i], WOKEN);
}

static void waiting_works_in_coroutines_of_the_task(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "return coroutine.wrap(function() return { test.park() } end)()",
        "local co = coroutine.create(function(x) return { test.park() } end) return select(2, "
        "coroutine.resume(co, 1))",
        "return coroutine.wrap(function() return coroutine.wrap(function() return "
        "coroutine.wrap(function() "
        "return { test.park() } end)() end)() end)()",
        "return coroutine.wrap(function() return select(2, pcall(coroutine.wrap(function() return "
        "{ test.park() } end))) end)()",
        "local it = coroutine.wrap(function() for i = 1, 3 do coroutine.yield({ test.park() }) end "
        "end) "
        "it() it() for v in it do return v end",
        "return coroutine.wrap(test.park)() and { coroutine.wrap(test.park)() }",
    };
    for (size_t i = 0; i < COUNT_OF(bodies); i++) gives(bodies[i], WOKEN);
    /* and its own yields still mean what they meant */
    gives("local co = coroutine.wrap(function(a) test.park() local b = coroutine.yield(a + 1) "
          "test.park() return b * 2 end) "
          "return { co(1), co(21) }",
          "[2,42]");
    gives("local co = coroutine.create(function() test.park() coroutine.yield() error('inner', 0) "
          "end) "
          "local a, b, c, d = coroutine.resume(co), coroutine.status(co), { coroutine.resume(co) "
          "}, coroutine.status(co) "
          "return { a, b, c, d, coroutine.resume(co) }",
          "[true,\"suspended\",[false,\"inner\"],\"dead\",false,\"cannot resume dead coroutine\"]");
}

static void generators_and_waits_mix(void **state)
{
    (void)state;
    gives("local function numbers(n) return coroutine.wrap(function() for i = 1, n do ctx.sleep(0) "
          "coroutine.yield(i) end end) end "
          "local sum = 0 for a in numbers(10) do for b in numbers(3) do test.park() sum = sum + a "
          "* b end end return sum",
          "330");
}

static void a_wait_in_a_c_callback_is_refused_by_name(void **state)
{
    (void)state;
    raises("table.sort({ 3, 2, 1 }, function(a, b) test.park() return a < b end)", false,
           "t.lua:3: cannot wait inside table.sort (a C function that calls back)");
    raises("return (('abc'):gsub('b', function() ctx.sleep(1) end))", false,
           "cannot wait inside string.gsub");
    raises("table.sort({ 3, 2, 1 }, function(a, b) pcall(error) coroutine.wrap(function() "
           "test.park() end)() return a < b end)",
           false, "t.lua:3: cannot wait inside table.sort");
    gives("local ok table.sort({ 2, 1 }, function() ok = coroutine.wrap(function() return "
          "coroutine.wrap(function() "
          "return pcall(test.park) end)() end)() end) return { ok, test.park() }",
          "[false,\"woken\",7]");
    raises("coroutine.wrap(function() table.sort({ 2, 1 }, function() ctx.sleep(0) end) end)()",
           false, "cannot wait inside table.sort");
    abandoned = 0;
    gives("local ok = pcall(table.sort, { 2, 1 }, function() test.park() end) return { ok, "
          "test.park() }",
          "[false,\"woken\",7]");
    assert_int_equal(abandoned, 1);
}

static void a_wait_in_the_handler_of_an_error_is_refused(void **state)
{
    (void)state;
    static const char *const errors[] = { "error('x')", "local t t.x = 1",
                                          "coroutine.wrap(function() error('x') end)()" };
    static const char *const waits[] = { "test.park()", "ctx.sleep(1)",
                                         "coroutine.wrap(function() test.park() end)()" };
    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        for (size_t j = 0; j < COUNT_OF(waits); j++) {
            char body[200];
            snprintf(
                body, sizeof body,
                "return { xpcall(function() %s end, function() %s return 1 end), test.park() }",
                errors[i], waits[j]);
            gives(body, "[false,\"woken\",7]");
            snprintf(body, sizeof body,
                     "return { xpcall(function() %s end, function() %s return 1 end) }", errors[i],
                     waits[j]);
            gives(body, "[false,\"t.lua:3: cannot wait inside the handler of xpcall\"]");
        }
    }
}

static void a_failed_wake_up_is_an_error_at_the_call(void **state)
{
    (void)state;
    released = 0;
    raises("local x = 1\ntest.park()", true, "\"message\":\"t.lua:4: the wake-up failed\"");
    assert_int_equal(released, 1);
    raises("coroutine.wrap(function() test.park() end)()", true, "t.lua:3: the wake-up failed");
    raises("local ok, e = pcall(test.park) error('caught ' .. tostring(ok) .. e, 0)", true,
           "caught falsethe wake-up failed");
}

static void a_yield_of_the_run_itself_is_an_error(void **state)
{
    (void)state;
    raises("coroutine.yield(1)", false,
           "coroutine.yield was called outside of a coroutine that the task made");
    raises("pcall(coroutine.yield)", false, "coroutine.yield was called outside");
    gives("return coroutine.running() == nil", "true");
    gives("return coroutine.wrap(function() return type(coroutine.running()) end)()", "\"thread\"");
}

static void a_waiting_coroutine_of_another_run_cannot_be_resumed(void **state)
{
    (void)state;
    struct generation *generation =
        generation_of("local test = require 'ctutor.test' local co return { additional_params = "
                      "true, execute = function(ctx, p) "
                      "if not co then co = coroutine.create(function() return test.park() end) "
                      "return { coroutine.resume(co) } end return { coroutine.resume(co) } end }");
    struct story first = { 0 }, second = { 0 };
    story_start(&first, generation, (struct start){ 0 });
    turn_until(!list_is_empty(&parked));
    story_start(&second, generation, (struct start){ 0 });
    story_finish(&second);
    assert_string_equal(second.result, "[false,\"cannot resume a coroutine that waits\"]");
    wake_first(false);
    story_finish(&first);
    assert_string_equal(first.result, "[true,\"woken\",7]");
    story_close(&first);
    story_close(&second);
    generation_done(generation);
}

static void waits_while_a_file_loads_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "require('ctutor.test').park() return {}",
        "require('ctutor.test').sleep(1) return {}",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct snapshot snapshot;
        struct generation *generation;
        struct err err;
        snapshot_of(&(struct text_file){ "t.lua", texts[i] }, 1, &snapshot);
        assert_false(generation_new(&host, &snapshot, &generation, &err));
        assert_non_null(strstr(err.text, "t.lua:1: "));
        assert_non_null(strstr(err.text, "while a file loads"));
        snapshot_close(&snapshot);
    }
}

static void a_thousand_runs_wait_side_by_side(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static struct story stories[COUNT];
    struct generation *generation =
        generation_of_body("for i = 1, 20 do ctx.sleep(params.n % 7 / 1000) end return params.n");
    for (int i = 0; i < COUNT; i++) {
        char params[40];
        snprintf(params, sizeof params, "{\"n\":%d}", i);
        story_start(&stories[i], generation, (struct start){ .params = params });
    }
    assert_int_equal(generation_alive(generation), COUNT);
    for (int i = 0; i < COUNT; i++) {
        char expected[20];
        snprintf(expected, sizeof expected, "%d", i);
        story_finish(&stories[i]);
        assert_string_equal(stories[i].result, expected);
        story_close(&stories[i]);
    }
    generation_done(generation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_gives_the_values_of_its_wake_up),
        cmocka_unit_test(waiting_works_in_every_kind_of_lua_call),
        cmocka_unit_test(waiting_works_in_coroutines_of_the_task),
        cmocka_unit_test(generators_and_waits_mix),
        cmocka_unit_test(a_wait_in_a_c_callback_is_refused_by_name),
        cmocka_unit_test(a_wait_in_the_handler_of_an_error_is_refused),
        cmocka_unit_test(a_failed_wake_up_is_an_error_at_the_call),
        cmocka_unit_test(a_yield_of_the_run_itself_is_an_error),
        cmocka_unit_test(a_waiting_coroutine_of_another_run_cannot_be_resumed),
        cmocka_unit_test(waits_while_a_file_loads_are_refused),
        cmocka_unit_test(a_thousand_runs_wait_side_by_side),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
