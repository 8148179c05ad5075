/* reload.c: tasks.d -> checker process -> snapshot -> every runner -> catalogue.
 *
 *   reload_start -> checker runs aside -> on_checked -> runners load -> all LOADED -> publish ->
 * answers The catalogue is written last: what it says, somebody serves. One reload at a time; a
 * request meanwhile begins another when this one is done. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "base/mem.h"
#include "script/snapshot.h"
#include "worker/supervisor_private.h"

/* The checker itself ends what takes too long; this is for one that hangs. */
#define CHECKER_US 60000000
/* A runner whose loop is held by a task loads when that lets go. After this time one that serves
 * the new code is enough, after the longer one nobody is waited for. */
#define LOADED_US      500000
#define LOADED_MOST_US 5000000
#define LOAD_TRIES     3 /* the checker found it good: a runner may have lacked time or memory */
#define REPEAT_US      2000000 /* Postgres was away when the catalogue was to be written */

static void on_checker_deadline(struct timer *timer);
static void on_loaded_deadline(struct timer *timer);
static void on_checked(void *arg, struct proc *proc, struct proc_exit how);
static void log_report(const struct checked *checked);
static void distribute(struct supervisor *supervisor, bool is_new);
static bool is_awaited(const struct supervisor *supervisor);
static void publish(struct supervisor *supervisor);
static void publish_carried(struct supervisor *supervisor);
static void on_published(void *arg, int64_t count, bool unknown, const struct err *err);
static void on_repeat(struct timer *timer);
static void reload_failed(struct supervisor *supervisor, const char *error);
static void reload_end(struct supervisor *supervisor, const char *error);
static void answer(struct supervisor *supervisor, const struct reload_request *request,
                   const char *error);

void reload_init(struct supervisor *supervisor)
{
    list_init(&supervisor->requests);
    list_init(&supervisor->requests_next);
    supervisor->checker_fd = -1;
    timer_init(&supervisor->loop, &supervisor->checker_deadline, on_checker_deadline);
    timer_init(&supervisor->loop, &supervisor->loaded_deadline, on_loaded_deadline);
    timer_init(&supervisor->loop, &supervisor->reload_repeat, on_repeat);
}

void reload_start(struct supervisor *supervisor, const struct ident *request)
{
    struct err err;
    bool busy = supervisor->phase != RELOAD_NONE;
    if (request) {
        struct reload_request *asked = xcalloc(1, sizeof *asked);
        asked->id = *request;
        list_push_back(busy ? &supervisor->requests_next : &supervisor->requests, &asked->node);
    }
    if (busy) {
        supervisor->reload_again = true;
        return;
    }
    if (supervisor->draining) {
        reload_end(supervisor, "this worker is leaving");
        return;
    }
    supervisor->phase = RELOAD_CHECKING;
    if (!checking_start(config_text(supervisor->config, SET_TASKS_DIR),
                        config_duration_us(supervisor->config, SET_TIMEOUT), &supervisor->snapshot,
                        on_checked, supervisor, &supervisor->checker, &supervisor->checker_fd,
                        &err)) {
        supervisor->checker = NULL;
        reload_failed(supervisor, err.text);
        return;
    }
    timer_start(&supervisor->checker_deadline, CHECKER_US);
}

static void on_checker_deadline(struct timer *timer)
{
    struct supervisor *supervisor = container_of(timer, struct supervisor, checker_deadline);
    if (supervisor->checker) proc_signal(supervisor->checker, SIGKILL);
}

