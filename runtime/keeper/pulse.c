/* pulse.c: death by counter. The keeper must itself see a heartbeat unchanged for the lease on the
 * boot clock while Postgres answered throughout; any gap in the answers begins the count anew, so
 * an outage of Postgres kills nobody. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "keeper/keeper_private.h"
#include "task/params.h"

/* Looked at every second. What lies longer between two answers (Postgres away, this process
 * stopped) proves nothing about those who beat. */
#define GAP_US 3000000

static void on_pulse(void *arg, const char *json, size_t len, const struct err *err);
static void look_at(struct keeper *keeper, const struct ident *incarnation, int64_t heartbeat);
static struct pulse_entry *entry_of(struct pulse *pulse, const struct ident *incarnation);
static void drop_unseen(struct pulse *pulse);
static void on_declared(void *arg, const struct ledger_hints *hints, const struct err *err);

void pulse_beat(struct keeper *keeper)
{
    if (keeper->pulse.asked) return;
    keeper->pulse.asked = true;
    ledger_pulse(keeper->ledger, on_pulse, keeper);
}

void pulse_forget(struct keeper *keeper) { keeper->pulse.count = 0; }

void pulse_close(struct pulse *pulse) { free(pulse->entries); }

static void on_pulse(void *arg, const char *json, size_t len, const struct err *err)
{
    struct keeper *keeper = arg;
    keeper->pulse.asked = false;
    if (keeper->closing) return;
    if (err) {
        pulse_forget(keeper);
        return;
    }
    int64_t now_us = clock_boot_us();
    if (now_us - keeper->pulse.answered_us > GAP_US) pulse_forget(keeper);
    keeper->pulse.answered_us = now_us;
    json_t *all = params_load(json, len);
    size_t index;
    json_t *one;
    for (size_t i = 0; i < keeper->pulse.count; i++) keeper->pulse.entries[i].seen = false;
    json_array_foreach(all, index, one)
    {
        struct ident incarnation;
        const char *text = json_string_value(json_object_get(one, "incarnation"));
        if (!text || !ident_parse(text, &incarnation)) continue;
        look_at(keeper, &incarnation, json_integer_value(json_object_get(one, "heartbeat")));
    }
    drop_unseen(&keeper->pulse);
    json_decref(all);
}

static void look_at(struct keeper *keeper, const struct ident *incarnation, int64_t heartbeat)
{
    int64_t now_us = clock_boot_us();
    struct pulse_entry *entry = entry_of(&keeper->pulse, incarnation);
    entry->seen = true;
    if (entry->heartbeat != heartbeat) {
        entry->heartbeat = heartbeat;
        entry->since_us = now_us;
        return;
    }
    if (now_us - entry->since_us < keeper->options.lease_us) return;
    char text[IDENT_TEXT_SIZE];
    ident_text(incarnation, text);
    log_warn("worker process %s has not beaten for %lld s: declaring it dead", text,
             (long long)((now_us - entry->since_us) / 1000000));
    struct death death = { .incarnation = *incarnation, .seen_heartbeat = heartbeat };
    ledger_declare_dead(keeper->ledger, &death, on_declared, keeper);
    entry->since_us = now_us;
}

static void on_declared(void *arg, const struct ledger_hints *hints, const struct err *err)
{
    if (!err) keeper_push(arg, hints);
}

static struct pulse_entry *entry_of(struct pulse *pulse, const struct ident *incarnation)
{
    for (size_t i = 0; i < pulse->count; i++) {
        if (ident_equal(&pulse->entries[i].incarnation, incarnation)) return &pulse->entries[i];
    }
    if (pulse->count == pulse->cap) {
        pulse->cap = pulse->cap ? pulse->cap * 2 : 16;
        pulse->entries = xrealloc(pulse->entries, pulse->cap * sizeof *pulse->entries);
    }
    pulse->entries[pulse->count] =
        (struct pulse_entry){ .incarnation = *incarnation, .heartbeat = -1 };
    return &pulse->entries[pulse->count++];
}

static void drop_unseen(struct pulse *pulse)
{
    size_t kept = 0;
    for (size_t i = 0; i < pulse->count; i++) {
        if (pulse->entries[i].seen) pulse->entries[kept++] = pulse->entries[i];
    }
    pulse->count = kept;
}
