/* process.c: ctutor.process: the Lua side of program.h. Options are checked and laid out by
 * lua/bind_process.lua, which calls `start` below.
 *
 * process_start -> (the child runs) -> on_program_done -> push_result, process_release
 * A run that ends meanwhile abandons the operation: the child is killed with all it started. The
 * operation holds its run until they are dead. */
#include <lauxlib.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bindings/bind.h"
#include "bindings/program.h"
#include "task/suggest.h"

extern const char lua_bind_process[];

struct process_op {
    struct run_wait wait;
    struct run *run; /* held */
    struct program *program;
    bool abandoned;               /* nobody waits any more */
    struct program_report report; /* taken from the child at its end */
};

static int process_start(lua_State *L);
static int process_full_path(lua_State *L);
static int process_duration(lua_State *L);
static int process_nearest(lua_State *L);

int bind_process_open(lua_State *L)
{
    /* A child that closes its stdin must not end this process; children get default dispositions
     * anyway. */
    signal(SIGPIPE, SIG_IGN);
    lua_newtable(L);
    if (luaL_loadbuffer(L, lua_bind_process, strlen(lua_bind_process), "=ctutor.process") != 0) {
        return lua_error(L);
    }
    lua_pushcfunction(L, process_start); /* stack: module, chunk, start */
    run_wrap(L);
    lua_pushcfunction(L, process_full_path);
    lua_pushcfunction(L, process_duration);
    lua_pushcfunction(L, process_nearest);
    lua_call(L, 4, 1);
    lua_setfield(L, -2, "run");
    return 1;
}

/* ---- help for the Lua half ---- */

/* full_path(path) -> the path, or below the run's directory if it is relative; or nil, message,
 * code */
static int process_full_path(lua_State *L)
{
    struct err err;
    struct run *run = run_current(L);
    const char *path = luaL_checkstring(L, 1);
    if (run == NULL) {
        lua_pushliteral(L, "works only while a task runs, not while its file loads");
        return lua_error(L);
    }
    if (*path == '/') return 1;
    const char *directory = run_tempdir(run, &err);
    if (directory == NULL) return bind_fail(L, "EIO", err.text);
    if (strcmp(path, ".") == 0) {
        lua_pushstring(L, directory);
    } else {
        lua_pushfstring(L, "%s/%s", directory, path);
    }
    return 1;
}

/* duration(value) -> microseconds, or nil, message */
static int process_duration(lua_State *L)
{
    struct err err;
    int64_t us;
    char number[64]; /* of a number that is too large, the beginning is too large as well */
    const char *text = lua_tostring(L, 1);
    if (text == NULL) {
        return bind_fail(L, "EINVAL", "a duration is a number of seconds or a text");
    }
    if (lua_type(L, 1) == LUA_TNUMBER) { /* Lua's own text of it may hold an exponent */
        snprintf(number, sizeof number, "%.6f", lua_tonumber(L, 1));
        text = number;
    }
    if (!duration_parse(text, &us, &err)) return bind_fail(L, "EINVAL", err.text);
    lua_pushnumber(L, (double)us);
    return 1;
}

