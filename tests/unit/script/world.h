/* world.h: a loop, a host with a small binding, and generations made from texts: what the tests of
 * runtime/script share. Included once per test program. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "loop/loop.h"
#include "script/interrupt.h"
#include "script/run.h"
#include "script/snapshot.h"

#define PATIENCE_US 20000000

static struct loop loop;
static struct script_host host;

/* ---- the binding ctutor.test: park() waits until the test wakes it ---- */
struct parking {
    struct run_wait wait;
    struct list node;
    struct run_cleanup *cleanup;
};
static struct list parked = { &parked, &parked };
static int abandoned, released;

static void parking_free(struct parking *parking)
{
    list_del(&parking->node);
    free(parking);
}

static void on_parking_abandoned(struct run_wait *wait)
{
    abandoned++;
    parking_free(container_of(wait, struct parking, wait));
}

static void on_parking_released(struct run_wait *wait)
{
    released++;
    parking_free(container_of(wait, struct parking, wait));
}

static int bind_park(lua_State *L)
{
    if (!run_current(L)) return luaL_error(L, "park cannot be called while a file loads");
    struct parking *parking = xcalloc(1, sizeof *parking);
    parking->wait.abandon = on_parking_abandoned;
    list_push_back(&parked, &parking->node);
    return run_wait(L, &parking->wait);
}

static int push_woken(lua_State *L, struct run_wait *wait)
{
    (void)wait;
    lua_pushliteral(L, "woken");
    lua_pushinteger(L, 7);
    return 2;
}

static int push_failing(lua_State *L, struct run_wait *wait)
{
    (void)wait;
    return luaL_error(L, "the wake-up failed");
}

/* Wakes whoever parked first. */
static inline void wake_first(bool failing)
{
    assert_false(list_is_empty(&parked));
    struct parking *parking = container_of(parked.next, struct parking, node);
    run_wake(&parking->wait, failing ? push_failing : push_woken, on_parking_released);
}

static char undone[100];
static void on_undo(void *arg) { strcat(undone, arg); }

static int bind_acquire(lua_State *L)
{
    static char names[3][2] = { "a", "b", "c" };
    struct run *run = run_current(L);
    struct run_cleanup *forgotten = run_defer(run, on_undo, "X");
    for (int i = 0; i < 3; i++) run_defer(run, on_undo, names[i]);
    run_undefer(run, forgotten);
    return 0;
}

static struct run *held;
static int bind_hold(lua_State *L)
{
    held = run_current(L);
    run_hold(held);
    return 0;
}

static int bind_sleep(lua_State *L) { return run_sleep(L, run_check_duration(L, 1)); }

static int bind_tempdir(lua_State *L)
{
    struct err err;
    const char *path = run_tempdir(run_current(L), &err);
    if (!path) return luaL_error(L, "%s", err.text);
    lua_pushstring(L, path);
    return 1;
}

static int bind_open(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, bind_park);
    run_wrap(L);
    lua_setfield(L, -2, "park");
    lua_pushcfunction(L, bind_sleep);
    run_wrap(L);
    lua_setfield(L, -2, "sleep");
    lua_pushcfunction(L, bind_acquire);
    lua_setfield(L, -2, "acquire");
    lua_pushcfunction(L, bind_hold);
    lua_setfield(L, -2, "hold");
    lua_pushcfunction(L, bind_tempdir);
    lua_setfield(L, -2, "tempdir");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}

static const struct binding bindings[] = { { "ctutor.test", bind_open } };

/* ---- a run and what came of it ---- */
struct story {
    struct run *run;
    int ends;
    enum run_end end;
    char *result, *error, *metadata;
    int64_t delay_us;
    double percent, seconds;
    struct buf log, progress;
    void (*after)(struct story *story); /* called from within ended */
    struct story *other;
};

static void on_ended(void *arg, struct run *run, const struct run_ended *ended)
{
    struct story *story = arg;
    assert_ptr_equal(story->run, run); /* never before run_start returned */
    story->ends++;
    story->run = NULL;
    story->end = ended->end;
    story->result = ended->result ? xstrndup(ended->result, ended->result_len) : NULL;
    story->error = ended->error ? xstrndup(ended->error, ended->error_len) : NULL;
    story->metadata = ended->metadata ? xstrdup(ended->metadata) : NULL;
    story->delay_us = ended->delay_us;
    story->percent = ended->percent;
    story->seconds = ended->seconds;
    if (story->after) story->after(story);
}

static void on_log(void *arg, struct run *run, const char *level, const char *text, size_t len)
{
    struct story *story = arg;
    (void)run;
    buf_addf(&story->log, "%s:", level);
    buf_add(&story->log, text, len);
    buf_add_char(&story->log, '\n');
}

static void on_progress(void *arg, struct run *run, double percent, const char *metadata)
{
    struct story *story = arg;
    (void)run;
    (void)metadata;
    buf_addf(&story->progress, "%g ", percent);
}

static inline void story_close(struct story *story)
{
    free(story->result);
    free(story->error);
    free(story->metadata);
    buf_close(&story->log);
    buf_close(&story->progress);
    *story = (struct story){ 0 };
}

struct start { /* what a test wants to differ from the usual */
    const char *name, *params, *argument;
    enum run_kind kind;
    int64_t timeout_us;
    bool check_params;
};

