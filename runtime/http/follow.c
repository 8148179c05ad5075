/* follow.c: see follow.h.
 *
 *   follow -> cohort -> [ask the ledger -> tell]* -> final: it ends
 *
 * What is announced only says that there is something new; what it is comes from the ledger, in
 * order, behind what a client knows. So nothing is lost or told twice, whatever became of an
 * announcement, and a client that comes back is served like one that never left. Progress is told
 * as it is announced, behind the start it belongs to: the ledger keeps only the last one.
 *
 * Clients that know the same of a task are a cohort: one question and one text for all of them.
 * Whoever comes, comes back or lags behind makes a cohort of his own, until he knows what another
 * one knows. Questions of many cohorts go together. */
#include "http/follow.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/known.h"
#include "http/selection.h"
#include "http/sse.h"

#define ASK_MAX      500
#define LOOK_US      INT64_C(1000000)
#define LOOK_CALM_US INT64_C(30000000) /* nothing should have been lost */

struct follows {
    struct api *api;
    struct map *tasks;  /* id -> struct followed */
    struct list asking; /* cohorts: with the next question */
    struct defer ask;
    struct cohort *asked[ASK_MAX]; /* the question under way */
    size_t asked_count;            /* 0: none is */
    struct timer look;             /* while somebody follows */
    int64_t looked_us;
    bool is_blind; /* something may have been lost */
    bool is_over;  /* the ledger is not asked any more */
};

struct followed {
    struct ident id;
    struct follows *follows;
    struct list cohorts;
    size_t watchers;
};

struct cohort {
    struct list node;   /* of its task */
    struct list asking; /* of all */
    struct followed *task;
    struct list watchers;
    struct known known;
    uint64_t progress; /* hash of the last one told; 0: none was */
    bool is_asked, asks_again;
    bool is_behind; /* progress may have been lost */
};

struct watcher {
    struct list node; /* of its cohort */
    struct sse sse;
    struct followed *task;
    struct cohort *cohort;     /* NULL: it has all there is, or must first take what was written */
    struct exchange *exchange; /* until it streams */
    struct known known;        /* while it takes what was written */
    bool wants_logs_only, is_back, is_paging;
};

/* One answer, written once for all. */
struct told {
    struct buf all, logs;
    enum news_kind end;
    bool is_news; /* more than how far it came */
};

static void follow(struct exchange *exchange, bool wants_logs_only, int64_t after_seq);
static void follows_look(struct follows *follows);
static struct followed *followed_get(struct follows *follows, const struct ident *id);
static void followed_release(struct followed *task);
static void cohort_join(struct watcher *watcher, const struct known *known);
static struct cohort *cohort_like(struct followed *task, const struct known *known,
                                  const struct cohort *but);
static void cohort_release(struct cohort *cohort);
static void cohort_settle(struct cohort *cohort);
static void ask(struct cohort *cohort);
static void on_ask(struct defer *defer);
static void on_news(void *arg, const struct news *news, size_t count, const struct err *err);
static void tell(struct cohort *cohort, const struct news *news, size_t count);
static void write_news(struct cohort *cohort, const struct news *news, size_t count,
                       struct told *told);
static void tell_one(struct watcher *watcher, const struct told *told);
static void fail(struct cohort *cohort, const struct err *err);
static void on_gone(struct sse *sse);
static void on_drained(struct sse *sse);
static void watcher_free(struct watcher *watcher);
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

static void followed_release(struct followed *task)
{
    if (task->watchers || !list_is_empty(&task->cohorts)) return;
    map_take(task->follows->tasks, task->id.bytes, 16);
    free(task);
}

/* ---- cohorts ---- */

static void cohort_join(struct watcher *watcher, const struct known *known)
{
    struct followed *task = watcher->task;
    struct cohort *cohort = cohort_like(task, known, NULL);
    if (!cohort) {
        cohort = xcalloc(1, sizeof *cohort);
        cohort->task = task;
        cohort->known = *known;
        list_init(&cohort->watchers);
        list_init(&cohort->asking);
        list_push_back(&task->cohorts, &cohort->node);
    }
    watcher->cohort = cohort;
    list_push_back(&cohort->watchers, &watcher->node);
    ask(cohort);
}

/* One that is not about to know more. */
static struct cohort *cohort_like(struct followed *task, const struct known *known,
                                  const struct cohort *but)
{
    LIST_EACH (node, &task->cohorts) {
        struct cohort *cohort = container_of(node, struct cohort, node);
        if (cohort != but && !cohort->is_asked && known_equal(&cohort->known, known)) return cohort;
    }
    return NULL;
}

static void cohort_release(struct cohort *cohort)
{
    struct followed *task = cohort->task;
    if (cohort->is_asked || !list_is_empty(&cohort->watchers)) return;
    list_del(&cohort->asking);
    list_del(&cohort->node);
    free(cohort);
    followed_release(task);
}

/* Behind an answer: it may know now what another one knows. */
static void cohort_settle(struct cohort *cohort)
{
    struct cohort *like = cohort_like(cohort->task, &cohort->known, cohort);
    bool asks_again = cohort->asks_again;
    cohort->is_asked = cohort->asks_again = false;
    if (like && !list_is_empty(&cohort->watchers)) {
        LIST_EACH (node, &cohort->watchers) container_of(node, struct watcher, node)->cohort = like;
        list_move_all(&like->watchers, &cohort->watchers);
        if (asks_again) ask(like);
    } else if (asks_again && !list_is_empty(&cohort->watchers)) {
        ask(cohort);
    }
    cohort_release(cohort);
}

/* ---- questions ---- */

static void ask(struct cohort *cohort)
{
    struct follows *follows = cohort->task->follows;
    if (cohort->is_asked) {
        cohort->asks_again = true;
        return;
    }
    list_del(&cohort->asking);
    list_push_back(&follows->asking, &cohort->asking);
    loop_defer(follows->api->loop, &follows->ask);
}

