/* script_harness.c: see script_harness.h. */
#include "support/script_harness.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/proc.h"
#include "script/interrupt.h"
#include "script/snapshot.h"

#define PATIENCE_US 30000000

static size_t count_entries(const char *path)
{
    DIR *dir = opendir(path);
    size_t count = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL) count++;
    closedir(dir);
    return count;
}

static void make_directories(struct script_harness *harness)
{
    char path[128];
    snprintf(harness->directory, sizeof harness->directory, "/tmp/ctutor-script-XXXXXX");
    assert_non_null(mkdtemp(harness->directory));
    snprintf(path, sizeof path, "%s/runs", harness->directory);
    assert_int_equal(mkdir(path, 0700), 0);
    harness->host.run_directory = xstrdup(path);
    snprintf(path, sizeof path, "%s/files", harness->directory);
    assert_int_equal(mkdir(path, 0700), 0);
}

void script_harness_open(struct script_harness *harness, const struct binding *bindings,
                         size_t count)
{
    memset(harness, 0, sizeof *harness);
    loop_init(&harness->loop);
    proc_init(&harness->loop, true);
    interrupt_start(NULL);
    make_directories(harness);
    harness->host.loop = &harness->loop;
    harness->host.bindings = bindings;
    harness->host.binding_count = count;
    harness->host.max_result = (size_t)16 << 20;
    /* A loop opens a spare descriptor with its first stream; others keep theirs likewise. */
    uv_pipe_t first;
    uv_pipe_init(&harness->loop.uv, &first, 0);
    uv_close((uv_handle_t *)&first, NULL);
    script_expect(harness, "return 1", "1");
    harness->descriptors = count_entries("/proc/self/fd");
}

static bool has_old_descriptors(void *arg)
{
    return count_entries("/proc/self/fd") == ((struct script_harness *)arg)->descriptors;
}

void script_harness_close(struct script_harness *harness)
{
    char command[128];
    assert_int_equal(harness->live, 0);
    assert_int_equal(count_entries(harness->host.run_directory), 2); /* . and .. */
    /* Abandoned operations end on their own, a little later. */
    script_turn_until(harness, has_old_descriptors, harness);
    interrupt_stop();
    proc_close();
    loop_close(&harness->loop);
    snprintf(command, sizeof command, "rm -rf %s", harness->directory);
    assert_int_equal(system(command), 0);
    free((char *)harness->host.run_directory);
}

struct generation *script_load(struct script_harness *harness, const char *body)
{
    char *source = xasprintf("local dir = '%s/files'\n"
                             "return { execute = function(ctx, params) %s\nend }",
                             harness->directory, body);
    struct generation *generation = script_load_file(harness, source);
    free(source);
    return generation;
}

struct generation *script_load_file(struct script_harness *harness, const char *source)
{
    struct err err;
    struct generation *generation = NULL;
    struct snapshot_tree tree = { .files = NULL, .count = 0, .hash = "0" };
    struct snapshot_task task = { .file = (char *)"piece.lua",
                                  .name = (char *)"piece",
                                  .bytes = (char *)source,
                                  .len = strlen(source),
                                  .tree = 0,
                                  .version = "0" };
    struct snapshot snapshot = { .trees = &tree, .tree_count = 1, .tasks = &task, .task_count = 1 };
    bool ok = generation_new(&harness->host, &snapshot, &generation, &err);
    if (!ok) fail_msg("%s", err.text);
    return generation;
}

/* ---- one run ---- */

static void on_ended(void *arg, struct run *run, const struct run_ended *ended)
{
    struct script_run *piece = arg;
    (void)run;
    piece->run = NULL;
    piece->end = ended->end;
    if (ended->result != NULL) piece->result = xstrndup(ended->result, ended->result_len);
    if (ended->error != NULL) piece->error = xstrndup(ended->error, ended->error_len);
    piece->harness->live--;
}

static void on_progress(void *arg, struct run *run, double percent, const char *metadata)
{
    (void)arg;
    (void)run;
    (void)percent;
    (void)metadata;
}

static void on_log(void *arg, struct run *run, const char *level, const char *text, size_t len)
{
    (void)arg;
    (void)run;
    (void)level;
    fprintf(stderr, "log: %.*s\n", (int)len, text);
}

struct script_run *script_start(struct script_harness *harness, struct generation *generation,
                                int64_t timeout_us)
{
    struct script_run *piece = xcalloc(1, sizeof *piece);
    piece->harness = harness;
    struct run_spec spec = { .kind = RUN_EXECUTE,
                             .name = "piece",
                             .id = ident_v7(),
                             .claim = ident_random(),
                             .queue = "default",
                             .worker = "test",
                             .priority = 5,
                             .attempt = 1,
                             .max_attempts = 1,
                             .created_at_us = clock_wall_us(),
                             .timeout_us = timeout_us,
                             .params = "{}",
                             .params_len = 2 };
    struct run_events events = { piece, on_ended, on_progress, on_log };
    harness->live++;
    piece->run = run_start(generation, &spec, &events);
    return piece;
}

/* Wakes the loop now and then, so that a predicate about the outside world is looked at again. */
static void on_tick(uv_timer_t *timer) { (void)timer; }

void script_turn_until(struct script_harness *harness, bool (*holds)(void *arg), void *arg)
{
    uv_timer_t tick;
    int64_t until_us = clock_mono_us() + PATIENCE_US;
    uv_timer_init(&harness->loop.uv, &tick);
    uv_timer_start(&tick, on_tick, 5, 5);
    while (!holds(arg)) {
        if (clock_mono_us() > until_us) fail_msg("what was waited for did not happen");
        loop_turn(&harness->loop, true);
    }
    uv_close((uv_handle_t *)&tick, NULL);
    loop_turn(&harness->loop, false);
}

static bool has_ended(void *arg) { return ((struct script_run *)arg)->run == NULL; }

void script_wait(struct script_run *run) { script_turn_until(run->harness, has_ended, run); }

void script_free(struct script_run *run)
{
    free(run->result);
    free(run->error);
    free(run);
}

/* ---- all in one ---- */

static struct script_run *run_piece(struct script_harness *harness, const char *body)
{
    struct generation *generation = script_load(harness, body);
    struct script_run *run = script_start(harness, generation, -1);
    script_wait(run);
    assert_int_equal(generation_alive(generation), 0);
    assert_int_equal(generation_refs(generation), 0);
    generation_retire(generation);
    return run;
}

void script_expect(struct script_harness *harness, const char *body, const char *json)
{
    struct script_run *run = run_piece(harness, body);
    if (run->end != END_RETURNED) fail_msg("%s\n  gave %s", body, run->error);
    assert_string_equal(run->result, json);
    script_free(run);
}

void script_expect_error(struct script_harness *harness, const char *body, const char *text)
{
    struct script_run *run = run_piece(harness, body);
    if (run->end != END_FAILED) fail_msg("%s\n  returned %s", body, run->result);
    if (strstr(run->error, text) == NULL) fail_msg("%s\n  gave %s, not %s", body, run->error, text);
    script_free(run);
}
