/* events.c: see events.h.
 *
 *   line of Redis -> announced -> waits, follows, clients
 *   NOTIFY of the ledger (ends that no worker wrote), lost lines, Redis away
 *     -> look -> what changed lately and was not told -> the same
 *
 * An event's id is the microsecond in which this server told it, rising. A client that comes back
 * gets what the ledger has since then; `recent` knows what of that it had, so that it comes twice
 * only where another server told it. What happens while the ledger is asked is held for it. */
#include "http/events.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/announced.h"
#include "http/follow.h"
#include "http/sse.h"
#include "http/waits.h"

#define REPLAY_MOST   1000 /* it must fit into what a client may lag behind */
#define REPLAY_US     INT64_C(600000000)
#define HELD_MAX      ((size_t)256 << 10)
#define LOOK_MOST     10000
#define LOOK_US       INT64_C(1000000)
#define LOOK_PAUSE_US INT64_C(250000)  /* many changes in a row: one look */
#define OVERLAP_US    INT64_C(2000000) /* a change is seen at its commit, later than its time */
#define RECENT_MAX    32768
#define SAME_US       INT64_C(5000000) /* between two times of one change, by two clocks */

struct recent {
    struct {
        struct ident id;
        int32_t attempt, status;
    } key;
    int64_t event_id;
};

struct events {
    struct api *api;
    struct list clients;
    struct buf text; /* of this turn, for all */
    struct defer tell;
    int64_t last_id;
    struct map *told;      /* key -> struct recent: what was told lately */
    struct recent *recent; /* the same in order of time, a ring */
    size_t recent_next;
    struct timer look;
    int64_t looked_us, look_from_us; /* boot clock */
    bool is_looking, has_news, is_blind, is_over;
};

struct client {
    struct list node;
    struct sse sse;
    struct events *events;
    int64_t known_id, from_id; /* while it waits for the ledger: what it has; what is held */
    struct buf held;
    bool is_catching_up, is_gone;
};

static bool id_read(const char *text, int64_t *id);
static void on_past(void *arg, const struct change *changes, size_t count, const struct err *err);
static void write_past(struct client *client, const struct change *change, struct buf *out);
static void on_gone(struct sse *sse);
static void client_free(struct client *client);
static void take(struct events *events, const struct announced *announced);
static void on_tell(struct defer *defer);
static int64_t next_id(struct events *events);
static struct recent *recent_find(struct events *events, const struct ident *id, int32_t attempt,
                                  enum task_status status);
static void recent_add(struct events *events, const struct ident *id, int32_t attempt,
                       enum task_status status, int64_t event_id);
static void plan_look(struct events *events, int64_t after_us);
static void on_look(struct timer *timer);
static void on_changes(void *arg, const struct change *changes, size_t count,
                       const struct err *err);
static void on_look_closed(struct timer *timer);

void handle_events(struct exchange *exchange)
{
    struct events *events = exchange->api->events;
    const char *last = sse_last_id(exchange);
    int64_t known_id = 0;
    if (last && !id_read(last, &known_id)) {
        answer_field(exchange, "last_event_id", "is no id of an event of all tasks");
        return;
    }
    struct client *client = xcalloc(1, sizeof *client);
    client->events = events;
    client->sse.gone = on_gone;
    if (!sse_start(&client->sse, exchange)) {
        free(client);
        return;
    }
    on_tell(&events->tell); /* what came before is not for this one */
    list_push_back(&events->clients, &client->node);
    bool looks = uv_is_active((uv_handle_t *)&events->look.handle);
    if (!broker_is_up(events->api->broker) && !looks) plan_look(events, LOOK_US);
    if (!last || events->is_over) return;
    int64_t age_us = clock_wall_us() - known_id + OVERLAP_US;
    client->is_catching_up = true;
    client->known_id = known_id;
    client->from_id = events->last_id;
    ledger_changes(events->api->lists, age_us < REPLAY_US ? age_us : REPLAY_US, REPLAY_MOST,
                   on_past, client);
}