static void on_ask(struct defer *defer)
{
    struct follows *follows = container_of(defer, struct follows, ask);
    struct ident ids[ASK_MAX];
    struct known known[ASK_MAX];
    struct list *node;
    size_t count = 0;
    if (follows->asked_count || follows->is_over) return;
    while (count < ASK_MAX && (node = list_pop_front(&follows->asking)) != NULL) {
        struct cohort *cohort = container_of(node, struct cohort, asking);
        cohort->is_asked = true;
        follows->asked[count] = cohort;
        ids[count] = cohort->task->id;
        known[count++] = cohort->known;
    }
    follows->asked_count = count;
    if (count) ledger_news(follows->api->ledger, ids, known, count, on_news, follows);
}

static void on_news(void *arg, const struct news *news, size_t count, const struct err *err)
{
    struct follows *follows = arg;
    size_t at = 0, asked = follows->asked_count;
    follows->asked_count = 0;
    for (size_t i = 0; i < asked; i++) {
        struct cohort *cohort = follows->asked[i];
        size_t from = at;
        while (at < count && news[at].of == i) at++;
        if (err)
            fail(cohort, err);
        else
            tell(cohort, news + from, at - from);
        cohort_settle(cohort);
    }
    loop_defer(follows->api->loop, &follows->ask);
}

/* Who streams already is served when Postgres is back. */
static void fail(struct cohort *cohort, const struct err *err)
{
    cohort->task->follows->is_blind = true;
    LIST_EACH (node, &cohort->watchers) {
        struct watcher *watcher = container_of(node, struct watcher, node);
        if (!watcher->exchange) continue;
        answer_err(watcher->exchange, err);
        watcher_free(watcher);
    }
}

static void tell(struct cohort *cohort, const struct news *news, size_t count)
{
    struct told told = { .end = count ? news[count - 1].kind : NEWS_MISSING };
    write_news(cohort, news, count, &told);
    cohort->is_behind = false;
    LIST_EACH (node, &cohort->watchers) {
        struct watcher *watcher = container_of(node, struct watcher, node);
        watcher->known = cohort->known;
        tell_one(watcher, &told);
    }
    buf_close(&told.all);
    buf_close(&told.logs);
}

/* Progress that the ledger has may be older than what was told as it was announced. */
static void write_news(struct cohort *cohort, const struct news *news, size_t count,
                       struct told *told)
{
    char id[KNOWN_TEXT_SIZE];
    for (const struct news *item = news; item < news + count; item++) {
        if (item->kind == NEWS_STATUS) {
            cohort->known.attempt = item->known.attempt;
            cohort->known.step = item->known.step;
        } else if (item->kind == NEWS_LOG) {
            cohort->known.seq = item->known.seq;
        } else if (item->kind == NEWS_PROGRESS) {
            bool is_due = cohort->progress == 0 || told->end == NEWS_FINAL || cohort->is_behind;
            uint64_t hash = known_progress(item->data, item->len);
            if (!is_due || hash == cohort->progress) continue;
            cohort->progress = hash;
        } else {
            break;
        }
        told->is_news = told->is_news || item->kind != NEWS_PROGRESS;
        const char *word = item->kind == NEWS_STATUS ? "status"
                           : item->kind == NEWS_LOG  ? "log"
                                                     : "progress";
        known_text(&cohort->known, id);
        sse_event(&told->all, word, id, item->data, item->len);
        if (item->kind == NEWS_LOG) sse_event(&told->logs, word, id, item->data, item->len);
    }
}

static void tell_one(struct watcher *watcher, const struct told *told)
{
    struct exchange *exchange = watcher->exchange;
    if (exchange && told->end == NEWS_MISSING) {
        answer_no_task(exchange);
        watcher_free(watcher);
        return;
    }
    if (exchange && watcher->is_back && told->end == NEWS_FINAL && !told->is_news) {
        answer_nothing(exchange); /* 204: an EventSource comes back no more */
        watcher_free(watcher);
        return;
    }
    watcher->exchange = NULL;
    if (exchange && !sse_start(&watcher->sse, exchange)) {
        watcher_free(watcher);
        return;
    }
    sse_write(&watcher->sse, watcher->wants_logs_only ? &told->logs : &told->all);
    if (told->end == NEWS_GOING) return;
    list_del(&watcher->node);
    watcher->cohort = NULL;
    watcher->is_paging = told->end == NEWS_MORE;
    if (!watcher->is_paging) sse_end(&watcher->sse);
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

static void watcher_free(struct watcher *watcher)
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
            ask(cohort);
            continue;
        }
        if (cohort->known.attempt < 0) continue; /* its first answer is on the way */
        if (!known_is_started(&cohort->known)) { /* its start is told first */
            cohort->is_behind = true;
            ask(cohort);
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
            ask(cohort);
        }
    }
}

/* ---- from start to end ---- */

struct follows *follows_new(struct api *api)
{
    struct follows *follows = xcalloc(1, sizeof *follows);
    follows->api = api;
    follows->tasks = map_new();
    list_init(&follows->asking);
    loop_defer_init(&follows->ask, on_ask);
    timer_init(api->loop, &follows->look, on_look);
    return follows;
}

void follows_stop(struct follows *follows)
{
    struct err why;
    struct list *node;
    err_set(&why, ERR_STORE, "this server is stopping");
    follows->is_over = true;
    while ((node = list_pop_front(&follows->asking)) != NULL) {
        struct cohort *cohort = container_of(node, struct cohort, asking);
        cohort->is_asked = true; /* as if it had been */
        fail(cohort, &why);
        cohort_settle(cohort);
    }
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