static inline void story_start(struct story *story, struct generation *generation,
                               struct start start)
{
    struct run_spec spec = { .kind = start.kind,
                             .name = start.name ? start.name : "t",
                             .id = ident_v7(),
                             .claim = ident_random(),
                             .queue = "default",
                             .worker = "w1",
                             .priority = 5,
                             .attempt = 2,
                             .failures = 1,
                             .max_attempts = 4,
                             .created_at_us = 1700000000500000,
                             .timeout_us = start.timeout_us ? start.timeout_us : -1,
                             .params = start.params ? start.params : "{}",
                             .check_params = start.check_params,
                             .argument = start.argument };
    struct run_events events = {
        .arg = story, .ended = on_ended, .progress = on_progress, .log = on_log
    };
    spec.params_len = strlen(spec.params);
    spec.argument_len = start.argument ? strlen(start.argument) : 0;
    story->run = run_start(generation, &spec, &events);
}

/* Keeps a test that waits in vain from hanging. */
static struct timer patience;
static void on_patience(struct timer *timer)
{
    (void)timer;
    fail_msg("nothing happened for %d s", PATIENCE_US / 1000000);
}

#define turn_until(condition)                                                                      \
    do {                                                                                           \
        timer_start(&patience, PATIENCE_US);                                                       \
        while (!(condition)) loop_turn(&loop, true);                                               \
        timer_stop(&patience);                                                                     \
    } while (0)

static inline void story_finish(struct story *story) { turn_until(story->ends > 0); }

/* ---- generations from texts ---- */
struct text_file {
    const char *file, *text;
}; /* "lib/x.lua" or "t.lua" */

static inline void snapshot_of(const struct text_file *files, size_t count, struct snapshot *out)
{
    struct snapshot_tree tree = { 0 };
    *out = (struct snapshot){ 0 };
    tree.files = xcalloc(count, sizeof *tree.files);
    for (size_t i = 0; i < count; i++)
        if (strncmp(files[i].file, "lib/", 4) == 0)
            tree.files[tree.count++] =
                (struct snapshot_file){ xstrdup(files[i].file + 4), xstrdup(files[i].text),
                                        strlen(files[i].text) };
    snapshot_hash_tree(&tree);
    snapshot_add_tree(out, &tree);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(files[i].file, "lib/", 4) == 0) continue;
        struct snapshot_task *task = snapshot_add_task(out);
        task->file = xstrdup(files[i].file);
        task->name = xstrndup(files[i].file, strlen(files[i].file) - 4);
        task->bytes = xstrdup(files[i].text);
        task->len = strlen(files[i].text);
        strcpy(task->version, "0123456789abcdef");
    }
}

static inline struct generation *generation_of_files(const struct text_file *files, size_t count)
{
    struct snapshot snapshot;
    struct generation *generation = NULL;
    struct err err;
    snapshot_of(files, count, &snapshot);
    if (!generation_new(&host, &snapshot, &generation, &err)) fail_msg("%s", err.text);
    snapshot_close(&snapshot);
    return generation;
}

static inline struct generation *generation_of(const char *text)
{
    return generation_of_files(&(struct text_file){ "t.lua", text }, 1);
}

/* A task t whose execute has this body. */
static inline struct generation *generation_of_body(const char *body)
{
    char *text =
        xasprintf("local test = require 'ctutor.test'\n"
                  "return { additional_params = true, execute = function(ctx, params)\n%s\nend }",
                  body);
    struct generation *generation = generation_of(text);
    free(text);
    return generation;
}

static inline void generation_done(struct generation *generation)
{
    assert_int_equal(generation_alive(generation), 0);
    assert_int_equal(generation_refs(generation), 0);
    assert_true(list_is_empty(&parked));
    generation_retire(generation);
    loop_turn(&loop, false);
}

static inline void expect(const char *body, struct start start, struct story *story)
{
    struct generation *generation = generation_of_body(body);
    story_start(story, generation, start);
    story_finish(story);
    assert_int_equal(story->ends, 1);
    generation_done(generation);
}

/* The body returns this JSON. */
static inline void expect_result(const char *body, const char *result)
{
    struct story story = { 0 };
    expect(body, (struct start){ 0 }, &story);
    if (story.error) print_message("%s\n", story.error);
    assert_int_equal(story.end, END_RETURNED);
    assert_string_equal(story.result, result);
    story_close(&story);
}

/* The body ends so, and the error's JSON holds this. */
static inline void expect_error(const char *body, enum run_end end, const char *part)
{
    struct story story = { 0 };
    expect(body, (struct start){ 0 }, &story);
    if (story.end != end || !story.error || !strstr(story.error, part))
        fail_msg("%s\n-> end %d, %s", body, (int)story.end,
                 story.error ? story.error : story.result);
    story_close(&story);
}

static inline int world_open(void **state)
{
    (void)state;
    loop_init(&loop);
    timer_init(&loop, &patience, on_patience);
    host = (struct script_host){
        .loop = &loop, .bindings = bindings, .binding_count = 1, .max_result = 1024 * 1024
    };
    interrupt_start(NULL);
    abandoned = released = 0;
    undone[0] = '\0';
    return 0;
}

static inline int world_close(void **state)
{
    (void)state;
    interrupt_stop();
    timer_close(&patience, NULL);
    loop_close(&loop);
    return 0;
}
