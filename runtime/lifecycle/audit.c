/* audit.c: see audit.h.
 *
 *   the ledger    slice by slice, each one snapshot: what it shows is so.
 *   hints         Redis first, then the ledger. A row is there before its hint, and its starts only
 *                 grow, so a hint that is ahead of the ledger is wrong unless the task was deleted
 *                 between the two looks: looked at again.
 *   due tasks     the ledger first, then Redis. Between the two a task may have been started, and a
 *                 hint may be on its way: looked at again after the time that a keeper has for it,
 *                 and, where Redis lost its data meanwhile, after it was filled again. */
#include "lifecycle/audit.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "lifecycle/audit_page.h"
#include "lifecycle/await.h"

#define SLICE         20000
#define SUSPECTS_MOST 1000
#define SWEEP_US      INT64_C(15000000) /* every 5 s, and a start may wait 10 s for a lock */
#define AGAIN_US      INT64_C(3000000)
#define HINT_US       INT64_C(10000000) /* what a due task may be without a hint */
#define REFILL_US     INT64_C(40000000) /* what a keeper may need to push all of it again */

struct suspects {
    struct hint hints[SUSPECTS_MOST];
    size_t count;
};
struct pulses {
    struct ident *live; /* owned */
    int64_t *heartbeats;
    size_t count;
};
struct audit {
    struct audit_stores stores;
    struct await await;
    json_t *counts, *differences; /* borrowed from the report */
    int64_t difference_count;
    int64_t waiting_hints, claimed_hints;
    struct suspects wrong, missing;
    struct pulses pulses;
};

static bool audit_ledger(struct audit *audit, struct err *err);
static void add_slice(struct audit *audit, const json_t *slice);
static bool audit_hints(struct audit *audit, struct err *err);
static bool audit_queue(struct audit *audit, const char *queue, struct err *err);
static bool judge_held(struct audit *audit, const struct page *page, struct err *err);
static bool audit_due(struct audit *audit, struct err *err);
static bool look_again(struct audit *audit, struct err *err);
static bool wait_for_refill(struct audit *audit, struct err *err);
static bool look_again_at_wrong(struct audit *audit, struct err *err);
static bool look_again_at_missing(struct audit *audit, struct err *err);
static bool ask_pulses(struct audit *audit, struct pulses *out, struct err *err);
static void pulses_close(struct pulses *pulses);
static void add_difference(struct audit *audit, const json_t *found);
static void add_hint_difference(struct audit *audit, const struct hint *hint, bool is_id,
                                const char *kind, const char *detail);
static bool ask_hints(struct audit *audit, const struct hint *hints, size_t count, json_t **out,
                      struct err *err);

/* What to do about it. */
static const struct {
    const char *kind, *remedy;
} remedies[] = {
    { "lost", "restore it from a backup, or submit it again" },
    { "unknown", "rows were removed by hand or restored in part: delete the rest of them too" },
    { "twice", "a row was put back by hand: delete it from active" },
    { "rounds", "rows of outcomes were removed: restore them from a backup" },
    { "starts", "rows of attempts or outcomes were changed or removed: restore them" },
    { "claim", "a result may be that of a run that was fenced: compare it with the task's log" },
    { "budget", "counters were changed by hand: cancel it, or retry it for fresh ones" },
    { "row", "the row was changed by hand: cancel the task and submit it again" },
    { "owner", "start a worker: its keeper gives the task back; if it stays, cancel it" },
    { "unique", "the index active_unique is missing or broken: cancel one of them, REINDEX it" },
    { "hint_unknown", "harmless: it goes when it is claimed; the ledger may be older than Redis" },
    { "hint_ahead", "the ledger is older than Redis: FLUSHDB, the keeper pushes all hints anew" },
    { "hint_queue", "somebody wrote into Redis: FLUSHDB, the keeper pushes all hints anew" },
    { "hint_held", "it never comes back: FLUSHDB, the keeper pushes all hints anew" },
    { "hint_odd", "somebody wrote into Redis: it goes when it is claimed" },
    { "hint_missing", "look at the log of the keeper (a worker); restarting a worker pushes all" },
};

