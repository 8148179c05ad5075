/* run.c: the only caller of lua_resume.
 *
 * Everything that happens to a run only queues it; the ready list of its generation is worked off
 * once per loop turn, at most what was on it at the start and for at most TURN_US, so that I/O is
 * never kept waiting long. A slice that took long moves the deadlines that passed meanwhile: those
 * runs had no chance to act. */
#include "script/run.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "script/interrupt.h"
#include "script/run_state.h"

#define TURN_US       20000
#define LONG_SLICE_US 1000
#define TOLD_SLICE_US 100000
#define TELL_EVERY_US 1000000 /* for each name */
#define CANCEL_US     5000000
#define HOOK_US       30000000

static struct {
    struct list runs;    /* of all generations */
    struct run *running; /* on the CPU */
} process = { { &process.runs, &process.runs }, NULL };

static void copy_spec(struct run *run, const struct run_spec *spec);
static void start_clock(struct run *run, int64_t timeout_us);
static void run_resume(struct run *run);
static bool prepare_values(struct run *run, int *count);
static int resume_slice(struct run *run, int count, bool *was_interrupted);
static void tell_slice(struct run *run, int64_t from_us, int64_t to_us);
static int deliver(lua_State *L);
static void extend_others(const struct run *run, int64_t from_us, int64_t to_us);
static void after_slice(struct run *run, int status, bool was_interrupted);
static void after_yield(struct run *run);
static void on_timer(struct timer *timer);
static void take_out(struct run *run);

struct run *run_start(struct generation *generation, const struct run_spec *spec,
                      const struct run_events *events)
{
    struct run *run = xcalloc(1, sizeof *run);
    run->generation = generation;
    run->definition = generation_definition(generation, spec->name);
    run->events = *events;
    run->ref = LUA_NOREF;
    run->percent = -1;
    list_init(&run->cleanups);
    list_init(&run->ready);
    list_push_back(&process.runs, &run->all);
    copy_spec(run, spec);
    generation->alive++;
    timer_init(generation->host->loop, &run->timer, on_timer);
    timer_init(generation->host->loop, &run->sleep_timer, run_on_sleep_over);
    run->open_timers = 2;
    start_clock(run, spec->timeout_us);
    run_make_ready(run);
    return run;
}

static void copy_spec(struct run *run, const struct run_spec *spec)
{
    char claim[IDENT_TEXT_SIZE];
    run->kind = spec->kind;
    run->id = spec->id;
    run->claim = spec->claim;
    run->name = xstrdup(spec->name);
    run->queue = xstrdup(spec->queue ? spec->queue : "");
    run->worker = xstrdup(spec->worker ? spec->worker : "");
    run->priority = spec->priority;
    run->attempt = spec->attempt;
    run->failures = spec->failures;
    run->max_attempts = spec->max_attempts;
    run->created_at_us = spec->created_at_us;
    run->check_params = spec->check_params;
    if (spec->params) buf_add(&run->params, spec->params, spec->params_len);
    if (spec->argument) buf_add(&run->argument, spec->argument, spec->argument_len);
    ident_text(&spec->claim, claim);
    strcpy(run->marker, "CTUTOR_RUN=");
    strcat(run->marker, claim);
}

static void start_clock(struct run *run, int64_t timeout_us)
{
    if (run->kind != RUN_EXECUTE && (timeout_us < 0 || timeout_us > HOOK_US)) timeout_us = HOOK_US;
    run->began_us = clock_boot_us();
    run->timeout_us = timeout_us;
    run->deadline_us = timeout_us < 0 ? INT64_MAX : run->began_us + timeout_us;
    run->cancel_until_us = INT64_MAX;
    run_arm_timer(run);
}

int64_t run_limit_us(const struct run *run)
{
    return run->deadline_us < run->cancel_until_us ? run->deadline_us : run->cancel_until_us;
}

void run_arm_timer(struct run *run)
{
    int64_t limit = run_limit_us(run);
    if (limit != INT64_MAX) timer_start(&run->timer, limit - clock_boot_us());
}

