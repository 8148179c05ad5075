/* run_begin.c: from the bytes of a start to a coroutine with its arguments. */
#include <jansson.h>
#include <string.h>

#include <lauxlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "script/codec.h"
#include "script/run_state.h"

#define ERRORS_MAX 20

static const char *const functions[] = { [RUN_EXECUTE] = "execute",
                                         [RUN_ON_SUCCESS] = "on_success",
                                         [RUN_ON_RETRY] = "on_retry",
                                         [RUN_ON_FAILURE] = "on_failure" };

static bool params_still_fit(struct run *run);
static void reject_fields(struct run *run, const struct params_error *errors, size_t count);
static int begin_protected(lua_State *L);
static bool push_params(lua_State *L, struct run *run);

bool run_begin(struct run *run, int *argument_count)
{
    lua_State *main = run->generation->vm->L;
    if (!run->definition) {
        log_error("task '%s' is not carried here", run->name);
        run_decide(run, END_RELEASED);
        return false;
    }
    if (run->check_params && !params_still_fit(run)) return false;
    if (lua_cpcall(main, begin_protected, run) != 0) {
        run_decide_message(run, END_MEMORY, lua_tostring(main, -1));
        lua_pop(main, 1);
    }
    buf_close(&run->params);
    buf_close(&run->argument);
    *argument_count = 2;
    return !run->is_decided;
}

static bool params_still_fit(struct run *run)
{
    struct params_error errors[ERRORS_MAX];
    json_t *params = params_load(buf_text(&run->params), run->params.len);
    if (!params) {
        run_decide_message(run, END_REJECTED, "the parameters are no JSON");
        return false;
    }
    size_t count = params_check(run->definition->compiled, params, errors, ERRORS_MAX);
    json_decref(params);
    if (count > 0) reject_fields(run, errors, count < ERRORS_MAX ? count : ERRORS_MAX);
    return count == 0;
}

static void reject_fields(struct run *run, const struct params_error *errors, size_t count)
{
    struct buf message = BUF_EMPTY;
    struct jsonw w;
    buf_add_text(&message, "the parameters no longer fit the task: ");
    jsonw_init(&w, &run->details);
    jsonw_array(&w);
    for (size_t i = 0; i < count; i++) {
        buf_addf(&message, "%s%s%s%s", i > 0 ? "; " : "", errors[i].field,
                 errors[i].field[0] ? " " : "", errors[i].message);
        jsonw_object(&w);
        jsonw_key_text(&w, "field", errors[i].field);
        jsonw_key_text(&w, "message", errors[i].message);
        jsonw_object_end(&w);
    }
    jsonw_array_end(&w);
    run_decide_message(run, END_REJECTED, buf_text(&message));
    buf_close(&message);
}

/* The coroutine gets: function, ctx, parameters or the argument of the hook. */
static int begin_protected(lua_State *L)
{
    struct run *run = lua_touserdata(L, 1);
    struct err err;
    definition_push(L, run->definition, functions[run->kind]);
    if (lua_isnil(L, -1)) { /* a hook that this version does not have */
        run_decide(run, END_RETURNED);
        return 0;
    }
    if (!push_params(L, run)) return 0;
    lua_pushvalue(L, -1);
    ctx_push(L, run);
    lua_insert(L, -2); /* stack: run, function, ctx, params */
    if (run->kind != RUN_EXECUTE) {
        lua_pop(L, 1);
        bool is_given = run->argument.len > 0;
        if (!codec_decode(L, is_given ? run->argument.data : "null",
                          is_given ? run->argument.len : 4, &err)) {
            run_decide_message(run, END_REJECTED, err.text);
            return 0;
        }
    }
    run->L = lua_newthread(L);
    run->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    run->generation->refs++;
    lua_xmove(L, run->L, 3);
    return 0;
}

/* stack: -, + parameters with their defaults */
static bool push_params(lua_State *L, struct run *run)
{
    struct err err;
    bool is_given = run->params.len > 0;
    if (!codec_decode(L, is_given ? run->params.data : "{}", is_given ? run->params.len : 2,
                      &err)) {
        run_decide_message(run, END_REJECTED, err.text);
        return false;
    }
    if (!lua_istable(L, -1)) {
        run_decide_message(run, END_REJECTED, "the parameters are not an object");
        return false;
    }
    environment_push_part(L, PART_FILL);
    lua_pushvalue(L, -2);
    definition_push(L, run->definition, "schema");
    lua_call(L, 2, 0);
    return true;
}