bool audit_run(const struct audit_stores *stores, json_t **out, struct err *err)
{
    struct audit *audit = xcalloc(1, sizeof *audit);
    json_t *report = json_object();
    audit->stores = *stores;
    audit->counts = json_object();
    audit->differences = json_array();
    json_object_set_new(report, "counts", audit->counts);
    bool good = ask_pulses(audit, &audit->pulses, err) && audit_ledger(audit, err) &&
                audit_hints(audit, err) && audit_due(audit, err) && look_again(audit, err);
    json_object_set_new(report, "hints",
                        json_pack("{sIsI}", "waiting", (json_int_t)audit->waiting_hints, "claimed",
                                  (json_int_t)audit->claimed_hints));
    json_object_set_new(report, "difference_count", json_integer(audit->difference_count));
    json_object_set_new(report, "differences", audit->differences);
    pulses_close(&audit->pulses);
    await_close(&audit->await);
    free(audit);
    if (good)
        *out = report;
    else
        json_decref(report);
    return good;
}

/* ---- the ledger ---- */

static json_t *take_json(struct audit *audit)
{
    return json_loadb(buf_text(&audit->await.json), audit->await.json.len, 0, NULL);
}

static void add_all(struct audit *audit, const json_t *found)
{
    size_t index;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)found, index, item) add_difference(audit, item);
}

static bool audit_ledger(struct audit *audit, struct err *err)
{
    struct audit_stores *stores = &audit->stores;
    struct ident after = { 0 };
    for (bool is_last = false; !is_last;) {
        ledger_audit(stores->ledger, &after, SLICE, stores->lease_us + SWEEP_US, await_json,
                     &audit->await);
        if (!await_run(stores->loop, &audit->await, err)) return false;
        json_t *slice = take_json(audit);
        const char *last = json_string_value(json_object_get(slice, "last"));
        is_last = !last || !ident_parse(last, &after);
        add_slice(audit, slice);
        json_decref(slice);
    }
    ledger_audit_unique(stores->ledger, await_json, &audit->await);
    if (!await_run(stores->loop, &audit->await, err)) return false;
    json_t *found = take_json(audit);
    add_all(audit, found);
    json_decref(found);
    return true;
}

static void add_count(json_t *into, const json_t *slice, const char *key)
{
    json_int_t sum = json_integer_value(json_object_get(into, key));
    sum += json_integer_value(json_object_get(slice, key));
    json_object_set_new(into, key, json_integer(sum));
}

static void add_slice(struct audit *audit, const json_t *slice)
{
    static const char *const going_on[] = { "submitted", "waiting", "delayed", "running" };
    static const char *const ends[] = { "SUCCESS", "FAILURE", "REVOKED" };
    for (size_t i = 0; i < COUNT_OF(going_on); i++) add_count(audit->counts, slice, going_on[i]);
    json_t *final = json_object_get(audit->counts, "final");
    if (!final) {
        final = json_object();
        json_object_set_new(audit->counts, "final", final);
    }
    for (size_t i = 0; i < COUNT_OF(ends); i++) add_count(final, slice, ends[i]);
    add_all(audit, json_object_get(slice, "differences"));
}

/* ---- hints ---- */

static bool audit_hints(struct audit *audit, struct err *err)
{
    struct page queues = { 0 };
    broker_counts(audit->stores.broker, page_on_counts, &queues);
    bool good = page_wait(audit->stores.loop, &queues, err);
    audit->claimed_hints = queues.claimed;
    for (size_t i = 0; good && i < queues.count; i++) {
        audit->waiting_hints += queues.queues[i].hints;
        char *isolated = xasprintf("%s/isolated", queues.queues[i].name);
        good = audit_queue(audit, queues.queues[i].name, err) && audit_queue(audit, isolated, err);
        free(isolated);
    }
    good = good && audit_queue(audit, "", err);
    page_close(&queues);
    return good;
}

static bool audit_queue(struct audit *audit, const char *queue, struct err *err)
{
    char cursor[64] = "0";
    bool good = true;
    do {
        struct page page = { 0 };
        broker_scan(audit->stores.broker, queue, cursor, page_on_scanned, &page);
        good = page_wait(audit->stores.loop, &page, err) && judge_held(audit, &page, err);
        memcpy(cursor, page.text, sizeof cursor);
        page_close(&page);
    } while (good && strcmp(cursor, "0") != 0);
    return good;
}

static void suspect(struct suspects *suspects, const struct hint *hint)
{
    for (size_t i = 0; i < suspects->count; i++)
        if (ident_equal(&suspects->hints[i].id, &hint->id)) return;
    if (suspects->count < SUSPECTS_MOST) suspects->hints[suspects->count++] = *hint;
}