static void on_timer(struct timer *timer)
{
    struct run *run = container_of(timer, struct run, timer);
    if (run->state == RUN_ENDING) {
        if (run->is_undone)
            run_tempdir_leave(run);
        else
            run_hold_is_over(run);
        return;
    }
    if (clock_boot_us() < run_limit_us(run)) {
        run_arm_timer(run);
        return;
    }
    run_decide_limit(run);
    take_out(run);
    run_conclude(run);
}

void run_make_ready(struct run *run)
{
    run->state = RUN_READY;
    list_push_back(&run->generation->ready, &run->ready);
    loop_defer(run->generation->host->loop, &run->generation->turn);
}

static void take_out(struct run *run) { list_del(&run->ready); }

void run_turn(struct defer *defer)
{
    struct generation *generation = container_of(defer, struct generation, turn);
    struct list *round = &generation->round, *node;
    int64_t until = clock_boot_us() + TURN_US;
    list_move_all(round, &generation->ready);
    while (clock_boot_us() < until && (node = list_pop_front(round)))
        run_resume(container_of(node, struct run, ready));
    uv_update_time(
        &generation->host->loop->uv); /* timers started next must not count from before */
    if (list_is_empty(round)) return;
    list_move_all(round, &generation->ready); /* the rest goes first next time */
    list_move_all(&generation->ready, round);
    loop_defer(generation->host->loop, &generation->turn);
}

static void run_resume(struct run *run)
{
    int count = 0;
    bool was_interrupted = false;
    if (clock_boot_us() >= run_limit_us(run)) {
        run_decide_limit(run);
    } else if (run->L ? prepare_values(run, &count) : run_begin(run, &count)) {
        int status = resume_slice(run, count, &was_interrupted);
        after_slice(run, status, was_interrupted);
    }
    if (run->is_decided) run_conclude(run);
}

static int resume_slice(struct run *run, int count, bool *was_interrupted)
{
    run->state = RUN_RUNNING;
    process.running = run;
    int64_t from = clock_boot_us();
    struct vm_memory *memory = &run->generation->vm->memory;
    interrupt_enter(run->L, &run->claim, run_limit_us(run));
    (void)fault_here_for("run_resume", run->name);
    memory->was_refused = false;
    memory->is_limited = true;
    int status = lua_resume(run->L, count);
    memory->is_limited = false;
    *was_interrupted = interrupt_leave(run->L);
    int64_t to = clock_boot_us();
    process.running = NULL;
    run_progress_flush(run);
    if (to - from >= LONG_SLICE_US) extend_others(run, from, to);
    if (to - from >= TOLD_SLICE_US) tell_slice(run, from, to);
    return status;
}

/* Nobody else got a turn meanwhile: its author should know. */
static void tell_slice(struct run *run, int64_t from_us, int64_t to_us)
{
    struct task_definition *definition = run->definition;
    char id[IDENT_TEXT_SIZE], place[200] = "its end";
    lua_Debug frame;
    if (run->generation->host->is_isolated) return; /* there is nobody else */
    if (definition->slice_told_us && to_us - definition->slice_told_us < TELL_EVERY_US) return;
    definition->slice_told_us = to_us;
    for (int level = 0; lua_getstack(run->L, level, &frame); level++) {
        lua_getinfo(run->L, "Sl", &frame);
        if (frame.currentline <= 0 || frame.source[0] != '@') continue; /* not of a file */
        snprintf(place, sizeof place, "%s:%d", frame.source + 1, frame.currentline);
        break;
    }
    ident_text(&run->id, id);
    log_warn("task %s (%s) held its runner for %lld ms, until %s: ctx.sleep(0) lets others run",
             run->name, id, (long long)((to_us - from_us) / 1000), place);
}

