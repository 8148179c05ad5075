/* follow.c: see follow.h.
 *
 *   follow -> cohort -> [ask the ledger -> tell]* -> final: it ends
 *
 * What is announced only says that there is something new; what it is comes from the ledger, in
 * order, behind what a client knows. So nothing is lost or told twice, whatever became of an
 * announcement, and a client that comes back is served like one that never left. Progress is told
 * as it is announced, behind the start it belongs to: the ledger keeps only the last one.
 *
 * Whose questions go together: cohort.c. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/follow_private.h"

#define LOOK_US      INT64_C(1000000)
#define LOOK_CALM_US INT64_C(30000000) /* nothing should have been lost */

static void follow(struct exchange *exchange, bool wants_logs_only, int64_t after_seq);
static void follows_look(struct follows *follows);
static struct followed *followed_get(struct follows *follows, const struct ident *id);
static void on_gone(struct sse *sse);
static void on_drained(struct sse *sse);
static void on_look(struct timer *timer);
static void on_look_closed(struct timer *timer);

void handle_task_events(struct exchange *exchange) { follow(exchange, false, 0); }

void follow_logs(struct exchange *exchange, int64_t after_seq)
{
    follow(exchange, true, after_seq);
}

static void follow(struct exchange *exchange, bool wants_logs_only, int64_t after_seq)
{
    struct follows *follows = exchange->api->follows;
    const char *last = sse_last_id(exchange);
    struct known known = { -1, 0, after_seq };
    if (last && !known_read(last, &known)) {
        answer_field(exchange, "last_event_id", "is no id of an event of a task");
        return;
    }
    struct watcher *watcher = xcalloc(1, sizeof *watcher);
    list_init(&watcher->node);
    watcher->sse.gone = on_gone;
    watcher->sse.drained = on_drained;
    watcher->exchange = exchange;
    watcher->wants_logs_only = wants_logs_only;
    watcher->is_back = last != NULL;
    watcher->task = followed_get(follows, &exchange->id);
    watcher->task->watchers++;
    cohort_join(watcher, &known);
    if (!uv_is_active((uv_handle_t *)&follows->look.handle)) timer_start(&follows->look, LOOK_US);
}

static struct followed *followed_get(struct follows *follows, const struct ident *id)
{
    struct followed *task = map_find(follows->tasks, id->bytes, 16);
    if (task) return task;
    task = xcalloc(1, sizeof *task);
    task->id = *id;
    task->follows = follows;
    list_init(&task->cohorts);
    map_put(follows->tasks, task->id.bytes, 16, task);
    return task;
}

void followed_release(struct followed *task)
{
    if (task->watchers || !list_is_empty(&task->cohorts)) return;
    map_take(task->follows->tasks, task->id.bytes, 16);
    free(task);
}

/* ---- clients ---- */

/* What it was sent is taken: on with the next page. */
static void on_drained(struct sse *sse)
{
    struct watcher *watcher = container_of(sse, struct watcher, sse);
    if (!watcher->is_paging) return;
    watcher->is_paging = false;
    cohort_join(watcher, &watcher->known);
}

static void on_gone(struct sse *sse) { watcher_free(container_of(sse, struct watcher, sse)); }

void watcher_free(struct watcher *watcher)
{
    struct followed *task = watcher->task;
    struct cohort *cohort = watcher->cohort;
    list_del(&watcher->node);
    free(watcher);
    task->watchers--;
    if (cohort)
        cohort_release(cohort); /* and its task */
    else
        followed_release(task);
}

/* ---- news ---- */

void follows_event(struct follows *follows, const struct announced *announced)
{
    struct followed *task = map_find(follows->tasks, announced->id.bytes, 16);
    uint64_t hash = 0;
    if (!task) return;
    if (announced->kind == ANNOUNCED_PROGRESS)
        hash = known_progress(announced->line, announced->len);
    LIST_EACH (node, &task->cohorts) {
        struct cohort *cohort = container_of(node, struct cohort, node);
        struct buf text = BUF_EMPTY;
        char id[KNOWN_TEXT_SIZE];
        if (announced->kind != ANNOUNCED_PROGRESS) {
            cohort_ask(cohort);
            continue;
        }
        if (cohort->known.attempt < 0) continue; /* its first answer is on the way */
        if (!known_is_started(&cohort->known)) { /* its start is told first */
            cohort->is_behind = true;
            cohort_ask(cohort);
            continue;
        }
        known_text(&cohort->known, id);
        sse_event(&text, "progress", id, announced->line, announced->len);
        cohort->progress = hash;
        LIST_EACH (at, &cohort->watchers) {
            struct watcher *watcher = container_of(at, struct watcher, node);
            if (!watcher->exchange && !watcher->wants_logs_only) sse_write(&watcher->sse, &text);
        }
        buf_close(&text);
    }
}

static void on_look(struct timer *timer)
{
    struct follows *follows = container_of(timer, struct follows, look);
    if (map_count(follows->tasks) == 0) return;
    timer_start(&follows->look, LOOK_US);
    bool is_calm = broker_is_up(follows->api->broker) && !follows->is_blind;
    int64_t pause_us = is_calm ? LOOK_CALM_US : LOOK_US;
    if (clock_boot_us() - follows->looked_us >= pause_us && list_is_empty(&follows->asking))
        follows_look(follows);
}

static void follows_look(struct follows *follows)
{
    size_t at = 0, len;
    const void *key;
    void *value;
    bool was_blind = follows->is_blind;
    follows->looked_us = clock_boot_us();
    follows->is_blind = !broker_is_up(follows->api->broker);
    while (map_next(follows->tasks, &at, &key, &len, &value)) {
        struct followed *task = value;
        LIST_EACH (node, &task->cohorts) {
            struct cohort *cohort = container_of(node, struct cohort, node);
            cohort->is_behind = cohort->is_behind || was_blind;
            cohort_ask(cohort);
        }
    }
}

/* ---- from start to end ---- */

struct follows *follows_new(struct api *api)
{
    struct follows *follows = xcalloc(1, sizeof *follows);
    follows->api = api;
    follows->tasks = map_new();
    cohorts_init(follows);
    timer_init(api->loop, &follows->look, on_look);
    return follows;
}

void follows_stop(struct follows *follows)
{
    follows->is_over = true;
    cohorts_stop(follows);
}

void follows_lost(struct follows *follows)
{
    follows->is_blind = true;
    follows_look(follows);
}

void follows_free(struct follows *follows)
{
    if (!follows) return;
    loop_defer_cancel(&follows->ask);
    map_free(follows->tasks);
    timer_close(&follows->look, on_look_closed);
}

static void on_look_closed(struct timer *timer) { free(container_of(timer, struct follows, look)); }
