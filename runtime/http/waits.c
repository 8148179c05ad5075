/* waits.c: GET /api/tasks/{id}/result. Ten thousand clients may wait here: each holds a few
 * kilobytes and nothing that turns.
 *
 *   ask the ledger -> final: 200 | not final: [event says final -> ask again]* -> 202 at the
 * deadline
 *
 * Redis announces ends. What its channels lose is made up for by one look at all that is waited
 * for: every 5 s, every second while Redis is away. All who wait for one task share one question
 * and its answer. */
#include "http/waits.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define TIMEOUT_US     INT64_C(30000000)
#define TIMEOUT_MAX_US INT64_C(300000000)
#define LOOK_US        INT64_C(1000000)
#define LOOK_CALM_US   INT64_C(5000000)
#define ASK_MAX        500

struct waits {
    struct api *api;
    struct map *tasks;  /* id -> struct awaited */
    struct list asking; /* with the next question; thousands may end at once */
    struct defer ask;
    struct awaited *asked[ASK_MAX]; /* the question under way */
    size_t asked_count;             /* 0: none is */
    struct timer look;              /* while somebody waits */
    int64_t looked_us;
    bool is_looking, has_news;
    int open_timers;
    struct list expiring; /* waiters, the next to expire first: most timeouts are alike */
    struct timer expiry;
    bool is_closed;
};

/* A task that somebody waits for. */
struct awaited {
    struct ident id;
    struct waits *waits;
    struct list waiters;
    struct list asking;
    bool is_asking;
    bool asks_again; /* news came while it asked */
};

struct waiter {
    struct list node;     /* of its task */
    struct list expiring; /* of all */
    struct awaited *awaited;
    struct exchange *exchange;
    int64_t until_us;
};

static void wait_for(struct exchange *exchange, int64_t timeout_us);
static void ask(struct awaited *awaited);
static void on_ask(struct defer *defer);
static void on_results(void *arg, const struct result *results, size_t count,
                       const struct err *err);
static void on_result(struct awaited *awaited, const char *json, size_t len, const struct err *err);
static void answer_all(struct awaited *awaited, const char *json, size_t len,
                       const struct err *err);
static void put_in_order(struct waits *waits, struct waiter *waiter);
static void plan_expiry(struct waits *waits);
static void on_expiry(struct timer *timer);
static void waiter_end(struct waiter *waiter);
static void awaited_end(struct awaited *awaited);
static void on_gone(void *arg, struct http_request *request);
static void on_look(struct timer *timer);
static void on_finals(void *arg, const char *json, size_t len, const struct err *err);
static void on_timer_closed(struct timer *timer);

void handle_result(struct exchange *exchange)
{
    const char *text = http_query(exchange->request, "timeout");
    int64_t timeout_us = TIMEOUT_US;
    struct err err;
    if (text && !duration_parse(text, &timeout_us, &err))
        answer_field(exchange, "timeout", "%s", err.text);
    else if (timeout_us > TIMEOUT_MAX_US)
        answer_field(exchange, "timeout", "must be at most 300 s");
    else
        wait_for(exchange, timeout_us);
}

static void wait_for(struct exchange *exchange, int64_t timeout_us)
{
    struct waits *waits = exchange->api->waits;
    struct waiter *waiter = xcalloc(1, sizeof *waiter);
    struct awaited *awaited = map_find(waits->tasks, exchange->id.bytes, 16);
    if (!awaited) {
        awaited = xcalloc(1, sizeof *awaited);
        awaited->id = exchange->id;
        awaited->waits = waits;
        list_init(&awaited->waiters);
        list_init(&awaited->asking);
        map_put(waits->tasks, awaited->id.bytes, 16, awaited);
    }
    waiter->awaited = awaited;
    waiter->exchange = exchange;
    waiter->until_us = clock_boot_us() + timeout_us;
    list_push_back(&awaited->waiters, &waiter->node);
    put_in_order(waits, waiter);
    http_watch(exchange->request, on_gone, waiter);
    if (!uv_is_active((uv_handle_t *)&waits->look.handle)) timer_start(&waits->look, LOOK_US);
    ask(awaited);
}

/* Later ones mostly expire later. */
static void put_in_order(struct waits *waits, struct waiter *waiter)
{
    struct list *behind = waits->expiring.prev;
    while (behind != &waits->expiring &&
           container_of(behind, struct waiter, expiring)->until_us > waiter->until_us)
        behind = behind->prev;
    list_push_front(behind, &waiter->expiring);
    plan_expiry(waits);
}

