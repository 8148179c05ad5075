/* run_end.c: how a run ends, decided once and then told.
 *
 * A decision only fills fields. run_conclude undoes whatever the run holds, in reverse, gives up
 * the coroutine, waits for the operations that are not over at once and until its directory is
 * gone, and calls ended() from the loop. While a cancel is pending every end but a normal return or
 * a release counts as cancelled. */
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "script/codec.h"
#include "script/describe.h"
#include "script/interrupt.h"
#include "script/run_state.h"
#include "task/task.h"

#define READING_LIMIT_US 1000000 /* for a __tostring of the task */

struct reading {
    struct run *run;
    int status;
};

static void read_outcome(struct run *run, int status, lua_CFunction read);
static int read_returned(lua_State *L);
static void decide_result(lua_State *L, struct run *run);
static int read_raised(lua_State *L);
static bool is_about_memory(struct run *run, int status);
static void add_details(lua_State *L, struct run *run, int index);
static void add_traceback(struct run *run);
static int traceback_protected(lua_State *L);
static void drop_coroutine(struct run *run);
static int collect(lua_State *L);
static void write_error(struct run *run);
static bool has_error(enum run_end end, enum error_kind *kind);
static void on_undone(struct run *run);
static void on_conclude(struct defer *defer);
static void run_free(struct run *run);
static void on_timer_closed(struct timer *timer);
static void on_sleep_timer_closed(struct timer *timer);
static void close_one_timer(struct run *run);

void run_decide(struct run *run, enum run_end end)
{
    if (run->is_decided) return;
    run->is_decided = true;
    bool is_kept = end == END_RETURNED || end == END_RELEASED;
    run->end = run->is_cancelled && !is_kept ? END_CANCELLED : end;
    if (end == END_RETURNED && run->result.len == 0) buf_add_text(&run->result, "null");
}

void run_decide_message(struct run *run, enum run_end end, const char *text)
{
    if (run->is_decided) return;
    utf8_add_clean(&run->message, text, strlen(text), MESSAGE_MAX);
    run_decide(run, end);
}

void run_decide_value(lua_State *L, struct run *run, enum run_end end, int message, int details)
{
    if (run->is_decided) return;
    if (message != 0) describe_value(L, message, &run->message);
    if (details != 0) add_details(L, run, details);
    run_decide(run, end);
}

void run_decide_limit(struct run *run)
{
    if (run->is_decided) return;
    add_traceback(run);
    if (run->deadline_us > run->cancel_until_us) {
        run_decide_message(run, END_CANCELLED, "cancelled: still running after 5s");
        return;
    }
    char *duration = duration_text(run->timeout_us);
    char *text = xasprintf("timed out after %s", duration);
    run_decide_message(run, END_TIMEOUT, text);
    free(text);
    free(duration);
}

void run_decide_returned(struct run *run) { read_outcome(run, 0, read_returned); }

void run_decide_raised(struct run *run, int status) { read_outcome(run, status, read_raised); }

/* The values move to the main thread: the coroutine's own is dead. */
static void read_outcome(struct run *run, int status, lua_CFunction read)
{
    lua_State *main = run->generation->vm->L;
    struct reading reading = { run, status };
    interrupt_enter(main, &run->claim, clock_boot_us() + READING_LIMIT_US);
    int result = lua_cpcall(main, read, &reading);
    interrupt_leave(main);
    if (result == 0) return;
    lua_pop(main, 1);
    buf_clear(&run->message);
    buf_clear(&run->details);
    run_decide_message(run, result == LUA_ERRMEM ? END_MEMORY : END_FAILED,
                       "(the error cannot be shown: its __tostring failed)");
}

/* stack: reading */
static int read_returned(lua_State *L)
{
    struct reading *reading = lua_touserdata(L, 1);
    struct run *run = reading->run;
    lua_settop(run->L, 3);
    lua_xmove(run->L, L, 3); /* stack: reading, result, message, details */
    if (run->kind != RUN_EXECUTE)
        run_decide(run, END_RETURNED);
    else if (lua_isnil(L, 2) && !lua_isnil(L, 3))
        run_decide_value(L, run, END_FAILED, 3, lua_isnil(L, 4) ? 0 : 4);
    else
        decide_result(L, run);
    return 0;
}

static void decide_result(lua_State *L, struct run *run)
{
    struct err err;
    if (codec_encode_exact(L, 2, run->generation->host->max_result, &run->result, &err)) {
        run_decide(run, END_RETURNED);
        return;
    }
    err_wrap(&err, "the result cannot be kept");
    run_decide_message(run, err.code == ERR_NOMEM ? END_MEMORY : END_UNSTORABLE, err.text);
}

/* stack: reading */
static int read_raised(lua_State *L)
{
    struct reading *reading = lua_touserdata(L, 1);
    struct run *run = reading->run;
    describe_traceback(L, run->L, 0, &run->traceback);
    lua_xmove(run->L, L, 1); /* stack: reading, error */
    describe_value(L, 2, &run->message);
    bool is_memory = is_about_memory(run, reading->status);
    if (lua_istable(L, 2)) add_details(L, run, 2);
    run_decide(run, is_memory ? END_MEMORY : END_FAILED);
    return 0;
}

/* The task may have caught the error and raised it again, with more words. */
static bool is_about_memory(struct run *run, int status)
{
    static const char words[] = "not enough memory";
    const struct vm_memory *memory = &run->generation->vm->memory;
    const char *message = buf_text(&run->message);
    if (status != LUA_ERRMEM && strcmp(message, words) != 0 &&
        !(memory->was_refused && strstr(message, words)))
        return false;
    if (memory->was_refused) buf_addf(&run->message, ": it may take %zu MiB", memory->limit >> 20);
    return true;
}