static void extend_others(const struct run *run, int64_t from_us, int64_t to_us)
{
    LIST_EACH (node, &process.runs) {
        struct run *other = container_of(node, struct run, all);
        if (other == run || other->state == RUN_ENDING) continue;
        int64_t took = to_us - from_us;
        bool is_late = other->deadline_us > from_us && other->deadline_us <= to_us;
        bool is_cancel_late = other->cancel_until_us > from_us && other->cancel_until_us <= to_us;
        if (is_late) other->deadline_us += took;
        if (is_cancel_late) other->cancel_until_us += took;
    }
}

static void after_slice(struct run *run, int status, bool was_interrupted)
{
    if (run->is_decided) return; /* ctx.fatal and the like, run_end from a callback */
    if (was_interrupted)
        run_decide_limit(run);
    else if (status == LUA_YIELD)
        after_yield(run);
    else if (status == 0)
        run_decide_returned(run);
    else
        run_decide_raised(run, status);
}

static void after_yield(struct run *run)
{
    bool is_ours = lua_gettop(run->L) > 0 && lua_touserdata(run->L, 1) == &vm_tag_wait;
    lua_settop(run->L, 0);
    if (is_ours && run->wait)
        run->state = RUN_PARKED;
    else
        run_decide_message(run, END_FAILED,
                           "coroutine.yield was called outside of a coroutine that the task made");
}

struct delivery {
    struct run *run;
    int count;
};

/* The values with which a parked coroutine goes on. push runs on the main thread: an error in it
 * must not meet a coroutine that is not running. */
static bool prepare_values(struct run *run, int *count)
{
    lua_State *main = run->generation->vm->L;
    struct delivery delivery = { .run = run };
    int status = lua_cpcall(main, deliver, &delivery);
    if (status != 0) { /* stack: message */
        lua_pushlightuserdata(run->L, &vm_tag_raise);
        lua_xmove(main, run->L, 1);
        lua_pushinteger(run->L, status == LUA_ERRMEM ? 0 : 2); /* without a place: `memory` */
        delivery.count = 3;
    }
    if (run->release) run->release(run->woken);
    run->push = NULL;
    run->release = NULL;
    run->woken = NULL;
    run->is_raising = false;
    *count = delivery.count;
    return true;
}

static int deliver(lua_State *L)
{
    struct delivery *delivery = lua_touserdata(L, 1);
    struct run *run = delivery->run;
    lua_settop(L, 0);
    if (run->is_raising) {
        lua_pushlightuserdata(L, &vm_tag_raise);
        lua_pushliteral(L, "cancelled");
        lua_pushinteger(L, 0);
        delivery->count = 3;
    } else {
        delivery->count = run->push(L, run->woken);
    }
    lua_checkstack(run->L, delivery->count);
    lua_xmove(L, run->L, delivery->count);
    return 0;
}

void run_cancel(struct run *run)
{
    if (run->is_cancelled || run->state == RUN_ENDING) return;
    run->is_cancelled = true;
    run->cancel_until_us = clock_boot_us() + CANCEL_US;
    run_arm_timer(run);
    if (run->state != RUN_PARKED) return; /* the next wait raises */
    run_abandon(run);
    run->is_raising = true;
    run_make_ready(run);
}

void run_end(struct run *run, enum run_end how)
{
    if (run->state == RUN_ENDING || run->is_decided) return;
    if (how == END_TIMEOUT)
        run_decide_limit(run);
    else
        run_decide(run, how);
    if (run->state == RUN_RUNNING) return; /* from an event of its own: when the slice is over */
    take_out(run);
    run_conclude(run);
}

struct run *run_current(lua_State *L)
{
    (void)L; /* one run is on the CPU, whichever of its coroutines calls */
    return process.running;
}

const struct ident *run_id(const struct run *run) { return &run->id; }

const struct ident *run_claim(const struct run *run) { return &run->claim; }

const char *run_task_name(const struct run *run) { return run->name; }

void *run_owner(const struct run *run) { return run->owner; }

void run_set_owner(struct run *run, void *owner) { run->owner = owner; }

const struct script_host *run_host(const struct run *run) { return run->generation->host; }

int64_t run_deadline_us(const struct run *run) { return run_limit_us(run); }

const char *run_marker(struct run *run) { return run->marker; }
