/* cohort.c: clients that know the same of a task are a cohort: one question and one text for all of
 * them. Whoever comes, comes back or lags behind makes a cohort of his own, until he knows what
 * another one knows. Questions of many cohorts go together. */
#include <stdlib.h>

#include "base/mem.h"
#include "http/follow_private.h"

/* One answer, written once for all. */
struct told {
    struct buf all, logs;
    enum news_kind end;
    bool is_news; /* more than how far it came */
};

static struct cohort *cohort_like(struct followed *task, const struct known *known,
                                  const struct cohort *but);
static void cohort_settle(struct cohort *cohort);
static void on_ask(struct defer *defer);
static void on_news(void *arg, const struct news *news, size_t count, const struct err *err);
static void fail(struct cohort *cohort, const struct err *err);
static void tell(struct cohort *cohort, const struct news *news, size_t count);
static void write_news(struct cohort *cohort, const struct news *news, size_t count,
                       struct told *told);
static void tell_one(struct watcher *watcher, const struct told *told);

void cohorts_init(struct follows *follows)
{
    list_init(&follows->asking);
    loop_defer_init(&follows->ask, on_ask);
}

void cohorts_stop(struct follows *follows)
{
    struct err why;
    struct list *node;
    err_set(&why, ERR_STORE, "this server is stopping");
    while ((node = list_pop_front(&follows->asking)) != NULL) {
        struct cohort *cohort = container_of(node, struct cohort, asking);
        cohort->is_asked = true; /* as if it had been */
        fail(cohort, &why);
        cohort_settle(cohort);
    }
}

void cohort_join(struct watcher *watcher, const struct known *known)
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
    cohort_ask(cohort);
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

void cohort_release(struct cohort *cohort)
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
        if (asks_again) cohort_ask(like);
    } else if (asks_again && !list_is_empty(&cohort->watchers)) {
        cohort_ask(cohort);
    }
    cohort_release(cohort);
}

/* ---- questions ---- */

void cohort_ask(struct cohort *cohort)
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
