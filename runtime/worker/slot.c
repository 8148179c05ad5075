/* slot.c: one start: ledger's answer -> run -> decision -> settlement.
 *
 *   slot_open -> run_start -> (on_progress | on_log)* -> on_ended -> [logs written] -> settle ->
 * on_settled -> hook, slot gone
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "task/outcome.h"
#include "worker/runner_private.h"

static void on_progress(void *arg, struct run *run, double percent, const char *metadata);
static void on_log(void *arg, struct run *run, const char *level, const char *text, size_t len);
static void on_ended(void *arg, struct run *run, const struct run_ended *ended);
static void keep_outcome(struct slot *slot, const struct run_ended *ended,
                         const struct decision *decision);
static const char *hook_word(const struct slot *slot, enum task_status status);
static char *copy(const char *text, size_t len);
static void slot_settle(struct slot *slot);
static void on_settled(void *arg, const struct finished *finished);
static void slot_free(struct slot *slot);

void slot_open(struct runner *runner, const struct ident *id, const struct ident *claim,
               const struct started *started)
{
    const struct definition *definition = generation_find(runner->generation, started->name);
    struct slot *slot = xcalloc(1, sizeof *slot);
    slot->runner = runner;
    slot->id = *id;
    slot->claim = *claim;
    slot->name = xstrdup(started->name);
    slot->queue = xstrdup(started->queue);
    slot->retry = started->retry;
    slot->priority = started->priority;
    slot->attempt = started->attempt;
    slot->failures = started->failures;
    slot->created_at_us = started->created_at_us;
    list_init(&slot->dirty);
    list_push_back(&runner->open_slots, &slot->node);
    map_put(runner->slots_by_id, id, sizeof *id, slot);
    runner->running++;
    if (definition && runner->isolated && definition->memory) {
        generation_limit_memory(runner->generation, definition->memory);
        atomic_store(&runner->shared->memory, definition->memory);
    }
    if (definition && definition->hooks) {
        slot->params = copy(started->params, started->params_len);
        slot->params_len = started->params_len;
    }
    announce_status(runner->announcer, id, TASK_STARTED, started->attempt);
    struct run_spec spec = {
        .kind = RUN_EXECUTE,
        .name = started->name,
        .id = *id,
        .claim = *claim,
        .queue = started->queue,
        .worker = runner->name,
        .priority = started->priority,
        .attempt = started->attempt,
        .failures = started->failures,
        .max_attempts = started->retry.max + 1,
        .created_at_us = started->created_at_us,
        .timeout_us = started->timeout_us,
        .params = started->params,
        .params_len = started->params_len,
        .check_params = definition && strcmp(definition->schema_hash, started->schema_hash) != 0,
    };
    struct run_events events = { slot, on_ended, on_progress, on_log };
    slot->run = run_start(runner->generation, &spec, &events);
}

struct slot *slot_find(struct runner *runner, const struct ident *id, const struct ident *claim)
{
    struct slot *slot = map_find(runner->slots_by_id, id, sizeof *id);
    return slot && (!claim || ident_equal(claim, &slot->claim)) ? slot : NULL;
}

static void on_progress(void *arg, struct run *run, double percent, const char *metadata)
{
    (void)run;
    report_progress(arg, percent, metadata);
}

static void on_log(void *arg, struct run *run, const char *level, const char *text, size_t len)
{
    (void)run;
    report_log(arg, level, text, len);
}

static void on_ended(void *arg, struct run *run, const struct run_ended *ended)
{
    struct slot *slot = arg;
    struct runner *runner = slot->runner;
    (void)run;
    struct run_facts facts = { .end = ended->end,
                               .failures = slot->failures,
                               .max_attempts = slot->retry.max + 1,
                               .asked_delay_us = ended->delay_us,
                               .random01 = drand48(),
                               .policy = slot->retry };
    struct decision decision = outcome_decide(&facts);
    progress_forget(slot);
    report_dropped(slot);
    keep_outcome(slot, ended, &decision);
    slot->run = NULL;
    slot->ended = true;
    runner->running--;
    runner->done++;
    if (slot->logs_pending == 0) slot_settle(slot);
    runner_changed(runner);
}

static void keep_outcome(struct slot *slot, const struct run_ended *ended,
                         const struct decision *decision)
{
    bool again = !task_status_is_final(decision->status);
    slot->result = decision->status == TASK_SUCCESS ? copy(ended->result, ended->result_len) : NULL;
    slot->error = copy(ended->error, ended->error_len);
    slot->metadata = ended->metadata ? xstrdup(ended->metadata) : NULL;
    slot->finish = (struct finish){
        .id = slot->id,
        .claim = slot->claim,
        .status = decision->status,
        .spends_failure = decision->spends_failure,
        .delay_us = decision->delay_us,
        .ended = !again                       ? NULL
                 : ended->end == END_SNOOZED  ? "snoozed"
                 : ended->end == END_RELEASED ? "released"
                                              : "failed",
        .result = slot->result,
        .result_len = slot->result ? ended->result_len : 0,
        .error = slot->error,
        .error_len = slot->error ? ended->error_len : 0,
        .percent = ended->percent,
        .metadata = slot->metadata,
        .hook = hook_word(slot, decision->status),
    };
}

static const char *hook_word(const struct slot *slot, enum task_status status)
{
    const struct definition *definition = generation_find(slot->runner->generation, slot->name);
    unsigned hooks = definition ? definition->hooks : 0;
    if (status == TASK_SUCCESS && (hooks & HOOK_SUCCESS)) return "success";
    if (status == TASK_FAILURE && (hooks & HOOK_FAILURE)) return "failure";
    if (status == TASK_RETRY && (hooks & HOOK_RETRY)) return "retry";
    return NULL;
}

static char *copy(const char *text, size_t len) { return text ? xstrndup(text, len) : NULL; }

void slot_logs_written(struct slot *slot, size_t count)
{
    slot->logs_pending -= count;
    if (slot->ended && slot->logs_pending == 0) slot_settle(slot);
}

static void slot_settle(struct slot *slot)
{
    settle(slot->runner->settler, &slot->finish, slot->attempt, on_settled, slot);
}

static void on_settled(void *arg, const struct finished *finished)
{
    struct slot *slot = arg;
    struct runner *runner = slot->runner;
    if (finished->verdict == FINISH_FENCED) {
        char id[IDENT_TEXT_SIZE];
        ident_text(&slot->id, id);
        log_warn("fenced: the end of %s, attempt %d, came too late and changes nothing", id,
                 slot->attempt);
    } else if (slot->finish.hook) {
        hook_after(slot, finished->status);
    }
    slot_free(slot);
    runner_changed(runner);
}

static void slot_free(struct slot *slot)
{
    struct map *by_id = slot->runner->slots_by_id;
    if (map_find(by_id, &slot->id, sizeof slot->id) == slot)
        map_take(by_id, &slot->id, sizeof slot->id);
    list_del(&slot->node);
    list_del(&slot->dirty);
    free(slot->name);
    free(slot->queue);
    free(slot->result);
    free(slot->error);
    free(slot->metadata);
    free(slot->params);
    free(slot->progress_metadata);
    free(slot);
}