/* nearest(word, list) -> the word of the list that was meant, or nil */
static int process_nearest(lua_State *L)
{
    struct suggestion suggestion = { .word = luaL_checkstring(L, 1) };
    for (int i = 1; lua_rawgeti(L, 2, i), !lua_isnil(L, -1); i++) { /* stack: word, list, entry */
        suggest_consider(&suggestion, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pushstring(L, suggestion.nearest); /* NULL pushes nil */
    return 1;
}

/* ---- start(arguments, environment, path, cwd, stdin, timeout_us, max_output, limits) ---- */

static int push_start_failure(lua_State *L, const struct err *err);
static void process_abandon(struct run_wait *wait);
static void on_program_done(void *arg, struct program_report *report);

/* Pushes a NULL-terminated array whose texts belong to the list at index. */
static const char *const *push_texts(lua_State *L, int index)
{
    size_t count = lua_objlen(L, index);
    const char **texts = lua_newuserdata(L, (count + 1) * sizeof *texts);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        texts[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    texts[count] = NULL;
    return texts;
}

static int64_t read_limit(lua_State *L, int index, int which)
{
    lua_rawgeti(L, index, which);
    int64_t value = (int64_t)lua_tonumber(L, -1);
    lua_pop(L, 1);
    return value;
}

/* All that can raise comes before the operation exists; run_wait abandons it when it raises. */
static int process_start(lua_State *L)
{
    struct err err;
    struct run *run = bind_run(L, "ctutor.process.run");
    lua_settop(L, 8);
    struct proc_options options = {
        .argv = push_texts(L, 1),
        .env = NULL,
        .path = lua_tostring(L, 3),
        .cwd = lua_tostring(L, 4),
        .limits = { read_limit(L, 8, 1), read_limit(L, 8, 2), read_limit(L, 8, 3),
                    read_limit(L, 8, 4), read_limit(L, 8, 5) },
        .uid = (uid_t)-1,
        .gid = (gid_t)-1,
    };
    struct program_spec spec = { .options = &options,
                                 .marker = run_marker(run),
                                 .timeout_us = (int64_t)lua_tonumber(L, 6),
                                 .max_output = (size_t)lua_tonumber(L, 7) };
    lua_pushstring(L, spec.marker);
    lua_rawseti(L, 2, (int)lua_objlen(L, 2) + 1);
    if (run_host(run)->worker_marker) { /* for the next worker of this machine, should all of this
                                           one die at once */
        lua_pushstring(L, run_host(run)->worker_marker);
        lua_rawseti(L, 2, (int)lua_objlen(L, 2) + 1);
    }
    options.env = push_texts(L, 2);
    spec.input = lua_tolstring(L, 5, &spec.input_len);
    struct process_op *op = xcalloc(1, sizeof *op);
    op->wait.abandon = process_abandon;
    if (!program_start(run_host(run)->loop, &spec, on_program_done, op, &op->program, &err)) {
        free(op);
        return push_start_failure(L, &err);
    }
    op->run = run;
    run_hold(run);
    return run_wait(L, &op->wait);
}

/* io/proc.h tells why in words only; the words of an errno stand at their end. */
static const char *code_of(const struct err *err)
{
    size_t len = strlen(err->text);
    for (int number = 1; number < 134; number++) { /* EHWPOISON is the last */
        const char *words = strerror(number);
        size_t words_len = strlen(words);
        if (len > words_len + 2 && strcmp(err->text + len - words_len, words) == 0 &&
            strncmp(err->text + len - words_len - 2, ": ", 2) == 0) {
            return bind_errno_name(number);
        }
    }
    return "ENOENT"; /* not found in PATH */
}

static int push_start_failure(lua_State *L, const struct err *err)
{
    return bind_fail(L, code_of(err), err->text);
}

static void process_abandon(struct run_wait *wait)
{
    struct process_op *op = container_of(wait, struct process_op, wait);
    op->abandoned = true;
    program_abandon(op->program);
}

/* ---- its end ---- */

static int push_result(lua_State *L, struct run_wait *wait);
static void process_release(struct run_wait *wait);

static void on_program_done(void *arg, struct program_report *report)
{
    struct process_op *op = arg;
    run_let_go(op->run);
    if (op->abandoned) {
        free(op);
        return;
    }
    op->report = *report;
    report->outputs[0] = report->outputs[1] = BUF_EMPTY; /* ours now */
    run_wake(&op->wait, push_result, process_release);
}

static void set_output(lua_State *L, const char *field, const struct buf *output)
{
    lua_pushlstring(L, buf_text(output), output->len);
    lua_setfield(L, -2, field);
}

static int push_result(lua_State *L, struct run_wait *wait)
{
    const struct program_report *report = &container_of(wait, struct process_op, wait)->report;
    lua_createtable(L, 0, 7);
    lua_pushinteger(L, report->how.code);
    lua_setfield(L, -2, "code");
    if (report->how.signal != 0) {
        const char *name = sigabbrev_np(report->how.signal);
        if (name != NULL)
            lua_pushfstring(L, "SIG%s", name);
        else
            lua_pushfstring(L, "SIG%d", report->how.signal); /* a real-time signal */
        lua_setfield(L, -2, "signal");
    }
    set_output(L, "stdout", &report->outputs[0]);
    set_output(L, "stderr", &report->outputs[1]);
    lua_pushboolean(L, report->timed_out);
    lua_setfield(L, -2, "timed_out");
    lua_pushboolean(L, report->truncated);
    lua_setfield(L, -2, "truncated");
    lua_pushnumber(L, report->seconds);
    lua_setfield(L, -2, "duration");
    return 1;
}

static void process_release(struct run_wait *wait)
{
    struct process_op *op = container_of(wait, struct process_op, wait);
    buf_close(&op->report.outputs[0]);
    buf_close(&op->report.outputs[1]);
    free(op);
}
