#include "io/redis_call.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/redis_command.h"

#define DEADLINE_US 5000000

/* Troubles of the server, by the first word of its error. They pass, or another server is to be
 * asked. */
static const struct {
    const char *word;
    bool ask_elsewhere;
} troubles[] = {
    { "READONLY", true },    { "MASTERDOWN", true },   { "NOAUTH", true },
    { "LOADING", false },    { "OOM", false },         { "BUSY", false },
    { "MISCONF", false },    { "CLUSTERDOWN", false }, { "NOREPLICAS", false },
    { "UNKILLABLE", false }, { "TRYAGAIN", false },
};

static struct redis_call *call_new(const struct redis_command *command, redis_done_fn *done,
                                   void *arg);
static const char *cause_of(const char *error);
static bool begins_with_word(const char *text, const char *word);

struct redis_call *redis_call_new(const struct redis_command *command, redis_done_fn *done,
                                  void *arg)
{
    struct redis_call *call = call_new(command, done, arg);
    redis_command_begin(&call->bytes, command->argc);
    redis_command_args(&call->bytes, command);
    return call;
}

struct redis_call *redis_call_new_script(struct redis_script *script, size_t key_count,
                                         const struct redis_command *keys_and_args,
                                         redis_done_fn *done, void *arg)
{
    struct redis_call *call = call_new(keys_and_args, done, arg);
    if (!script->sha[0]) redis_sha1_hex(script->text, strlen(script->text), script->sha);
    call->script = script;
    call->verb = script->name;
    call->shared_at = redis_command_evalsha(&call->bytes, script, key_count, keys_and_args);
    return call;
}

static struct redis_call *call_new(const struct redis_command *command, redis_done_fn *done,
                                   void *arg)
{
    struct redis_call *call = xcalloc(1, sizeof *call);
    list_init(&call->node);
    call->done = done;
    call->arg = arg;
    call->argc = command->argc;
    call->verb = command->verb;
    call->deadline_us =
        clock_boot_us() + (command->deadline_us > 0 ? command->deadline_us : DEADLINE_US);
    return call;
}

void redis_call_finish(struct redis_call *call, const struct redis_reply *reply,
                       const struct err *err)
{
    call->done(call->arg, reply, err);
    buf_close(&call->bytes);
    free(call);
}

bool redis_call_may_repeat(struct redis_call *call, const char *error)
{
    if (call->shared_at == 0 || !begins_with_word(error, "NOSCRIPT")) return false;
    redis_command_eval_instead(&call->bytes, call->shared_at, call->script, call->argc);
    call->shared_at = 0;
    return true;
}

bool redis_call_judge(const struct redis_call *call, const char *error, const char *server,
                      struct err *err)
{
    for (size_t i = 0; i < COUNT_OF(troubles); i++) {
        if (!begins_with_word(cause_of(error), troubles[i].word)) continue;
        err_set(err, ERR_STORE, "Redis (%s) answered: %s", server, error);
        return troubles[i].ask_elsewhere;
    }
    err_set(err, ERR_INTERNAL, "Redis (%s) answered%s%s: %s", server, call->script ? " to " : "",
            call->script ? call->script->name : "", error);
    return false;
}

/* Before version 7 what stops a command within a script is named behind where it happened: "ERR
 * Error running script (call to f_..): @user_script:4: @user_script: 4: -OOM command not ..." */
static const char *cause_of(const char *error)
{
    const char *cause = strstr(error, ": -");
    bool is_wrapped = strncmp(error, "ERR Error running script", 24) == 0;
    return is_wrapped && cause ? cause + 3 : error;
}

static bool begins_with_word(const char *text, const char *word)
{
    size_t len = strlen(word);
    return strncmp(text, word, len) == 0 && (text[len] == ' ' || text[len] == '\0');
}
