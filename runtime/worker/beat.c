/* beat.c: the supervisor renews the heartbeats of its runners and of itself every lease/5 in one
 * statement, and hears in the answer what it must know without Redis: who was declared dead, what
 * was cancelled, hooks owed, requests. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "base/mem.h"
#include "task/params.h"
#include "worker/runner.h"
#include "worker/supervisor_private.h"

#define CANCEL_GRACE_US 5000000 /* to clean up */
#define LATE_US         1000000 /* less than that is said by the runner itself */

static void on_beat_timer(struct timer *timer);
static char *own_stats(const struct supervisor *supervisor);
static char *stats_of(const struct child *child);
static void on_answer(void *arg, const struct heartbeat_answer *answer, const struct err *err);
static bool is_among(const struct ident *id, const struct ident *ids, size_t count);
static void fence_the_dead(struct supervisor *supervisor, const struct heartbeat_answer *answer);
static void pass_cancels_on(struct supervisor *supervisor, const struct heartbeat_answer *answer);
static void shorten_slice(struct child *child, const struct ident *claim);
static void owe_hooks(struct supervisor *supervisor);
static void on_controls(void *arg, const char *json, size_t len, const struct err *err);

void beat_start(struct supervisor *supervisor)
{
    timer_init(&supervisor->loop, &supervisor->beat, on_beat_timer);
    timer_start(&supervisor->beat, 0);
}

static void on_beat_timer(struct timer *timer)
{
    struct supervisor *supervisor = container_of(timer, struct supervisor, beat);
    timer_start(timer, config_duration_us(supervisor->config, SET_LEASE) / 5);
    if (supervisor->beating) return;
    size_t room = 1, count = 1;
    LIST_EACH (node, &supervisor->children) room++;
    struct heartbeat *beats = xcalloc(room, sizeof *beats);
    char **told = xcalloc(room, sizeof *told);
    told[0] = own_stats(supervisor);
    beats[0] = (struct heartbeat){ supervisor->incarnation, told[0] };
    LIST_EACH (node, &supervisor->children) {
        struct child *child = container_of(node, struct child, node);
        if (!child->proc) continue;
        child->beaten = child->ready; /* before that its row may not be there yet */
        told[count] = stats_of(child);
        beats[count] = (struct heartbeat){ child->incarnation, told[count] };
        count++;
    }
    supervisor->beating = true;
    ledger_heartbeat(supervisor->ledger, beats, count, on_answer, supervisor);
    for (size_t i = 0; i < count; i++) free(told[i]);
    free(told);
    free(beats);
}

/* What it said last; a loop that stands still cannot say how late it is. */
static char *stats_of(const struct child *child)
{
    const char *said = child->stats ? child->stats : "{}";
    int64_t turned_us = atomic_load(&child->shared->runner_turn_us);
    int64_t late_us = clock_boot_us() - turned_us - RUNNER_TURN_US;
    int len = (int)strlen(said);
    if (late_us < LATE_US) return xstrdup(said);
    return xasprintf("%.*s%s\"loop_lag\":%.3f}", len - 1, said, len > 2 ? "," : "",
                     (double)late_us / 1e6);
}

static char *own_stats(const struct supervisor *supervisor)
{
    struct buf text = BUF_EMPTY;
    struct jsonw json;
    jsonw_init(&json, &text);
    jsonw_object(&json);
    jsonw_key_int(&json, "generation", supervisor->generation);
    jsonw_key_int(&json, "reload_errors", supervisor->reload_errors);
    jsonw_key_int(&json, "fenced", supervisor->fenced);
    jsonw_key_bool(&json, "draining", supervisor->draining);
    jsonw_key_bool(&json, "keeper", keeper_leads(supervisor->keeper));
    jsonw_object_end(&json);
    return buf_take(&text);
}