static void on_checked(void *arg, struct proc *proc, struct proc_exit how)
{
    struct supervisor *supervisor = arg;
    struct err err;
    (void)proc;
    supervisor->checker = NULL;
    timer_stop(&supervisor->checker_deadline);
    checked_close(&supervisor->checked);
    bool good = checked_read(supervisor->checker_fd, &supervisor->checked, &err);
    close(supervisor->checker_fd);
    supervisor->checker_fd = -1;
    if (good && supervisor->checked.error) {
        good = err_set(&err, ERR_INPUT, "%s", supervisor->checked.error);
    }
    if (!good && how.signal) err_wrap(&err, "signal %d", how.signal);
    if (!good) {
        reload_failed(supervisor, err.text);
        return;
    }
    (void)fault_here("reload_checked");
    log_report(&supervisor->checked);
    bool changed = supervisor->checked.snapshot.len != supervisor->snapshot.len ||
                   memcmp(supervisor->checked.snapshot.data, supervisor->snapshot.data,
                          supervisor->snapshot.len) != 0;
    if (changed || !supervisor->generation) {
        buf_close(&supervisor->snapshot);
        supervisor->snapshot = supervisor->checked.snapshot;
        supervisor->checked.snapshot = BUF_EMPTY;
        supervisor->generation++;
    }
    supervisor->phase = RELOAD_LOADING;
    supervisor->loads_late = false;
    timer_start(&supervisor->loaded_deadline, LOADED_US);
    distribute(supervisor, changed);
    reload_child_gone(supervisor);
}

static void log_report(const struct checked *checked)
{
    json_t *files = json_loadb(checked->report.data, checked->report.len, 0, NULL);
    size_t index;
    json_t *file;
    json_array_foreach(files, index, file)
    {
        const char *name = json_string_value(json_object_get(file, "file"));
        const char *outcome = json_string_value(json_object_get(file, "outcome"));
        const char *error = json_string_value(json_object_get(file, "error"));
        if (error) {
            log_error("%s: %s: %s", name, outcome, error);
        } else if (outcome && strcmp(outcome, "unchanged") != 0) {
            log_info("%s: %s", name, outcome);
        }
    }
    json_decref(files);
}

/* Also to those that could not build it before. */
static void distribute(struct supervisor *supervisor, bool is_new)
{
    LIST_EACH (node, &supervisor->children) {
        struct child *child = container_of(node, struct child, node);
        if (!child->channel_open || child->isolated || !(is_new || child->load_failures)) continue;
        child->load_failures = 0;
        child->generation = 0; /* it is waited for */
        child_send_generation(child);
    }
}

void reload_child_loaded(struct supervisor *supervisor, struct child *child, const char *error)
{
    int pid = child->proc ? (int)proc_pid(child->proc) : 0;
    child->load_failures = error ? child->load_failures + 1 : 0;
    if (error && child->load_failures < LOAD_TRIES && child->channel_open) {
        log_warn("runner %d builds generation %u anew: %s", pid, supervisor->generation, error);
        child_send_generation(child);
        return;
    }
    if (error) {
        log_error("runner %d keeps its old code: %s", pid, error);
        free(supervisor->load_error);
        supervisor->load_error = xasprintf("runner %d keeps its old code: %s", pid, error);
        child->generation = supervisor->generation;
    }
    reload_child_gone(supervisor);
}

void reload_child_gone(struct supervisor *supervisor)
{
    if (supervisor->phase == RELOAD_LOADING && !is_awaited(supervisor)) publish(supervisor);
}

/* Is there a runner that serves, but not yet the newest code? */
static bool is_awaited(const struct supervisor *supervisor)
{
    size_t old = 0, fresh = 0;
    LIST_EACH (node, &supervisor->children) {
        struct child *child = container_of(node, struct child, node);
        if (!child->proc || !child->ready || child->killed || child->isolated) continue;
        if (child->generation == supervisor->generation) {
            fresh++;
        } else {
            old++;
        }
    }
    return old > 0 && !(supervisor->loads_late && fresh > 0);
}

static void on_loaded_deadline(struct timer *timer)
{
    struct supervisor *supervisor = container_of(timer, struct supervisor, loaded_deadline);
    if (supervisor->phase != RELOAD_LOADING) return;
    if (supervisor->loads_late) {
        log_warn("the runners are busy and load the new code later");
        publish(supervisor);
        return;
    }
    supervisor->loads_late = true;
    timer_start(timer, LOADED_MOST_US);
    reload_child_gone(supervisor);
}