static void plan_expiry(struct waits *waits)
{
    if (list_is_empty(&waits->expiring)) {
        timer_stop(&waits->expiry);
        return;
    }
    const struct waiter *first = container_of(waits->expiring.next, struct waiter, expiring);
    int64_t left_us = first->until_us - clock_boot_us();
    timer_start(&waits->expiry, left_us > 0 ? left_us : 0);
}

static void ask(struct awaited *awaited)
{
    awaited->asks_again = awaited->is_asking;
    if (awaited->is_asking) return;
    awaited->is_asking = true;
    list_push_back(&awaited->waits->asking, &awaited->asking);
    loop_defer(awaited->waits->api->loop, &awaited->waits->ask);
}

static void on_ask(struct defer *defer)
{
    struct waits *waits = container_of(defer, struct waits, ask);
    struct ident ids[ASK_MAX];
    struct list *node;
    size_t count = 0;
    if (waits->asked_count) return;
    while (count < ASK_MAX && (node = list_pop_front(&waits->asking)) != NULL) {
        waits->asked[count] = container_of(node, struct awaited, asking);
        ids[count] = waits->asked[count]->id;
        count++;
    }
    waits->asked_count = count;
    if (count) ledger_results(waits->api->ledger, ids, count, on_results, waits);
}

static void on_results(void *arg, const struct result *results, size_t count, const struct err *err)
{
    struct waits *waits = arg;
    size_t asked = waits->asked_count;
    (void)count;
    waits->asked_count = 0;
    for (size_t i = 0; i < asked; i++) {
        struct awaited *awaited = waits->asked[i];
        if (err || results[i].json)
            on_result(awaited, err ? "" : results[i].json, err ? 0 : results[i].len, err);
        else
            list_push_back(&waits->asking, &awaited->asking); /* too much for one answer */
    }
    if (!list_is_empty(&waits->asking)) loop_defer(waits->api->loop, &waits->ask);
}

static void on_result(struct awaited *awaited, const char *json, size_t len, const struct err *err)
{
    awaited->is_asking = false;
    bool is_final = false;
    if (!err && len) {
        json_t *result = params_load(json, len);
        enum task_status status;
        const char *word = json_string_value(json_object_get(result, "status"));
        is_final = word && task_status_parse(word, &status) && task_status_is_final(status);
        json_decref(result);
    }
    if (err || is_final || len == 0)
        answer_all(awaited, json, len, err);
    else if (awaited->asks_again)
        ask(awaited);
    else if (list_is_empty(&awaited->waiters))
        awaited_end(awaited);
    else
        plan_expiry(awaited->waits); /* who does not wait at all has its answer now */
}

/* A result may be large, and thousands may wait for it: its text is there once. */
static void answer_all(struct awaited *awaited, const char *json, size_t len, const struct err *err)
{
    struct http_bytes *bytes = err || len == 0 ? NULL : http_bytes_new(json, len);
    LIST_EACH (node, &awaited->waiters) {
        struct waiter *waiter = container_of(node, struct waiter, node);
        struct exchange *exchange = waiter->exchange;
        waiter_end(waiter);
        if (bytes)
            answer_shared(exchange, 200, bytes);
        else
            answer_from_ledger(exchange, json, len, err);
    }
    if (bytes) http_bytes_drop(bytes);
    awaited_end(awaited);
}

static void on_info(void *arg, const char *json, size_t len, const struct err *err)
{
    struct exchange *exchange = arg;
    if (err || len == 0)
        answer_from_ledger(exchange, json, len, err);
    else
        answer_text(exchange, 202, json, len);
}

/* Nobody is told "not final" before the ledger was asked once. */
static void on_expiry(struct timer *timer)
{
    struct waits *waits = container_of(timer, struct waits, expiry);
    int64_t now_us = clock_boot_us();
    bool is_left = false;
    LIST_EACH (node, &waits->expiring) {
        struct waiter *waiter = container_of(node, struct waiter, expiring);
        struct awaited *awaited = waiter->awaited;
        struct exchange *exchange = waiter->exchange;
        if (waiter->until_us > now_us) {
            is_left = true;
            break;
        }
        if (awaited->is_asking) continue;
        waiter_end(waiter);
        if (list_is_empty(&awaited->waiters)) awaited_end(awaited);
        ledger_info(waits->api->ledger, &exchange->id, on_info, exchange);
    }
    if (is_left) plan_expiry(waits);
}

