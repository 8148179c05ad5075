/* test_run.c: how runs begin, wait and end. */
#include <sys/stat.h>
#include <unistd.h>

#include "unit/script/world.h"

static void a_return_is_the_result(void **state)
{
    (void)state;
    expect_result("return { status = 'ok' }", "{\"status\":\"ok\"}");
    expect_result("", "null");
    expect_result("return nil", "null");
    expect_result("return nil, nil, 3", "null");
    expect_result("return false, 'x'", "false");
    expect_result("return test.null", "null");
    expect_result("return params.list", "null");
}

static void nil_and_a_message_is_a_failure(void **state)
{
    (void)state;
    expect_error("return nil, 'no disk'", END_FAILED,
                 "{\"kind\":\"exception\",\"message\":\"no disk\"}");
    expect_error("return nil, 'no disk', { code = 5 }", END_FAILED, "\"details\":{\"code\":5}");
    expect_error("return nil, { message = 'm' }", END_FAILED, "\"message\":\"m\"");
}

static void errors_of_every_type_have_a_message(void **state)
{
    (void)state;
    expect_error("error('boom')", END_FAILED,
                 "\"message\":\"t.lua:3: boom\",\"traceback\":\"stack traceback:");
    expect_error("error({ message = 'm', code = 7 })", END_FAILED, "\"message\":\"m\"");
    expect_error("error({ message = 'm', code = 7 })", END_FAILED, "\"code\":7");
    expect_error("error({ code = 7 })", END_FAILED, "\"message\":\"{\\\"code\\\":7}\"");
    expect_error("error({ f = print })", END_FAILED,
                 "\"message\":\"(the error is a table; f: a function");
    expect_error("error()", END_FAILED, "\"message\":\"(the error is a nil value)\"");
    expect_error("error(7)", END_FAILED, "\"message\":\"t.lua:3: 7\"");
    expect_error("error(false)", END_FAILED, "\"message\":\"false\"");
    expect_error("error(print)", END_FAILED, "\"message\":\"(the error is a function value)\"");
    expect_error("error(setmetatable({}, { __tostring = function() return 'me' end }))", END_FAILED,
                 "\"message\":\"me\"");
    expect_error("error(setmetatable({}, { __tostring = error }))", END_FAILED,
                 "its __tostring failed");
    expect_error("error(setmetatable({}, { __tostring = function() while true do end end }))",
                 END_FAILED, "its __tostring failed");
    expect_error("error('a\\255\\0b', 0)", END_FAILED,
                 "\"message\":\"a\xef\xbf\xbd\xef\xbf\xbd"
                 "b\"");
    expect_error("local function f() return 1 + f() end f()", END_FAILED, "stack overflow");
    expect_error("error('not enough memory', 0)", END_MEMORY, "\"kind\":\"memory\"");
}

static void messages_and_tracebacks_are_bounded(void **state)
{
    (void)state;
    struct story story = { 0 };
    expect("error(('x'):rep(1e6))", (struct start){ 0 }, &story);
    assert_true(strlen(story.error) < 8192 + 32768 + 200);
    assert_non_null(strstr(story.error, "\xe2\x80\xa6"));
    story_close(&story);
}

static void what_cannot_be_kept_is_unstorable(void **state)
{
    (void)state;
    expect_error("return { results = { 1, 2, { when = print } } }", END_UNSTORABLE,
                 "\"kind\":\"unstorable\",\"message\":\"the result cannot be kept: "
                 "results[3].when: a function");
    expect_error("return ('x'):rep(2 * 1024 * 1024)", END_UNSTORABLE, "larger than 1048576 bytes");
    expect_error("return 0/0", END_UNSTORABLE, "NaN");
    expect_error("return { n = { 2^60 } }", END_UNSTORABLE,
                 "n[1]: a number beyond 2^53 may have lost digits (return it as text)");
    expect_error("return -(2^53 + 2)", END_UNSTORABLE, "beyond 2^53");
    expect_error("return 1e300", END_UNSTORABLE, "beyond 2^53");
    expect_result("return { 2^53, -2^53, 1e-300, ('%.0f'):format(2^60) }",
                  "[9007199254740992,-9007199254740992,1e-300,\"1152921504606846976\"]");
}

