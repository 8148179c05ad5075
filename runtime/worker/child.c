/* child.c: one runner process as the supervisor sees it: started -> ready -> (draining) -> reaped.
 *
 * Two references keep the struct: the process and the channel; it is freed when both are gone. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker/runner.h"
#include "worker/supervisor_private.h"

#define BLOCKED_US    1500000  /* past its deadline and deaf to the interrupt */
#define NO_TURN_US    30000000 /* a loop that does not turn though no task is on the CPU */
#define SHORT_LIFE_US 2000000
#ifdef __SANITIZE_ADDRESS__
#define OVERHEAD_BYTES (INT64_C(448) << 20) /* it keeps what was freed */
#else
#define OVERHEAD_BYTES (INT64_C(64) << 20) /* of a process, over what its task may take */
#endif

static bool spawn(struct child *child, int channel_fd, int shared_fd, struct err *err);
static char **environment_of_children(void);
static void send_setup(struct child *child);
static void add_hint(struct jsonw *json, const struct claimed_hint *hint);
static void on_message(void *arg, enum message kind, const char *payload, size_t len);
static void on_channel_closed(void *arg);
static void on_exit_of_child(void *arg, struct proc *proc, struct proc_exit how);
static void kill_for(struct child *child, enum death_cause cause, const char *why);
static bool is_too_large(const struct child *child);
static bool culprit_of(const struct child *child, struct ident *claim);
static void kill_leftovers(struct supervisor *supervisor);
static void on_channel_freed(struct channel *channel);
static void child_unref(struct child *child);

bool child_start(struct supervisor *supervisor, const struct claimed_hint *hint)
{
    struct child *child = xcalloc(1, sizeof *child);
    char id[IDENT_TEXT_SIZE];
    struct err err;
    int pair[2] = { -1, -1 }, shared_fd = -1;
    child->supervisor = supervisor;
    child->isolated = hint != NULL;
    if (hint) child->hint = *hint;
    child->incarnation = ident_random();
    child->began_us = clock_boot_us();
    ident_text(&child->incarnation, id);
    child->run_directory = xasprintf("%s/%s", supervisor->base_directory, id);
    bool good = run_directory_make(child->run_directory, &child->directory_fd, &err);
    good = good && (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 ||
                    err_set(&err, ERR_IO, "socketpair: %s", strerror(errno)));
    good = good && shared_make(&shared_fd, &child->shared, &err);
    if (good) {
        atomic_store(&child->shared->supervisor_tick_us, clock_boot_us());
        atomic_store(&child->shared->runner_turn_us, clock_boot_us());
    }
    good = good && spawn(child, pair[1], shared_fd, &err);
    if (pair[1] >= 0) close(pair[1]);
    if (shared_fd >= 0) close(shared_fd);
    list_push_back(&supervisor->children, &child->node);
    if (!good) {
        log_error("cannot start a runner: %s", err.text);
        if (pair[0] >= 0) close(pair[0]);
        if (child->directory_fd >= 0) (void)rmdir(child->run_directory);
        child->references = 1;
        child_unref(child);
        return false;
    }
    child->references = 2;
    child->channel_open = true;
    channel_open(&child->channel, &supervisor->loop, pair[0], child, on_message, on_channel_closed);
    send_setup(child);
    child_send_generation(child);
    if (supervisor->reconciled) channel_send(&child->channel, MESSAGE_RECONCILED, NULL, 0);
    log_debug("runner %d started", (int)proc_pid(child->proc));
    return true;
}

static bool spawn(struct child *child, int channel_fd, int shared_fd, struct err *err)
{
    const char *argv[] = { "ctutor-run", child->isolated ? "__isolated" : "__runner", NULL };
    int fds[] = { -1, 2, 2, channel_fd, shared_fd, fault_descriptor() };
    char **env = environment_of_children();
    struct proc_options options = {
        .argv = argv,
        .file = SELF_FILE,
        .env = (const char *const *)env,
        .limits = PROC_NO_LIMITS,
        .fds = fds,
        .fd_count = fault_is_armed ? RUNNER_FAULTS_FD + 1 : RUNNER_SHARED_FD + 1,
        .uid = (uid_t)-1,
        .gid = (gid_t)-1,
        .death_signal = SIGCONT, /* a stopped one wakes, its guard sees to the rest */
        .same_session = true
    };
    bool fails = child->isolated ? fault_here("isolated_spawn") : fault_here("child_spawn");
    bool good = (!fails || err_set(err, ERR_IO, "the fault that was ordered")) &&
                proc_start(&options, on_exit_of_child, child, &child->proc, err);
    free(env);
    return good;
}

