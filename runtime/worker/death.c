/* death.c: the end of an incarnation -> the ledger gives its tasks back -> hints. Written again and
 * again until Postgres answers (it is made to be). */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/tree.h"
#include "lifecycle/await.h"
#include "task/params.h"
#include "worker/machine.h"
#include "worker/supervisor_private.h"

#define REPEAT_US 1000000

struct death_note {
    struct supervisor *supervisor;
    struct death death;
    struct timer repeat;
};

struct removal {
    uv_work_t work;
    struct supervisor *supervisor;
    char *path;
};

static void remove_aside(struct supervisor *supervisor, char *takes_path);
static void remove_now(uv_work_t *work);
static void on_removed(uv_work_t *work, int status);
static void write_again(struct timer *timer);
static void on_declared(void *arg, const struct ledger_hints *hints, const struct err *err);
static void on_closed(struct timer *timer);
static json_t *read_host(struct supervisor *supervisor);
static void bury(struct supervisor *supervisor, const json_t *corpse);
static bool lives(pid_t pid, uint64_t start_ticks);

void death_write(struct supervisor *supervisor, const struct ident *incarnation,
                 const struct ident *culprit, enum death_cause cause, char *takes_directory)
{
    struct death_note *note = xcalloc(1, sizeof *note);
    if (takes_directory) remove_aside(supervisor, takes_directory);
    note->supervisor = supervisor;
    note->death =
        (struct death){ .incarnation = *incarnation, .cause = cause, .seen_heartbeat = -1 };
    if (culprit) note->death.culprit_claim = *culprit;
    timer_init(&supervisor->loop, &note->repeat, write_again);
    supervisor->deaths++;
    write_again(&note->repeat);
}

/* What a run left may be large, and the supervisor's loop must go on turning. */
static void remove_aside(struct supervisor *supervisor, char *takes_path)
{
    struct removal *removal = xcalloc(1, sizeof *removal);
    removal->supervisor = supervisor;
    removal->path = takes_path;
    supervisor->removals++;
    if (uv_queue_work(&supervisor->loop.uv, &removal->work, remove_now, on_removed) != 0) {
        remove_now(&removal->work);
        on_removed(&removal->work, 0);
    }
}

static void remove_now(uv_work_t *work)
{
    struct removal *removal = container_of(work, struct removal, work);
    struct err err;
    if (!tree_remove_all(removal->path, &err)) log_warn("%s", err.text);
}

static void on_removed(uv_work_t *work, int status)
{
    struct removal *removal = container_of(work, struct removal, work);
    (void)status;
    removal->supervisor->removals--;
    free(removal->path);
    free(removal);
}

static void write_again(struct timer *timer)
{
    struct death_note *note = container_of(timer, struct death_note, repeat);
    ledger_declare_dead(note->supervisor->ledger, &note->death, on_declared, note);
}

static void on_declared(void *arg, const struct ledger_hints *hints, const struct err *err)
{
    struct death_note *note = arg;
    struct supervisor *supervisor = note->supervisor;
    if (err && err->code != ERR_CANCELLED) {
        if (err->code != ERR_STORE) log_error("giving back the tasks of a runner: %s", err->text);
        timer_start(&note->repeat, REPEAT_US);
        return;
    }
    if (!err && hints->count) {
        log_info("%zu tasks of a runner that ended go back to their queues", hints->count);
        broker_push(supervisor->broker, hints->hints, hints->count, NULL, NULL);
    }
    if (!err && hints->next_run_at_us) {
        if (broker_is_up(supervisor->broker)) {
            broker_wake_keeper(supervisor->broker, hints->next_run_at_us);
        }
        if (supervisor->keeper) keeper_wake(supervisor->keeper, hints->next_run_at_us);
    }
    supervisor->deaths--;
    timer_close(&note->repeat, on_closed);
    supervisor_changed(supervisor);
}

static void on_closed(struct timer *timer) { free(container_of(timer, struct death_note, repeat)); }

/* Incarnations of this host and boot whose process is gone: a whole worker was killed at once. */
void corpses_bury(struct supervisor *supervisor)
{
    json_t *all = read_host(supervisor), *one;
    size_t index;
    json_array_foreach(all, index, one) bury(supervisor, one);
    json_decref(all);
}

/* gives an array, or NULL */
static json_t *read_host(struct supervisor *supervisor)
{
    struct await await = { 0 };
    struct err err;
    struct machine machine;
    json_t *all = NULL;
    machine_read(&machine);
    ledger_workers_of_host(supervisor->ledger, machine.host, machine.boot_id, await_json, &await);
    if (await_run(&supervisor->loop, &await, &err)) {
        all = params_load(await.json.data, await.json.len);
    } else {
        log_warn("cannot look for dead runners of this machine: %s", err.text);
    }
    await_close(&await);
    return all;
}

static void bury(struct supervisor *supervisor, const json_t *corpse)
{
    struct ident incarnation;
    const char *text = json_string_value(json_object_get(corpse, "incarnation"));
    pid_t pid = (pid_t)json_integer_value(json_object_get(corpse, "pid"));
    uint64_t start = (uint64_t)json_integer_value(json_object_get(corpse, "pid_start"));
    if (!text || !ident_parse(text, &incarnation)) return;
    if (ident_equal(&incarnation, &supervisor->incarnation)) return;
    if (lives(pid, start)) return;
    char *marker = xasprintf("CTUTOR_WORKER=%s", text);
    proc_kill_tree(0, marker);
    free(marker);
    log_info("burying runner %d, which died with its supervisor", (int)pid);
    death_write(supervisor, &incarnation, NULL, DEATH_LOST,
                xasprintf("%s/%s", supervisor->base_directory, text));
}

/* A zombie is dead: in a container nobody may ever reap the runners of a killed supervisor. What
 * cannot be seen (no descriptor left, /proc hidden) counts as living: the keeper will know. */
static bool lives(pid_t pid, uint64_t start_ticks)
{
    struct pollfd end = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
    if (end.fd < 0) return errno != ESRCH && errno != EINVAL;
    uint64_t found_ticks = proc_start_ticks(pid);
    bool ended = poll(&end, 1, 0) > 0;
    close(end.fd);
    return !ended && (found_ticks == 0 || found_ticks == start_ticks);
}

bool is_name_of_neighbour(struct supervisor *supervisor)
{
    bool found = false;
    json_t *all = read_host(supervisor), *one;
    size_t index;
    json_array_foreach(all, index, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        found = found || (json_is_null(json_object_get(one, "supervisor")) && name &&
                          strcmp(name, supervisor->name) == 0);
    }
    json_decref(all);
    return found;
}