static void fatal_retry_in_and_snooze_cannot_be_caught(void **state)
{
    (void)state;
    static const char *const wrappings[] = {
        "%s return 1",
        "pcall(function() %s end) return 1",
        "error(%s) return 1",
        "coroutine.wrap(function() pcall(function() %s end) end)() return 1",
        "table.sort({ 2, 1 }, function() %s end) return 1",
        "pcall(table.sort, { 2, 1 }, function() %s end) return 1",
        "pcall(table.sort, { 2, 1 }, function() coroutine.wrap(function() pcall(function() %s end) "
        "end)() end) return 1",
        "pcall(table.sort, { 2, 1 }, function() %s end) ctx.sleep(100)",
    };
    for (size_t i = 0; i < COUNT_OF(wrappings); i++) {
        struct story fatal = { 0 }, retry = { 0 }, snooze = { 0 };
        char *bodies[3];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        bodies[0] = xasprintf(wrappings[i], "ctx.fatal('no', { a = 1 })");
        bodies[1] = xasprintf(wrappings[i], "ctx:retry_in('2m', 'later')");
        bodies[2] = xasprintf(wrappings[i], "ctx.snooze(1.5, 'busy')");
#pragma GCC diagnostic pop
        expect(bodies[0], (struct start){ 0 }, &fatal);
        assert_int_equal(fatal.end, END_FATAL);
        assert_non_null(strstr(fatal.error, "\"kind\":\"exception\",\"message\":\"no\""));
        assert_non_null(strstr(fatal.error, "\"details\":{\"a\":1}"));
        expect(bodies[1], (struct start){ 0 }, &retry);
        assert_int_equal(retry.end, END_RETRY_IN);
        assert_int_equal(retry.delay_us, 120000000);
        assert_non_null(strstr(retry.error, "\"message\":\"later\""));
        expect(bodies[2], (struct start){ 0 }, &snooze);
        assert_int_equal(snooze.end, END_SNOOZED);
        assert_int_equal(snooze.delay_us, 1500000);
        assert_null(snooze.error);
        assert_string_equal(buf_text(&snooze.log), "info:snoozed: busy\n");
        story_close(&fatal);
        story_close(&retry);
        story_close(&snooze);
        for (int b = 0; b < 3; b++) free(bodies[b]);
    }
}

static void misuse_of_ctx_is_an_error_at_the_call(void **state)
{
    (void)state;
    expect_error("ctx.retry_in()", END_FAILED, "t.lua:3: bad argument #1 to 'ctx.retry_in'");
    expect_error("ctx:sleep(-1)", END_FAILED,
                 "t.lua:3: bad argument #1 to 'ctx.sleep' (a duration");
    expect_error("ctx.sleep('5 apples')", END_FAILED, "bad argument #1 to 'ctx.sleep'");
    expect_error("ctx.progress('x')", END_FAILED,
                 "bad argument #1 to 'ctx.progress' (a number from 0 to 100");
    expect_error("ctx.progress(0/0)", END_FAILED, "a number from 0 to 100");
    expect_error("ctx.progress(1, 5)", END_FAILED, "metadata must be a table");
    expect_error("ctx.progress(1, { f = print })", END_FAILED, "metadata: f: a function");
    expect_error("ctx.progress(1, { ('x'):rep(70000) })", END_FAILED, "larger than 65536 bytes");
    expect_error("ctx.log('loud', 'x')", END_FAILED, "invalid option 'loud'");
    expect_error("ctx.fatal('x', { f = print })", END_FAILED, "details: f: a function");
}

static void ctx_knows_the_run(void **state)
{
    (void)state;
    struct story story = { 0 };
    expect(
        "return { ctx.name, ctx.queue, ctx.priority, ctx.attempt, ctx.failures, ctx.max_attempts, "
        "ctx.worker, ctx.created_at, #ctx.id, ctx.params == params, ctx.deadline == nil, "
        "ctx.cancelled(), "
        "ctx:cancelled() }",
        (struct start){ 0 }, &story);
    assert_string_equal(story.result,
                        "[\"t\",\"default\",5,2,1,4,\"w1\",1700000000.5,36,true,true,false,false]");
    story_close(&story);
    expect("return ctx.deadline - os.time()", (struct start){ .timeout_us = 60000000 }, &story);
    double left = atof(story.result);
    assert_true(left > 55 && left < 65);
    story_close(&story);
}