/* Details that cannot be kept are left out: the message is what counts. */
static void add_details(lua_State *L, struct run *run, int index)
{
    if (!codec_encode(L, index, DETAILS_MAX, &run->details, NULL)) buf_clear(&run->details);
}

static void add_traceback(struct run *run)
{
    lua_State *main = run->generation->vm->L;
    if (!run->L || lua_cpcall(main, traceback_protected, run) == 0) return;
    lua_pop(main, 1);
}

static int traceback_protected(lua_State *L)
{
    struct run *run = lua_touserdata(L, 1);
    describe_traceback(L, run->L, 0, &run->traceback);
    return 0;
}

void run_conclude(struct run *run)
{
    run->state = RUN_ENDING;
    run->ended_us = clock_boot_us();
    timer_stop(&run->timer);
    run_hold(run); /* so that the last one below is ours, or comes later */
    run_abandon(run);
    run_clean_up(run);
    drop_coroutine(run);
    run_log_end(run);
    write_error(run);
    if (run->holds > 1) timer_start(&run->timer, RUN_HOLD_US);
    run_let_go(run);
}

void run_hold(struct run *run) { run->holds++; }

void run_let_go(struct run *run)
{
    if (--run->holds > 0 || run->state != RUN_ENDING) return;
    run_hold_is_over(run);
    if (run->open_timers == 0) run_free(run);
}

void run_hold_is_over(struct run *run)
{
    if (run->is_undone) return;
    run->is_undone = true;
    timer_stop(&run->timer);
    if (!run->tempdir) {
        on_undone(run);
        return;
    }
    timer_start(&run->timer, RUN_HOLD_US);
    run_tempdir_remove(run, on_undone);
}

static void drop_coroutine(struct run *run)
{
    if (run->ref == LUA_NOREF) return;
    luaL_unref(run->generation->vm->L, LUA_REGISTRYINDEX, run->ref);
    run->generation->refs--;
    run->ref = LUA_NOREF;
    run->L = NULL;
    lua_State *main = run->generation->vm->L;
    if (run->end == END_MEMORY && lua_cpcall(main, collect, NULL) != 0) lua_pop(main, 1);
}

/* What comes next, a hook perhaps, must not find the memory full. */
static int collect(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

static void write_error(struct run *run)
{
    enum error_kind kind = KIND_EXCEPTION;
    struct jsonw w;
    if (!has_error(run->end, &kind)) return;
    if (run->message.len == 0) buf_add_text(&run->message, error_kind_text(kind));
    jsonw_init(&w, &run->error);
    jsonw_object(&w);
    jsonw_key_text(&w, "kind", error_kind_text(kind));
    jsonw_key_text(&w, "message", run->message.data);
    if (run->traceback.len > 0) jsonw_key_text(&w, "traceback", run->traceback.data);
    if (run->details.len > 0) {
        jsonw_key(&w, "details");
        jsonw_raw(&w, run->details.data, run->details.len);
    }
    jsonw_object_end(&w);
}

static bool has_error(enum run_end end, enum error_kind *kind)
{
    switch (end) {
    case END_FAILED:
    case END_FATAL:
    case END_RETRY_IN: *kind = KIND_EXCEPTION; return true;
    case END_TIMEOUT: *kind = KIND_TIMEOUT; return true;
    case END_MEMORY: *kind = KIND_MEMORY; return true;
    case END_REJECTED: *kind = KIND_REJECTED; return true;
    case END_UNSTORABLE: *kind = KIND_UNSTORABLE; return true;
    case END_CANCELLED: *kind = KIND_CANCELLED; return true;
    case END_RETURNED:
    case END_SNOOZED:
    case END_RELEASED: return false;
    }
    return false;
}

static void on_undone(struct run *run)
{
    timer_stop(&run->timer);
    loop_defer_init(&run->conclude, on_conclude);
    loop_defer(run->generation->host->loop, &run->conclude);
}

static void on_conclude(struct defer *defer)
{
    struct run *run = container_of(defer, struct run, conclude);
    bool has_result = run->end == END_RETURNED;
    struct run_ended ended = { .end = run->end,
                               .result = has_result ? run->result.data : NULL,
                               .result_len = has_result ? run->result.len : 0,
                               .error = run->error.len > 0 ? run->error.data : NULL,
                               .error_len = run->error.len,
                               .delay_us = run->delay_us,
                               .percent = run->percent,
                               .metadata = run->metadata,
                               .seconds = (double)(run->ended_us - run->began_us) / 1e6 };
    run->events.ended(run->events.arg, run, &ended);
    list_del(&run->all);
    generation_release(run->generation);
    timer_close(&run->timer, on_timer_closed);
    timer_close(&run->sleep_timer, on_sleep_timer_closed);
}

static void on_timer_closed(struct timer *timer)
{
    close_one_timer(container_of(timer, struct run, timer));
}

static void on_sleep_timer_closed(struct timer *timer)
{
    close_one_timer(container_of(timer, struct run, sleep_timer));
}

static void close_one_timer(struct run *run)
{
    if (--run->open_timers == 0 && run->holds == 0) run_free(run);
}

static void run_free(struct run *run)
{
    free(run->name);
    free(run->queue);
    free(run->worker);
    free(run->tempdir);
    free(run->metadata);
    buf_close(&run->params);
    buf_close(&run->argument);
    buf_close(&run->result);
    buf_close(&run->message);
    buf_close(&run->traceback);
    buf_close(&run->details);
    buf_close(&run->error);
    free(run);
}
