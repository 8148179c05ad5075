/* script_harness.h: runs pieces of Lua as tasks, in this process, without servers.
 *
 * script_harness_open once per test, script_harness_close at its end: it fails the test on
 * coroutines, descriptors or directories left behind. A piece of Lua is the body of execute(ctx,
 * params); `dir` in it is a directory outside of the run's own. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"
#include "script/generation.h"
#include "script/run.h"

struct script_harness {
    struct loop loop;
    struct script_host host;
    char directory[64]; /* runs/ and files/ lie in it */
    size_t descriptors; /* when it was opened */
    size_t live;        /* runs that have not ended */
};

struct script_run {
    struct script_harness *harness;
    struct run *run; /* NULL once it ended */
    enum run_end end;
    char *result; /* JSON or NULL */
    char *error;  /* JSON or NULL */
};

void script_harness_open(struct script_harness *harness, const struct binding *bindings,
                         size_t count);
void script_harness_close(struct script_harness *harness);

/* Fails the test when the Lua does not load. The caller retires it. */
struct generation *script_load(struct script_harness *harness, const char *body);
/* The same for a whole file. */
struct generation *script_load_file(struct script_harness *harness, const char *source);
struct script_run *script_start(struct script_harness *harness, struct generation *generation,
                                int64_t timeout_us);
void script_wait(struct script_run *run); /* until it ended; fails the test after half a minute */
void script_free(struct script_run *run);
/* Turns the loop until the predicate holds; fails the test after half a minute. */
void script_turn_until(struct script_harness *harness, bool (*holds)(void *arg), void *arg);

/* All in one: loads, runs to the end, and expects it to return this JSON. */
void script_expect(struct script_harness *harness, const char *body, const char *json);
/* ... to raise an error whose message holds this text. */
void script_expect_error(struct script_harness *harness, const char *body, const char *text);