static void publish(struct supervisor *supervisor)
{
    supervisor->phase = RELOAD_PUBLISHING;
    timer_stop(&supervisor->loaded_deadline);
    struct buf *catalogue = &supervisor->checked.catalogue;
    ledger_catalogue_publish(supervisor->ledger, &supervisor->incarnation, catalogue->data,
                             catalogue->len, on_published, supervisor);
    publish_carried(supervisor);
}

/* What this worker carries is its snapshot: that has also the tasks whose file failed and whose old
 * version goes on. */
static void publish_carried(struct supervisor *supervisor)
{
    struct snapshot snapshot = { 0 };
    struct err err;
    if (!snapshot_decode(supervisor->snapshot.data, supervisor->snapshot.len, &snapshot, &err)) {
        log_error("what this worker carries is not written: %s", err.text);
        return;
    }
    const char **names = xcalloc(snapshot.task_count + 1, sizeof *names);
    for (size_t i = 0; i < snapshot.task_count; i++) names[i] = snapshot.tasks[i].name;
    supervisor->isolated.kin = snapshot.task_count ? claim_kin(names, snapshot.task_count) : 0;
    isolated_look(supervisor);
    json_t *root =
        json_loadb(supervisor->checked.catalogue.data, supervisor->checked.catalogue.len, 0, NULL);
    supervisor->reload_errors = (int64_t)json_array_size(json_object_get(root, "errors"));
    char *version = xasprintf("generation %u", supervisor->generation);
    ledger_worker_carries(supervisor->ledger, &supervisor->incarnation, names, version, NULL, NULL);
    free(version);
    free(names);
    json_decref(root);
    snapshot_close(&snapshot);
}

static void on_published(void *arg, int64_t count, bool unknown, const struct err *err)
{
    struct supervisor *supervisor = arg;
    (void)count, (void)unknown;
    if (err && err->code == ERR_CANCELLED) return;
    if (err) log_error("the catalogue is not written: %s", err->text);
    if (err && err->code == ERR_STORE) timer_start(&supervisor->reload_repeat, REPEAT_US);
    log_info("generation %u serves", supervisor->generation);
    reload_end(supervisor, err ? err->text : supervisor->load_error);
}

static void on_repeat(struct timer *timer)
{
    struct supervisor *supervisor = container_of(timer, struct supervisor, reload_repeat);
    reload_start(supervisor, NULL);
}

/* Nothing of it is taken. Before the first load that is the end (supervisor_prepare says why). */
static void reload_failed(struct supervisor *supervisor, const char *error)
{
    if (supervisor->generation) {
        log_error("reload: %s; what served before goes on", error);
    } else {
        free(supervisor->first_error);
        supervisor->first_error = xstrdup(error);
    }
    reload_end(supervisor, error);
}

static void reload_end(struct supervisor *supervisor, const char *error)
{
    struct list requests;
    supervisor->phase = RELOAD_NONE;
    list_init(&requests);
    list_move_all(&requests, &supervisor->requests);
    for (struct list *node; (node = list_pop_front(&requests)) != NULL;) {
        struct reload_request *request = container_of(node, struct reload_request, node);
        answer(supervisor, request, error);
        free(request);
    }
    free(supervisor->load_error);
    supervisor->load_error = NULL;
    if (supervisor->reload_again) {
        supervisor->reload_again = false;
        list_move_all(&supervisor->requests, &supervisor->requests_next);
        reload_start(supervisor, NULL);
    }
}

static void answer(struct supervisor *supervisor, const struct reload_request *request,
                   const char *error)
{
    struct buf text = BUF_EMPTY;
    struct jsonw json;
    jsonw_init(&json, &text);
    jsonw_object(&json);
    jsonw_key_text(&json, "worker", supervisor->name);
    jsonw_key_text(&json, "error", error);
    jsonw_key(&json, "files");
    if (supervisor->checked.report.len) {
        jsonw_raw(&json, supervisor->checked.report.data, supervisor->checked.report.len);
    } else {
        jsonw_array(&json);
        jsonw_array_end(&json);
    }
    jsonw_object_end(&json);
    ledger_control_answer(supervisor->ledger, &supervisor->incarnation, &request->id,
                          buf_text(&text), NULL, NULL);
    buf_close(&text);
}