/* No secrets: those travel in the set-up message. */
static char **environment_of_children(void)
{
    static const char *const kept[] = {
        "PATH=",   "HOME=",         "LANG=",          "LC_ALL=",       "TZ=",
        "TMPDIR=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS=", "TSAN_OPTIONS="
    };
    static char faults[32];
    char **env = xcalloc(COUNT_OF(kept) + 2, sizeof *env);
    size_t count = 0;
    for (char **entry = environ; *entry; entry++) {
        for (size_t i = 0; i < COUNT_OF(kept); i++) {
            if (count < COUNT_OF(kept) && strncmp(*entry, kept[i], strlen(kept[i])) == 0) {
                env[count++] = *entry;
            }
        }
    }
    snprintf(faults, sizeof faults, "%s=%d", FAULTS_VARIABLE, RUNNER_FAULTS_FD);
    if (fault_is_armed) env[count] = faults;
    return env;
}

static void send_setup(struct child *child)
{
    struct supervisor *supervisor = child->supervisor;
    struct buf text = BUF_EMPTY, config = BUF_EMPTY;
    struct jsonw json;
    char incarnation[IDENT_TEXT_SIZE], parent[IDENT_TEXT_SIZE];
    ident_text(&child->incarnation, incarnation);
    ident_text(&supervisor->incarnation, parent);
    config_serialize(supervisor->config, &config);
    jsonw_init(&json, &text);
    jsonw_object(&json);
    jsonw_key(&json, "config");
    jsonw_raw(&json, config.data, config.len);
    jsonw_key_text(&json, "incarnation", incarnation);
    jsonw_key_text(&json, "supervisor", parent);
    jsonw_key_text(&json, "name", supervisor->name);
    jsonw_key_text(&json, "run_directory", child->run_directory);
    jsonw_key_int(&json, "slots", child->isolated ? 1 : supervisor->slots);
    jsonw_key_bool(&json, "burst", supervisor->burst);
    if (child->isolated) add_hint(&json, &child->hint);
    jsonw_object_end(&json);
    channel_send(&child->channel, MESSAGE_SETUP, text.data, text.len);
    buf_close(&config);
    buf_close(&text);
}

static void add_hint(struct jsonw *json, const struct claimed_hint *hint)
{
    char id[IDENT_TEXT_SIZE], token[IDENT_TEXT_SIZE];
    ident_text(&hint->id, id);
    ident_text(&hint->token, token);
    jsonw_key(json, "isolated");
    jsonw_object(json);
    jsonw_key_text(json, "id", id);
    jsonw_key_text(json, "token", token);
    jsonw_key_int(json, "starts", hint->starts);
    jsonw_object_end(json);
}

void child_send_generation(struct child *child)
{
    struct supervisor *supervisor = child->supervisor;
    struct buf payload = BUF_EMPTY;
    buf_add(&payload, &supervisor->generation, sizeof supervisor->generation);
    buf_add(&payload, supervisor->snapshot.data, supervisor->snapshot.len);
    channel_send(&child->channel, MESSAGE_GENERATION, payload.data, payload.len);
    buf_close(&payload);
}

static void on_message(void *arg, enum message kind, const char *payload, size_t len)
{
    struct child *child = arg;
    struct supervisor *supervisor = child->supervisor;
    char *text;
    switch (kind) {
    case MESSAGE_READY:
        child->ready = true;
        if (!child->isolated) supervisor->respawn_us = 0;
        break;
    case MESSAGE_LOADED:
        memcpy(&child->generation, payload, sizeof child->generation);
        reload_child_loaded(supervisor, child, NULL);
        break;
    case MESSAGE_FAILED:
        text = xstrndup(payload, len);
        reload_child_loaded(supervisor, child, text);
        free(text);
        break;
    case MESSAGE_EPOCH:
        text = xstrndup(payload, len);
        keeper_saw_epoch(supervisor->keeper, text);
        free(text);
        break;
    case MESSAGE_IDLE:
        child->idle = true;
        supervisor->isolated.is_empty = false; /* it may have left something there */
        supervisor_changed(supervisor);
        break;
    case MESSAGE_BUSY: child->idle = false; break;
    case MESSAGE_STATS:
        free(child->stats);
        child->stats = xstrndup(payload, len);
        break;
    case MESSAGE_SETUP:
    case MESSAGE_GENERATION:
    case MESSAGE_CANCEL:
    case MESSAGE_DRAIN:
    case MESSAGE_HOOKS:
    case MESSAGE_RECONCILED: break; /* ours to send */
    }
}

void child_drain(struct child *child, int64_t grace_us)
{
    child->draining = true;
    if (child->channel_open)
        channel_send(&child->channel, MESSAGE_DRAIN, &grace_us, sizeof grace_us);
}

void child_kill(struct child *child)
{
    if (child->proc) proc_signal(child->proc, SIGKILL);
    child->killed = true;
}

struct child *child_find(struct supervisor *supervisor, const struct ident *incarnation)
{
    LIST_EACH (node, &supervisor->children) {
        struct child *child = container_of(node, struct child, node);
        if (ident_equal(&child->incarnation, incarnation)) return child;
    }
    return NULL;
}