static void on_answer(void *arg, const struct heartbeat_answer *answer, const struct err *err)
{
    struct supervisor *supervisor = arg;
    supervisor->beating = false;
    if (err) {
        if (err->code != ERR_CANCELLED) log_warn("heartbeat: %s", err->text);
        return; /* nobody can be declared dead without Postgres either */
    }
    if (!supervisor->registered) return; /* it is leaving */
    fence_the_dead(supervisor, answer);
    pass_cancels_on(supervisor, answer);
    if (answer->hooks_owed) owe_hooks(supervisor);
    if (answer->controls) controls_take(supervisor);
}

static void fence_the_dead(struct supervisor *supervisor, const struct heartbeat_answer *answer)
{
    bool self_dead = !is_among(&supervisor->incarnation, answer->alive, answer->alive_count);
    LIST_EACH (node, &supervisor->children) {
        struct child *child = container_of(node, struct child, node);
        if (!child->proc || !child->beaten || child->killed) continue;
        if (!self_dead && is_among(&child->incarnation, answer->alive, answer->alive_count))
            continue;
        log_error("runner %d was declared dead by the keeper: killing it",
                  (int)proc_pid(child->proc));
        child_kill(child);
    }
    if (!self_dead) return;
    log_error("this worker was declared dead by the keeper: everything it runs is ended");
    (void)fault_here("fence");
    proc_kill_descendants_but(NULL, 0);
    _exit(RUNNER_FENCED);
}

static bool is_among(const struct ident *id, const struct ident *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ident_equal(id, &ids[i])) return true;
    }
    return false;
}

static void pass_cancels_on(struct supervisor *supervisor, const struct heartbeat_answer *answer)
{
    for (size_t i = 0; i < answer->cancel_count; i++) {
        struct child *child = child_find(supervisor, &answer->cancels[i].owner);
        struct ident pair[2] = { answer->cancels[i].id, answer->cancels[i].claim };
        if (!child || !child->channel_open) continue;
        channel_send(&child->channel, MESSAGE_CANCEL, pair, sizeof pair);
        shorten_slice(child, &answer->cancels[i].claim);
    }
}

/* A run that computes without a pause keeps its loop from hearing of the cancel: its slice ends
 * after the grace. The ledger makes REVOKED of whatever end that is. */
static void shorten_slice(struct child *child, const struct ident *claim)
{
    struct slice_note *slice = &child->shared->slice;
    uint64_t words[2] = { atomic_load(&slice->claim_high), atomic_load(&slice->claim_low) };
    int64_t until_us = clock_boot_us() + CANCEL_GRACE_US;
    bool runs =
        (atomic_load(&slice->sequence) & 1) && memcmp(words, claim->bytes, sizeof words) == 0;
    if (runs && atomic_load(&slice->deadline_us) > until_us) {
        atomic_store(&slice->deadline_us, until_us);
    }
}

static void owe_hooks(struct supervisor *supervisor)
{
    LIST_EACH (node, &supervisor->children) {
        struct child *child = container_of(node, struct child, node);
        if (!child->ready || !child->channel_open || child->draining || child->isolated) continue;
        channel_send(&child->channel, MESSAGE_HOOKS, NULL, 0);
        return;
    }
}

void controls_take(struct supervisor *supervisor)
{
    ledger_control_take(supervisor->ledger, &supervisor->incarnation, on_controls, supervisor);
}

static void on_controls(void *arg, const char *json, size_t len, const struct err *err)
{
    struct supervisor *supervisor = arg;
    if (err) return; /* they stay, the next heartbeat says so */
    json_t *requests = params_load(json, len);
    size_t index;
    json_t *request;
    json_array_foreach(requests, index, request)
    {
        struct ident id;
        const char *text = json_string_value(json_object_get(request, "request"));
        const char *verb = json_string_value(json_object_get(request, "verb"));
        if (!text || !verb || !ident_parse(text, &id)) continue;
        log_info("asked to %s", verb);
        if (strcmp(verb, "reload") == 0) {
            reload_start(supervisor, &id);
        } else if (strcmp(verb, "stop") == 0) {
            ledger_control_answer(supervisor->ledger, &supervisor->incarnation, &id,
                                  "{\"stopping\":true}", NULL, NULL);
            supervisor_leave(supervisor);
        }
    }
    json_decref(requests);
}