static void hooks_get_their_argument(void **state)
{
    (void)state;
    struct generation *generation = generation_of(
        "return { execute = function() end, on_failure = function(ctx, err) "
        "assert(err.kind == 'timeout' and ctx.name == 't') ctx.info(err.message) return print end, "
        "on_success = function(ctx, result) error('hook: ' .. result[1]) end }");
    assert_int_equal(generation_find(generation, "t")->hooks, HOOK_FAILURE | HOOK_SUCCESS);
    struct story failure = { 0 }, success = { 0 }, retry = { 0 };
    story_start(&failure, generation,
                (struct start){ .kind = RUN_ON_FAILURE,
                                .argument = "{\"kind\":\"timeout\",\"message\":\"m\"}" });
    story_start(&success, generation, (struct start){ .kind = RUN_ON_SUCCESS, .argument = "[4]" });
    story_start(&retry, generation, (struct start){ .kind = RUN_ON_RETRY, .argument = "{}" });
    story_finish(&failure);
    story_finish(&success);
    story_finish(&retry);
    assert_int_equal(failure.end, END_RETURNED);
    assert_string_equal(buf_text(&failure.log), "info:m\n");
    assert_int_equal(success.end, END_FAILED);
    assert_non_null(strstr(success.error, "hook: 4"));
    assert_int_equal(retry.end, END_RETURNED); /* it has none */
    story_close(&failure);
    story_close(&success);
    story_close(&retry);
    generation_done(generation);
}

static const char params_task[] = "return { params = { n = { type = 'integer', minimum = 1 }, s = "
                                  "{ type = 'string', default = 'd' }, "
                                  "o = { type = 'object', optional = true, properties = { p = { "
                                  "type = 'array', default = { 1 } }, "
                                  "q = { type = 'boolean', default = false } } } }, "
                                  "execute = function(ctx, params) return params end }";

static char *result_of_params(struct generation *generation, const char *params, bool check)
{
    struct story story = { 0 };
    story_start(&story, generation, (struct start){ .params = params, .check_params = check });
    story_finish(&story);
    char *text = xstrdup(story.result ? story.result : story.error);
    if (!story.result) assert_int_equal(story.end, END_REJECTED);
    story_close(&story);
    return text;
}