static const struct hint *find_hint(const struct hint *hints, size_t count, const json_t *found)
{
    struct ident id;
    const char *text = json_string_value(json_object_get(found, "id"));
    if (!text || !ident_parse(text, &id)) return NULL;
    for (size_t i = 0; i < count; i++)
        if (ident_equal(&hints[i].id, &id)) return &hints[i];
    return NULL;
}

/* A page of Redis is one moment there: what it shows of Redis alone is so. */
static bool judge_held(struct audit *audit, const struct page *page, struct err *err)
{
    struct hint *hints = xcalloc(page->count + 1, sizeof *hints);
    size_t count = 0, index;
    json_t *found = NULL, *item;
    for (size_t i = 0; i < page->count; i++) {
        const struct broker_held *held = &page->held[i];
        if (held->is_id) hints[count++] = held->hint;
        if (!held->is_id)
            add_hint_difference(audit, &held->hint, false, "hint_odd",
                                "a queue in Redis holds what is no task's id");
        else if (!held->comes_back)
            add_hint_difference(audit, &held->hint, true, "hint_held",
                                "its hint is claimed without a lease that would end that");
    }
    bool good = count == 0 || ask_hints(audit, hints, count, &found, err);
    json_array_foreach(found, index, item)
    {
        const struct hint *hint = find_hint(hints, count, item);
        if (hint) suspect(&audit->wrong, hint);
    }
    json_decref(found);
    free(hints);
    return good;
}

static bool ask_hints(struct audit *audit, const struct hint *hints, size_t count, json_t **out,
                      struct err *err)
{
    ledger_audit_hints(audit->stores.ledger, hints, count, await_json, &audit->await);
    if (!await_run(audit->stores.loop, &audit->await, err)) return false;
    *out = take_json(audit);
    return true;
}

/* ---- due tasks ---- */

/* Those of the page that Redis does not hold. */
static bool find_absent(struct audit *audit, const struct page *due, struct suspects *out,
                        struct err *err)
{
    struct page there = { 0 };
    if (due->count == 0) return true;
    broker_present(audit->stores.broker, due->hints, due->count, page_on_present, &there);
    if (!page_wait(audit->stores.loop, &there, err)) return false;
    for (size_t i = 0; i < due->count; i++)
        if (!there.present[i]) suspect(out, &due->hints[i]);
    return true;
}

/* Once there are as many suspects as can be looked at again, more would not be told. */
static bool audit_due(struct audit *audit, struct err *err)
{
    struct due_cursor cursor = { 0 };
    bool good = true, is_more = audit->pulses.count > 0;
    while (good && is_more && audit->missing.count < SUSPECTS_MOST) {
        struct page due = { 0 };
        ledger_audit_due(audit->stores.ledger, audit->pulses.live, audit->pulses.count, &cursor,
                         AUDIT_PAGE, page_on_due, &due);
        good = page_wait(audit->stores.loop, &due, err) &&
               find_absent(audit, &due, &audit->missing, err);
        is_more = due.count == AUDIT_PAGE;
        if (due.count > 0)
            cursor = (struct due_cursor){ .run_at_us = due.hints[due.count - 1].ready_us,
                                          .id = due.hints[due.count - 1].id };
        page_close(&due);
    }
    return good;
}

/* ---- the second look ---- */

struct pause {
    struct timer timer;
    bool is_over, is_closed;
};

static void on_pause_over(struct timer *timer)
{
    container_of(timer, struct pause, timer)->is_over = true;
}

static void on_pause_closed(struct timer *timer)
{
    container_of(timer, struct pause, timer)->is_closed = true;
}

static void pause_for(struct audit *audit, int64_t us)
{
    struct pause pause = { .is_over = false };
    timer_init(audit->stores.loop, &pause.timer, on_pause_over);
    timer_start(&pause.timer, us);
    while (!pause.is_over) loop_turn(audit->stores.loop, true);
    timer_close(&pause.timer, on_pause_closed);
    while (!pause.is_closed) loop_turn(audit->stores.loop, true);
}

static bool look_again(struct audit *audit, struct err *err)
{
    if (audit->wrong.count > 0) {
        pause_for(audit, AGAIN_US);
        if (!look_again_at_wrong(audit, err)) return false;
    }
    if (audit->missing.count == 0) return true;
    pause_for(audit, HINT_US);
    return wait_for_refill(audit, err) && look_again_at_missing(audit, err);
}