static void waiter_end(struct waiter *waiter)
{
    http_unwatch(waiter->exchange->request); /* its answer may take a round trip still */
    list_del(&waiter->node);
    list_del(&waiter->expiring);
    free(waiter);
}

static void awaited_end(struct awaited *awaited)
{
    map_take(awaited->waits->tasks, awaited->id.bytes, 16);
    free(awaited);
}

static void on_gone(void *arg, struct http_request *request)
{
    struct waiter *waiter = arg;
    struct awaited *awaited = waiter->awaited;
    struct exchange *exchange = waiter->exchange;
    (void)request;
    waiter_end(waiter);
    if (list_is_empty(&awaited->waiters) && !awaited->is_asking) awaited_end(awaited);
    exchange_drop(exchange);
}

/* ---- news ---- */

void waits_event(struct waits *waits, const struct announced *announced)
{
    struct awaited *awaited = map_find(waits->tasks, announced->id.bytes, 16);
    bool is_end = announced->kind == ANNOUNCED_STATUS && task_status_is_final(announced->status);
    if (awaited && is_end) ask(awaited);
}

static void on_look(struct timer *timer)
{
    struct waits *waits = container_of(timer, struct waits, look);
    if (map_count(waits->tasks) == 0) return;
    timer_start(&waits->look, LOOK_US);
    bool is_calm = broker_is_up(waits->api->broker) && !waits->has_news;
    if (clock_boot_us() - waits->looked_us >= (is_calm ? LOOK_CALM_US : LOOK_US)) waits_look(waits);
}

void waits_look(struct waits *waits)
{
    size_t at = 0, count = 0, len;
    const void *key;
    void *value;
    waits->has_news = true;
    if (waits->is_looking || map_count(waits->tasks) == 0) return;
    struct ident *ids = xcalloc(map_count(waits->tasks), sizeof *ids);
    while (map_next(waits->tasks, &at, &key, &len, &value))
        ids[count++] = ((struct awaited *)value)->id;
    waits->has_news = false;
    waits->is_looking = true;
    waits->looked_us = clock_boot_us();
    ledger_finals(waits->api->lists, ids, count, on_finals, waits);
    free(ids);
}

static void on_finals(void *arg, const char *json, size_t len, const struct err *err)
{
    struct waits *waits = arg;
    json_t *ids = err ? NULL : params_load(json, len), *item;
    size_t index;
    waits->is_looking = false;
    json_array_foreach(ids, index, item)
    {
        struct ident id;
        struct awaited *awaited =
            ident_parse(json_string_value(item), &id) ? map_find(waits->tasks, id.bytes, 16) : NULL;
        if (awaited) ask(awaited);
    }
    json_decref(ids);
}

/* ---- from start to end ---- */

struct waits *waits_new(struct api *api)
{
    struct waits *waits = xcalloc(1, sizeof *waits);
    waits->api = api;
    waits->tasks = map_new();
    list_init(&waits->expiring);
    list_init(&waits->asking);
    loop_defer_init(&waits->ask, on_ask);
    timer_init(api->loop, &waits->look, on_look);
    timer_init(api->loop, &waits->expiry, on_expiry);
    waits->open_timers = 2;
    return waits;
}

void waits_end(struct waits *waits)
{
    LIST_EACH (node, &waits->expiring) container_of(node, struct waiter, expiring)->until_us = 0;
    plan_expiry(waits);
}

/* What is not asked yet ends like what the ledger leaves open. */
void waits_stop(struct waits *waits)
{
    struct err why;
    struct list *node;
    err_set(&why, ERR_STORE, "this server is stopping");
    loop_defer_cancel(&waits->ask);
    while ((node = list_pop_front(&waits->asking)) != NULL)
        on_result(container_of(node, struct awaited, asking), "", 0, &why);
}

void waits_free(struct waits *waits)
{
    loop_defer_cancel(&waits->ask);
    map_free(waits->tasks);
    waits->tasks = NULL;
    timer_close(&waits->look, on_timer_closed);
    timer_close(&waits->expiry, on_timer_closed);
}

static void on_timer_closed(struct timer *timer)
{
    struct waits *waits = timer->fire == on_look ? container_of(timer, struct waits, look)
                                                 : container_of(timer, struct waits, expiry);
    if (--waits->open_timers == 0) free(waits);
}