static void defaults_are_filled_in_at_every_depth(void **state)
{
    (void)state;
    struct generation *generation = generation_of(params_task);
    static const struct {
        const char *params, *part;
        bool check;
    } cases[] = {
        { "{\"n\":3}", "\"s\":\"d\"", false },
        { "{\"n\":3,\"s\":null}", "\"s\":\"d\"", false },
        { "{\"n\":3,\"s\":\"x\"}", "\"s\":\"x\"", true },
        { "{\"n\":3,\"o\":{}}", "\"p\":[1]", true },
        { "{\"n\":3,\"o\":{}}", "\"q\":false", true },
        { "{\"n\":3,\"o\":null}", "\"n\":3", true },
        { "{\"n\":0}",
          "\"kind\":\"rejected\",\"message\":\"the parameters no longer fit the task: n ", true },
        { "{\"n\":0}", "\"details\":[{\"field\":\"n\",", true },
        { "{\"n\":1,\"z\":1}", "z", true },
        { "{\"n\":", "rejected", false },
        { "7", "not an object", false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *text = result_of_params(generation, cases[i].params, cases[i].check);
        if (!strstr(text, cases[i].part)) fail_msg("%s -> %s", cases[i].params, text);
        free(text);
    }
    generation_done(generation);
}

static void an_unknown_task_is_given_back(void **state)
{
    (void)state;
    struct generation *generation = generation_of_body("");
    struct story story = { 0 };
    story_start(&story, generation, (struct start){ .name = "other" });
    story_finish(&story);
    assert_int_equal(story.end, END_RELEASED);
    story_close(&story);
    generation_done(generation);
}

static void cleanups_run_in_reverse_before_ended(void **state)
{
    (void)state;
    undone[0] = '\0';
    expect_error("test.acquire() error('x')", END_FAILED, "x");
    assert_string_equal(undone, "cba");
    undone[0] = '\0';
    expect_result("test.acquire()", "null");
    assert_string_equal(undone, "cba");
}

static void the_directory_of_a_run_is_gone_when_it_ended(void **state)
{
    (void)state;
    char base[] = "/tmp/ctutor-test-XXXXXX", path[200];
    struct story story = { 0 };
    assert_non_null(mkdtemp(base));
    host.run_directory = base;
    struct generation *generation =
        generation_of_body("local d = test.tempdir() assert(d == test.tempdir()) "
                           "ctx.info(d) test.park() return d");
    story_start(&story, generation, (struct start){ 0 });
    turn_until(!list_is_empty(&parked));
    snprintf(path, sizeof path, "%.*s", (int)strcspn(buf_text(&story.log) + 5, "\n"),
             buf_text(&story.log) + 5);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    char deep[8000];
    strcpy(deep, path);
    for (int i = 0; i < 60; i++) { /* deeper than one descends */
        strcat(deep, "/d");
        assert_int_equal(mkdir(deep, 0700), 0);
        char *file = xasprintf("%s/f", deep);
        assert_int_equal(symlink("/etc/passwd", file), 0);
        free(file);
    }
    assert_int_equal(chmod(deep, 0), 0);
    wake_first(false);
    story_finish(&story);
    assert_int_equal(story.end, END_RETURNED);
    assert_int_equal(stat(path, &info), -1);
    assert_int_equal(rmdir(base), 0);
    host.run_directory = NULL;
    story_close(&story);
    generation_done(generation);
}

/* A removal that does not get through: all threads of the pool are busy. */
static uv_sem_t gate;
static void wait_at_gate(uv_work_t *work)
{
    (void)work;
    uv_sem_wait(&gate);
}

static void a_directory_that_cannot_be_removed_holds_a_run_for_a_while(void **state)
{
    (void)state;
    char base[] = "/tmp/ctutor-test-XXXXXX";
    uv_work_t busy[4];
    struct story story = { 0 };
    assert_non_null(mkdtemp(base));
    host.run_directory = base;
    struct generation *generation = generation_of_body("test.tempdir()");
    assert_int_equal(uv_sem_init(&gate, 0), 0);
    for (size_t i = 0; i < COUNT_OF(busy); i++)
        assert_int_equal(uv_queue_work(&loop.uv, &busy[i], wait_at_gate, NULL), 0);
    story_start(&story, generation, (struct start){ 0 });
    int64_t began_us = clock_boot_us();
    story_finish(&story);
    assert_in_range(clock_boot_us() - began_us, RUN_HOLD_US - 100000, RUN_HOLD_US + 5000000);
    assert_int_equal(story.end, END_RETURNED);
    assert_int_equal(rmdir(base), -1);
    assert_true(run_has_removals());
    for (size_t i = 0; i < COUNT_OF(busy); i++) uv_sem_post(&gate);
    turn_until(!run_has_removals());
    assert_int_equal(rmdir(base), 0);
    uv_sem_destroy(&gate);
    host.run_directory = NULL;
    story_close(&story);
    generation_done(generation);
}

static void a_run_ends_when_nothing_holds_it_or_after_a_while(void **state)
{
    (void)state;
    struct story story = { 0 };
    struct generation *generation = generation_of_body("test.hold()");
    story_start(&story, generation, (struct start){ 0 });
    for (int i = 0; i < 5; i++) loop_turn(&loop, false);
    assert_int_equal(story.ends, 0);
    run_let_go(held);
    story_finish(&story);
    story_close(&story);
    story_start(&story, generation, (struct start){ 0 });
    int64_t began_us = clock_boot_us();
    story_finish(&story);
    assert_true(clock_boot_us() - began_us >= RUN_HOLD_US - 100000);
    assert_int_equal(story.end, END_RETURNED);
    run_let_go(held); /* late: the struct is still there, and goes now */
    story_close(&story);
    generation_done(generation);
}

static void end_other(struct story *story) { run_end(story->other->run, END_RELEASED); }

static void an_owner_may_end_other_runs_from_ended(void **state)
{
    (void)state;
    struct generation *generation = generation_of_body("if params.wait then test.park() end");
    struct story first = { .after = end_other }, second = { 0 };
    first.other = &second;
    story_start(&second, generation, (struct start){ .params = "{\"wait\":true}" });
    story_start(&first, generation, (struct start){ 0 });
    story_finish(&second);
    assert_int_equal(second.end, END_RELEASED);
    assert_int_equal(first.ends, 1);
    story_close(&first);
    story_close(&second);
    generation_done(generation);
}

static void a_run_may_be_ended_before_it_ran(void **state)
{
    (void)state;
    struct generation *generation = generation_of_body("error('ran')");
    struct story story = { 0 };
    story_start(&story, generation, (struct start){ 0 });
    run_end(story.run, END_RELEASED);
    run_end(story.run, END_TIMEOUT);
    run_cancel(story.run);
    assert_int_equal(story.ends, 0);
    story_finish(&story);
    assert_int_equal(story.end, END_RELEASED);
    story_close(&story);
    generation_done(generation);
}

static struct generation *cancel_parked(const char *body, struct story *story)
{
    struct generation *generation = generation_of_body(body);
    story_start(story, generation, (struct start){ 0 });
    turn_until(!list_is_empty(&parked));
    run_cancel(story->run);
    return generation;
}

static void cancel_raises_at_the_pending_and_each_later_wait(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum run_end end;
        const char *part;
    } cases[] = {
        { "test.park()", END_CANCELLED, "\"kind\":\"cancelled\",\"message\":\"cancelled\"" },
        { "local ok, e = pcall(test.park) return { ok, e }", END_RETURNED,
          "[false,\"cancelled\"]" },
        { "pcall(test.park) local ok, e = pcall(ctx.sleep, 0) return { ok, e, ctx.cancelled() }",
          END_RETURNED, "[false,\"cancelled\",true]" },
        { "pcall(test.park) error('mine')", END_CANCELLED, "mine" },
        { "pcall(test.park) return nil, 'mine'", END_CANCELLED, "mine" },
        { "pcall(test.park) ctx.retry_in(5)", END_CANCELLED, "cancelled" },
        { "pcall(test.park) return print", END_CANCELLED, "function" },
        { "return coroutine.wrap(function() local ok, e = pcall(test.park) return { ok, e } end)()",
          END_RETURNED, "[false,\"cancelled\"]" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct story story = { 0 };
        abandoned = 0;
        struct generation *generation = cancel_parked(cases[i].body, &story);
        assert_int_equal(abandoned, 1);
        story_finish(&story);
        const char *seen = story.result ? story.result : story.error;
        if (story.end != cases[i].end || !strstr(seen, cases[i].part))
            fail_msg("%s -> %s", cases[i].body, seen);
        story_close(&story);
        generation_done(generation);
    }
}

static void cancel_before_the_first_wait_raises_there(void **state)
{
    (void)state;
    struct generation *generation =
        generation_of_body("local ok, e = pcall(test.park) return { ok, e }");
    struct story story = { 0 };
    story_start(&story, generation, (struct start){ 0 });
    run_cancel(story.run);
    story_finish(&story);
    assert_string_equal(story.result, "[false,\"cancelled\"]");
    story_close(&story);
    generation_done(generation);
}

static void a_cancelled_run_that_goes_on_is_ended_after_the_grace(void **state)
{
    (void)state;
    struct story story = { 0 };
    struct generation *generation =
        cancel_parked("pcall(test.park) while true do pcall(ctx.sleep, 0) end", &story);
    int64_t began = clock_boot_us();
    story_finish(&story);
    int64_t took = clock_boot_us() - began;
    assert_int_equal(story.end, END_CANCELLED);
    assert_true(took > 4900000 && took < 6000000);
    assert_non_null(strstr(story.error, "\"kind\":\"cancelled\""));
    story_close(&story);
    generation_done(generation);
}

static void a_parked_run_is_ended_at_its_deadline(void **state)
{
    (void)state;
    struct story story = { 0 };
    abandoned = 0;
    undone[0] = '\0';
    expect("test.acquire() pcall(test.park)", (struct start){ .timeout_us = 50000 }, &story);
    assert_int_equal(story.end, END_TIMEOUT);
    assert_non_null(strstr(
        story.error, "{\"kind\":\"timeout\",\"message\":\"timed out after 50ms\",\"traceback\":"));
    assert_int_equal(abandoned, 1);
    assert_string_equal(undone, "cba");
    assert_true(story.seconds >= 0.05 && story.seconds < 5);
    story_close(&story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_return_is_the_result),
        cmocka_unit_test(nil_and_a_message_is_a_failure),
        cmocka_unit_test(errors_of_every_type_have_a_message),
        cmocka_unit_test(messages_and_tracebacks_are_bounded),
        cmocka_unit_test(what_cannot_be_kept_is_unstorable),
        cmocka_unit_test(fatal_retry_in_and_snooze_cannot_be_caught),
        cmocka_unit_test(misuse_of_ctx_is_an_error_at_the_call),
        cmocka_unit_test(ctx_knows_the_run),
        cmocka_unit_test(hooks_get_their_argument),
        cmocka_unit_test(defaults_are_filled_in_at_every_depth),
        cmocka_unit_test(an_unknown_task_is_given_back),
        cmocka_unit_test(cleanups_run_in_reverse_before_ended),
        cmocka_unit_test(the_directory_of_a_run_is_gone_when_it_ended),
        cmocka_unit_test(a_directory_that_cannot_be_removed_holds_a_run_for_a_while),
        cmocka_unit_test(a_run_ends_when_nothing_holds_it_or_after_a_while),
        cmocka_unit_test(an_owner_may_end_other_runs_from_ended),
        cmocka_unit_test(a_run_may_be_ended_before_it_ran),
        cmocka_unit_test(cancel_raises_at_the_pending_and_each_later_wait),
        cmocka_unit_test(cancel_before_the_first_wait_raises_there),
        cmocka_unit_test(a_cancelled_run_that_goes_on_is_ended_after_the_grace),
        cmocka_unit_test(a_parked_run_is_ended_at_its_deadline),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
