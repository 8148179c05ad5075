/* reload.c: tasks.d -> checker process -> snapshot -> every runner -> catalogue.
 *
 *   reload_start -> checker runs aside -> on_checked -> runners load -> all LOADED -> publish ->
 * answers The catalogue is written last: what it says, somebody serves. One reload at a time; a
 * request meanwhile begins another when this one is done. */
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "base/log.h"
#include "base/mem.h"
#include "script/snapshot.h"
#include "worker/supervisor_private.h"

#define CHECKER_US                                                                                 \
    60000000 /* 2 s a file is the checker's own limit; this is for one that is stuck */

static bool spawn_checker(struct supervisor *supervisor, struct err *err);
static int memory_file(const struct buf *bytes);
static void on_checker_deadline(struct timer *timer);
static void on_checked(void *arg, struct proc *proc, struct proc_exit how);
static void log_report(const struct checked *checked);
static void distribute(struct supervisor *supervisor);
static void publish(struct supervisor *supervisor);
static void publish_carried(struct supervisor *supervisor);
static void on_published(void *arg, int64_t count, bool unknown, const struct err *err);
static void reload_end(struct supervisor *supervisor, const char *error);
static void answer(struct supervisor *supervisor, const struct reload_request *request,
                   const char *error);

void reload_init(struct supervisor *supervisor)
{
    list_init(&supervisor->requests);
    list_init(&supervisor->requests_next);
    supervisor->checker_fd = -1;
    timer_init(&supervisor->loop, &supervisor->checker_deadline, on_checker_deadline);
}

void reload_start(struct supervisor *supervisor, const struct ident *request)
{
    struct err err;
    bool busy = supervisor->checker || supervisor->publishing;
    if (request) {
        struct reload_request *asked = xcalloc(1, sizeof *asked);
        asked->id = *request;
        list_push_back(busy ? &supervisor->requests_next : &supervisor->requests, &asked->node);
    }
    if (busy) {
        supervisor->reload_again = true;
        return;
    }
    if (!spawn_checker(supervisor, &err)) {
        log_error("reload: %s", err.text);
        reload_end(supervisor, err.text);
    }
}

static bool spawn_checker(struct supervisor *supervisor, struct err *err)
{
    char *timeout =
        xasprintf("%lld", (long long)config_duration_us(supervisor->config, SET_TIMEOUT));
    const char *argv[] = { supervisor->self_path, "__checker",
                           config_text(supervisor->config, SET_TASKS_DIR), timeout, NULL };
    int before = memory_file(&supervisor->snapshot);
    supervisor->checker_fd = memory_file(NULL);
    int fds[] = { before, supervisor->checker_fd, 2 };
    struct proc_options options = { .argv = argv,
                                    .limits = PROC_NO_LIMITS,
                                    .fds = fds,
                                    .fd_count = COUNT_OF(fds),
                                    .uid = (uid_t)-1,
                                    .gid = (gid_t)-1 };
    bool good = proc_start(&options, on_checked, supervisor, &supervisor->checker, err);
    free(timeout);
    close(before);
    if (good) {
        timer_start(&supervisor->checker_deadline, CHECKER_US);
    } else {
        supervisor->checker = NULL;
        close(supervisor->checker_fd);
    }
    return good;
}

static int memory_file(const struct buf *bytes)
{
    int fd = memfd_create("ctutor-run", MFD_CLOEXEC);
    if (bytes && bytes->len && write(fd, bytes->data, bytes->len) != (ssize_t)bytes->len) abort();
    lseek(fd, 0, SEEK_SET);
    return fd;
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
    (void)proc, (void)how;
    supervisor->checker = NULL;
    timer_stop(&supervisor->checker_deadline);
    checked_close(&supervisor->checked);
    bool good = checked_read(supervisor->checker_fd, &supervisor->checked, &err);
    close(supervisor->checker_fd);
    supervisor->checker_fd = -1;
    if (good && supervisor->checked.error) {
        good = err_set(&err, ERR_INPUT, "%s", supervisor->checked.error);
    }
    if (!good) {
        log_error("reload: %s; what served before goes on", err.text);
        reload_end(supervisor, err.text);
        return;
    }
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
    supervisor->publishing = true;
    if (changed) distribute(supervisor);
    reload_child_loaded(supervisor);
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

static void distribute(struct supervisor *supervisor)
{
    LIST_EACH (node, &supervisor->children) {
        struct child *child = container_of(node, struct child, node);
        if (child->channel_open) child_send_generation(child);
    }
}

void reload_child_loaded(struct supervisor *supervisor)
{
    if (!supervisor->publishing) return;
    LIST_EACH (node, &supervisor->children) {
        struct child *child = container_of(node, struct child, node);
        bool counts = child->proc && child->ready && !child->killed;
        if (counts && child->generation != supervisor->generation) return;
    }
    publish(supervisor);
}

static void publish(struct supervisor *supervisor)
{
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
    supervisor->publishing = false;
    if (err) log_error("the catalogue is not written: %s", err->text);
    log_info("generation %u serves", supervisor->generation);
    reload_end(supervisor, err ? err->text : NULL);
}

static void reload_end(struct supervisor *supervisor, const char *error)
{
    struct list requests;
    list_init(&requests);
    list_move_all(&requests, &supervisor->requests);
    for (struct list *node; (node = list_pop_front(&requests)) != NULL;) {
        struct reload_request *request = container_of(node, struct reload_request, node);
        answer(supervisor, request, error);
        free(request);
    }
    if (supervisor->reload_again && !supervisor->draining) {
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