/* Without an epoch Redis has lost its data, and a keeper is at it. */
static bool wait_for_refill(struct audit *audit, struct err *err)
{
    int64_t until_us = clock_boot_us() + REFILL_US;
    for (;;) {
        struct page epoch = { 0 };
        broker_epoch_get(audit->stores.broker, page_on_epoch, &epoch);
        if (!page_wait(audit->stores.loop, &epoch, err)) return false;
        if (epoch.text[0] || clock_boot_us() >= until_us) return true;
        pause_for(audit, SWEEP_US / 15);
    }
}

static bool look_again_at_wrong(struct audit *audit, struct err *err)
{
    struct suspects *wrong = &audit->wrong;
    struct page there = { 0 };
    size_t count = 0;
    json_t *found = NULL;
    broker_present(audit->stores.broker, wrong->hints, wrong->count, page_on_present, &there);
    if (!page_wait(audit->stores.loop, &there, err)) return false;
    for (size_t i = 0; i < wrong->count; i++)
        if (there.present[i]) wrong->hints[count++] = wrong->hints[i];
    if (count > 0 && !ask_hints(audit, wrong->hints, count, &found, err)) return false;
    add_all(audit, found);
    json_decref(found);
    return true;
}

/* Workers whose heartbeat has moved since the first look live; others may be gone without anybody
 * having said so. */
static bool look_again_at_missing(struct audit *audit, struct err *err)
{
    struct pulses now = { 0 };
    struct ident *live = xcalloc(audit->pulses.count + 1, sizeof *live);
    size_t count = 0;
    struct page due = { 0 };
    struct suspects absent = { .count = 0 };
    bool good = ask_pulses(audit, &now, err);
    for (size_t i = 0; good && i < now.count; i++)
        for (size_t k = 0; k < audit->pulses.count; k++)
            if (ident_equal(&now.live[i], &audit->pulses.live[k]) &&
                now.heartbeats[i] != audit->pulses.heartbeats[k])
                live[count++] = now.live[i];
    if (good)
        ledger_audit_still_due(audit->stores.ledger, live, count, audit->missing.hints,
                               audit->missing.count, page_on_due, &due);
    good =
        good && page_wait(audit->stores.loop, &due, err) && find_absent(audit, &due, &absent, err);
    for (size_t i = 0; good && i < absent.count; i++)
        add_hint_difference(audit, &absent.hints[i], true, "hint_missing",
                            "it is due for over 10 s, a living worker serves it, and Redis has no "
                            "hint of it");
    page_close(&due);
    pulses_close(&now);
    free(live);
    return good;
}

static bool ask_pulses(struct audit *audit, struct pulses *out, struct err *err)
{
    ledger_pulse(audit->stores.ledger, await_json, &audit->await);
    if (!await_run(audit->stores.loop, &audit->await, err)) return false;
    json_t *all = take_json(audit), *item;
    size_t index;
    out->live = xcalloc(json_array_size(all) + 1, sizeof *out->live);
    out->heartbeats = xcalloc(json_array_size(all) + 1, sizeof *out->heartbeats);
    json_array_foreach(all, index, item)
    {
        const char *text = json_string_value(json_object_get(item, "incarnation"));
        if (!text || !ident_parse(text, &out->live[out->count])) continue;
        out->heartbeats[out->count++] = json_integer_value(json_object_get(item, "heartbeat"));
    }
    json_decref(all);
    return true;
}

static void pulses_close(struct pulses *pulses)
{
    free(pulses->live);
    free(pulses->heartbeats);
}

/* ---- what was found ---- */

static void add_difference(struct audit *audit, const json_t *found)
{
    const char *kind = json_string_value(json_object_get(found, "kind")), *remedy = "";
    if (++audit->difference_count > AUDIT_LISTED_MOST) return;
    for (size_t i = 0; i < COUNT_OF(remedies); i++)
        if (kind && strcmp(remedies[i].kind, kind) == 0) remedy = remedies[i].remedy;
    json_t *id = json_object_get(found, "id");
    json_array_append_new(audit->differences,
                          json_pack("{sO?sssO?ss}", "id", id, "kind", kind ? kind : "", "message",
                                    json_object_get(found, "detail"), "remedy", remedy));
}

static void add_hint_difference(struct audit *audit, const struct hint *hint, bool is_id,
                                const char *kind, const char *detail)
{
    char id[IDENT_TEXT_SIZE];
    ident_text(&hint->id, id);
    json_t *found = json_pack("{sossss}", "id", is_id ? json_string(id) : json_null(), "kind", kind,
                              "detail", detail);
    add_difference(audit, found);
    json_decref(found);
}