int64_t child_watch(struct child *child)
{
    if (!child->proc || child->killed) return INT64_MAX;
    int64_t now_us = clock_boot_us();
    bool busy = atomic_load(&child->shared->slice.sequence) & 1;
    int64_t deadline_us = atomic_load(&child->shared->slice.deadline_us);
    int64_t blocked_us = busy && deadline_us != INT64_MAX ? deadline_us + BLOCKED_US : INT64_MAX;
    if (now_us > blocked_us) {
        kill_for(child, DEATH_TIMEOUT,
                 "a task is past its deadline inside a C function that does not return");
    } else if (is_too_large(child)) {
        kill_for(child, DEATH_MEMORY, "its task takes more memory than it may");
    } else if (!busy && now_us - atomic_load(&child->shared->runner_turn_us) > NO_TURN_US) {
        kill_for(child, DEATH_LOST, "its loop has not turned for 30 s");
    }
    return blocked_us == INT64_MAX ? INT64_MAX : blocked_us - now_us + 1000;
}

static void kill_for(struct child *child, enum death_cause cause, const char *why)
{
    log_error("runner %d: %s: killing the process", (int)proc_pid(child->proc), why);
    child->cause = cause;
    child_kill(child);
}

/* Of what Lua takes the state itself keeps count: this is for what C functions take. */
static bool is_too_large(const struct child *child)
{
    int64_t limit = atomic_load(&child->shared->memory);
    return limit && proc_resident_bytes(proc_pid(child->proc)) > limit + OVERHEAD_BYTES;
}

/* ---- the end ---- */

static void on_exit_of_child(void *arg, struct proc *proc, struct proc_exit how)
{
    struct child *child = arg;
    struct supervisor *supervisor = child->supervisor;
    struct ident culprit = { 0 };
    bool clean = how.code == RUNNER_DRAINED;
    pid_t pid = proc_pid(proc);
    child->proc = NULL;
    if (how.code == RUNNER_FENCED) supervisor->fenced++;
    list_del(&child->node);
    list_init(&child->node);
    (void)fault_here("child_reaped");
    kill_leftovers(supervisor); /* before its rows are given back: nothing of the old run may live
                                   beside the new one */
    if (how.signal) {
        log_warn("runner %d was ended by signal %d", (int)pid, how.signal);
    } else if (!clean) {
        log_warn("runner %d exited with status %d", (int)pid, how.code);
    }
    bool guilty = !clean && !child->dismissed && culprit_of(child, &culprit);
    death_write(supervisor, &child->incarnation, guilty ? &culprit : NULL,
                guilty ? child->cause : DEATH_LOST, child->run_directory);
    child->run_directory = NULL;
    if (child->isolated) {
        isolated_give_back(supervisor, &child->hint, !clean);
        isolated_ended(supervisor);
    } else if (clock_boot_us() - child->began_us < SHORT_LIFE_US && !clean) {
        supervisor_back_off(supervisor);
    }
    if (child->channel_open) {
        child->channel_open = false;
        channel_close(&child->channel, on_channel_freed);
    }
    child_unref(child);
    reload_child_gone(supervisor);
    supervisor_changed(supervisor);
}

/* Whose Lua was on the CPU when it died, or whose memory was too much. */
static bool culprit_of(const struct child *child, struct ident *claim)
{
    struct slice_note *slice = &child->shared->slice;
    if (!(atomic_load(&slice->sequence) & 1) && child->cause != DEATH_MEMORY) return false;
    uint64_t words[2] = { atomic_load(&slice->claim_high), atomic_load(&slice->claim_low) };
    memcpy(claim->bytes, words, sizeof words);
    return !ident_is_zero(claim);
}

/* What the dead runner had started came to us, its subreaper. */
static void kill_leftovers(struct supervisor *supervisor)
{
    size_t room = 1, count = 0;
    LIST_EACH (node, &supervisor->children) room++;
    pid_t *spared = xcalloc(room, sizeof *spared);
    LIST_EACH (node, &supervisor->children) {
        struct child *other = container_of(node, struct child, node);
        if (other->proc) spared[count++] = proc_pid(other->proc);
    }
    if (supervisor->checker) spared[count++] = proc_pid(supervisor->checker);
    proc_kill_descendants_but(spared, count);
    free(spared);
}

static void on_channel_closed(void *arg)
{
    struct child *child = arg;
    child->channel_open = false;
    channel_close(&child->channel, on_channel_freed);
}

static void on_channel_freed(struct channel *channel)
{
    child_unref(container_of(channel, struct child, channel));
}

static void child_unref(struct child *child)
{
    if (--child->references > 0) return;
    list_del(&child->node);
    shared_unmap(child->shared);
    if (child->directory_fd >= 0) close(child->directory_fd);
    free(child->run_directory);
    free(child->stats);
    free(child);
}