static bool id_read(const char *text, int64_t *id)
{
    char *end;
    errno = 0;
    *id = strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

static void on_past(void *arg, const struct change *changes, size_t count, const struct err *err)
{
    struct client *client = arg;
    struct buf out = BUF_EMPTY;
    client->is_catching_up = false;
    if (client->is_gone) {
        client_free(client);
        return;
    }
    if (err) {
        sse_end(&client->sse); /* it comes back */
        return;
    }
    if (count == REPLAY_MOST) buf_add_text(&out, ": what came before is left out\n\n");
    for (size_t i = 0; i < count; i++) write_past(client, &changes[i], &out);
    buf_add(&out, client->held.data, client->held.len);
    buf_close(&client->held);
    sse_write(&client->sse, &out);
    buf_close(&out);
}

/* Not what it has, and not what is held for it. */
static void write_past(struct client *client, const struct change *change, struct buf *out)
{
    struct events *events = client->events;
    int64_t at_us = clock_wall_us() - change->age_us;
    enum task_status status;
    char id[24];
    if (!task_status_parse(change->status, &status)) return;
    const struct recent *recent = recent_find(events, &change->id, change->attempt, status);
    bool is_same = recent && llabs(recent->event_id - at_us) < SAME_US;
    if (is_same && (recent->event_id <= client->known_id || recent->event_id > client->from_id))
        return;
    int64_t event_id = is_same ? recent->event_id : at_us;
    if (event_id < client->known_id) event_id = client->known_id;
    snprintf(id, sizeof id, "%" PRId64, event_id);
    sse_event(out, "status", id, change->data, change->len);
}

static void on_gone(struct sse *sse)
{
    struct client *client = container_of(sse, struct client, sse);
    list_del(&client->node);
    client->is_gone = true;
    if (!client->is_catching_up) client_free(client);
}

static void client_free(struct client *client)
{
    buf_close(&client->held);
    free(client);
}

/* ---- news ---- */

void events_line(struct events *events, const char *line, size_t len)
{
    struct announced announced;
    if (len == 0) {
        events->is_blind = true;
        plan_look(events, 0);
        waits_look(events->api->waits);
        follows_lost(events->api->follows);
    } else if (announced_read(line, len, &announced)) {
        take(events, &announced);
    }
}

/* For all who wait or follow. A client that may see only some tasks is told apart in on_tell. */
static void take(struct events *events, const struct announced *announced)
{
    char id[24];
    waits_event(events->api->waits, announced);
    follows_event(events->api->follows, announced);
    if (list_is_empty(&events->clients)) return;
    int64_t event_id = next_id(events);
    if (announced->kind == ANNOUNCED_STATUS)
        recent_add(events, &announced->id, announced->attempt, announced->status, event_id);
    snprintf(id, sizeof id, "%" PRId64, event_id);
    sse_event(&events->text, announced_word(announced->kind), id, announced->line, announced->len);
    loop_defer(events->api->loop, &events->tell);
}

static void on_tell(struct defer *defer)
{
    struct events *events = container_of(defer, struct events, tell);
    if (events->text.len == 0) return;
    LIST_EACH (node, &events->clients) {
        struct client *client = container_of(node, struct client, node);
        if (!client->is_catching_up)
            sse_write(&client->sse, &events->text);
        else if (client->held.len < HELD_MAX)
            buf_add(&client->held, events->text.data, events->text.len);
        else
            sse_end(&client->sse);
    }
    buf_close(&events->text);
}

static int64_t next_id(struct events *events)
{
    int64_t now_us = clock_wall_us();
    events->last_id = now_us > events->last_id ? now_us : events->last_id + 1;
    return events->last_id;
}

static void recent_key(struct recent *recent, const struct ident *id, int32_t attempt,
                       enum task_status status)
{
    recent->key.id = *id;
    recent->key.attempt = attempt;
    recent->key.status = (int32_t)status;
}

static struct recent *recent_find(struct events *events, const struct ident *id, int32_t attempt,
                                  enum task_status status)
{
    struct recent wanted;
    recent_key(&wanted, id, attempt, status);
    return map_find(events->told, &wanted.key, sizeof wanted.key);
}

/* The oldest one is forgotten, unless the same was told again. */
static void recent_add(struct events *events, const struct ident *id, int32_t attempt,
                       enum task_status status, int64_t event_id)
{
    struct recent *slot = &events->recent[events->recent_next++ % RECENT_MAX];
    if (slot->event_id && map_find(events->told, &slot->key, sizeof slot->key) == slot)
        map_take(events->told, &slot->key, sizeof slot->key);
    recent_key(slot, id, attempt, status);
    slot->event_id = event_id;
    map_put(events->told, &slot->key, sizeof slot->key, slot);
}

/* ---- looks ---- */

void events_changed(struct events *events)
{
    events->has_news = true;
    plan_look(events, 0);
}

static void plan_look(struct events *events, int64_t after_us)
{
    int64_t rest_us = events->looked_us + LOOK_PAUSE_US - clock_boot_us();
    if (events->is_looking || events->is_over) return;
    timer_start(&events->look, after_us > rest_us ? after_us : rest_us);
}

static void on_look(struct timer *timer)
{
    struct events *events = container_of(timer, struct events, look);
    int64_t now_us = clock_boot_us(), age_us = now_us - events->look_from_us + OVERLAP_US;
    bool is_up = broker_is_up(events->api->broker);
    if (!events->has_news && !events->is_blind && is_up) return;
    events->has_news = false;
    events->is_blind = !is_up;
    events->is_looking = true;
    events->looked_us = now_us;
    ledger_changes(events->api->lists, age_us < REPLAY_US ? age_us : REPLAY_US, LOOK_MOST,
                   on_changes, events);
}

static void on_changes(void *arg, const struct change *changes, size_t count, const struct err *err)
{
    struct events *events = arg;
    events->is_looking = false;
    for (size_t i = 0; i < count; i++) {
        struct announced announced = { .id = changes[i].id,
                                       .attempt = changes[i].attempt,
                                       .line = changes[i].data,
                                       .len = changes[i].len };
        if (!task_status_parse(changes[i].status, &announced.status)) continue;
        const struct recent *recent =
            recent_find(events, &announced.id, announced.attempt, announced.status);
        int64_t at_us = clock_wall_us() - changes[i].age_us;
        if (!recent || llabs(recent->event_id - at_us) >= SAME_US) take(events, &announced);
    }
    if (err)
        events->is_blind = true;
    else
        events->look_from_us = events->looked_us;
    bool has_clients = !list_is_empty(&events->clients);
    if (events->has_news)
        plan_look(events, 0);
    else if (events->is_blind && has_clients) /* who waits or follows looks by itself */
        plan_look(events, LOOK_US);
}

/* ---- from start to end ---- */

struct events *events_new(struct api *api)
{
    struct events *events = xcalloc(1, sizeof *events);
    events->api = api;
    events->told = map_new();
    events->recent = xcalloc(RECENT_MAX, sizeof *events->recent);
    events->look_from_us = clock_boot_us();
    list_init(&events->clients);
    loop_defer_init(&events->tell, on_tell);
    timer_init(api->loop, &events->look, on_look);
    return events;
}

void events_stop(struct events *events)
{
    events->is_over = true;
    timer_stop(&events->look);
}

void events_free(struct events *events)
{
    if (!events) return;
    loop_defer_cancel(&events->tell);
    buf_close(&events->text);
    map_free(events->told);
    free(events->recent);
    timer_close(&events->look, on_look_closed);
}

static void on_look_closed(struct timer *timer) { free(container_of(timer, struct events, look)); }
