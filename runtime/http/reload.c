/* reload.c: POST /api/workers/reload: a request in the ledger, an answer of each worker. NOTIFY
 * says when to look; once a second we look anyway. */
#include "http/reload.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"

#define MOST_US   INT64_C(60000000)
#define AGAIN_US  INT64_C(1000000)
#define NAMES_MAX 100

struct reloads {
    struct api *api;
    struct list waiting; /* of struct reload */
    struct timer again;
};

struct reload {
    struct list node;
    struct exchange *exchange;
    struct ident request;
    int64_t until_us;
    bool is_reading;
};

static void on_requested(void *arg, const char *json, size_t len, const struct err *err);
static void look(struct reload *reload);
static void on_read(void *arg, const char *json, size_t len, const struct err *err);
static bool is_complete(const char *json, size_t len);
static void on_again(struct timer *timer);
static void reload_end(struct reload *reload);
static void on_timer_closed(struct timer *timer);

/* Of a request: all workers, those of these names, or those of a host. */
struct chosen {
    const char *names[NAMES_MAX + 1], *host;
    size_t count;
    bool is_wrong;
};

static bool choose(void *arg, const char *name, const char *value)
{
    struct chosen *chosen = arg;
    chosen->is_wrong = !utf8_is_valid(value, strlen(value)) || chosen->count == NAMES_MAX;
    if (chosen->is_wrong) return false;
    if (strcmp(name, "host") == 0)
        chosen->host = value;
    else
        chosen->names[chosen->count++] = value;
    return true;
}

void handle_reload(struct exchange *exchange)
{
    struct chosen chosen = { 0 };
    http_each_query(exchange->request, choose, &chosen);
    if (chosen.is_wrong || (chosen.count && chosen.host)) {
        answer_field(exchange, "name", "give a host, or up to %d names, in UTF-8", NAMES_MAX);
        return;
    }
    struct reload *reload = xcalloc(1, sizeof *reload);
    reload->exchange = exchange;
    reload->request = ident_random();
    reload->until_us = clock_boot_us() + MOST_US;
    list_init(&reload->node);
    ledger_control_request(exchange->api->ledger, &reload->request, "reload",
                           chosen.count ? chosen.names : NULL, chosen.host ? chosen.host : "",
                           !chosen.count && !chosen.host, exchange->grant->actor, on_requested,
                           reload);
}

static void on_requested(void *arg, const char *json, size_t len, const struct err *err)
{
    struct reload *reload = arg;
    struct reloads *reloads = reload->exchange->api->reloads;
    (void)json;
    if (err) {
        answer_err(reload->exchange, err);
        reload_end(reload);
    } else if (len <= 2) {
        answer_status(reload->exchange, 404, "not_found", "there is no worker to reload");
        reload_end(reload);
    } else {
        list_push_back(&reloads->waiting, &reload->node);
        look(reload);
        timer_start(&reloads->again, AGAIN_US);
    }
}

static void look(struct reload *reload)
{
    if (reload->is_reading) return;
    reload->is_reading = true;
    ledger_control_read(reload->exchange->api->ledger, &reload->request, on_read, reload);
}

static void on_read(void *arg, const char *json, size_t len, const struct err *err)
{
    struct reload *reload = arg;
    reload->is_reading = false;
    if (err) {
        answer_err(reload->exchange, err);
        reload_end(reload);
    } else if (is_complete(json, len) || clock_boot_us() > reload->until_us) {
        struct buf out = BUF_EMPTY;
        buf_add_text(&out, "{\"workers\":");
        buf_add(&out, json, len);
        buf_add_char(&out, '}');
        answer_json(reload->exchange, 200, &out);
        reload_end(reload);
    }
}

static bool is_complete(const char *json, size_t len)
{
    json_t *answers = params_load(json, len), *answer;
    size_t index;
    bool is_complete = true;
    json_array_foreach(answers, index, answer) is_complete =
        is_complete && !json_is_null(json_object_get(answer, "answer"));
    json_decref(answers);
    return is_complete;
}

static void on_again(struct timer *timer)
{
    reloads_news(container_of(timer, struct reloads, again));
}

void reloads_news(struct reloads *reloads)
{
    LIST_EACH (node, &reloads->waiting) look(container_of(node, struct reload, node));
    if (!list_is_empty(&reloads->waiting)) timer_start(&reloads->again, AGAIN_US);
}

static void reload_end(struct reload *reload)
{
    list_del(&reload->node);
    free(reload);
}

struct reloads *reloads_new(struct api *api)
{
    struct reloads *reloads = xcalloc(1, sizeof *reloads);
    reloads->api = api;
    list_init(&reloads->waiting);
    timer_init(api->loop, &reloads->again, on_again);
    return reloads;
}

void reloads_end(struct reloads *reloads)
{
    LIST_EACH (node, &reloads->waiting) container_of(node, struct reload, node)->until_us = 0;
    reloads_news(reloads);
}

void reloads_free(struct reloads *reloads) { timer_close(&reloads->again, on_timer_closed); }

static void on_timer_closed(struct timer *timer)
{
    free(container_of(timer, struct reloads, again));
}
