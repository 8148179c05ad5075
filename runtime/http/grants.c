/* grants.c: see grants.h. One statement reads all of them: tokens are few, and change rarely. */
#include "http/grants.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "task/params.h"

#define NOTE_US  INT64_C(60000000) /* a token's use is noted once in that */
#define AGAIN_US INT64_C(1000000)

struct grants {
    struct ledger *ledger;
    struct map *known; /* id -> struct grant */
    struct grant *local;
    bool is_known, has_any;
    bool is_loading;
    uint64_t round;      /* of the load under way, or the last */
    uint64_t age;        /* counts grants_forget */
    uint64_t age_asked;  /* when it was asked */
    struct list waiting; /* of struct waiter */
    struct timer again;
    char **used; /* ids of grants, NULL-terminated: to be noted */
    size_t used_count;
    bool is_noting;
};

struct waiter {
    struct list node;
    uint64_t round; /* that it waits for */
    void (*done)(void *arg);
    void *arg;
};

static void load(struct grants *grants);
static void on_loaded(void *arg, const char *json, size_t len, const struct err *err);
static void take(struct grants *grants, const char *json, size_t len);
static struct grant *grant_read(const json_t *from, const struct map *before);
static void empty(struct map *known);
static void note_use(struct grants *grants, struct grant *grant);
static void note(struct grants *grants);
static void on_noted(void *arg, int64_t count, bool unknown, const struct err *err);
static void on_again(struct timer *timer);
static void on_closed(struct timer *timer);

struct grant *grant_hold(struct grant *grant)
{
    grant->holders++;
    return grant;
}

void grant_drop(struct grant *grant)
{
    if (!grant || --grant->holders > 0) return;
    free(grant->actor);
    free(grant->tasks);
    free(grant->like);
    free(grant);
}

bool grant_is_limited(const struct grant *grant) { return grant->tasks || grant->own; }

bool grant_allows(const struct grant *grant, const char *task_name)
{
    return !grant->tasks || glob_matches(grant->tasks, task_name);
}

const char *grant_owner(const struct grant *grant) { return grant->own ? grant->actor : NULL; }

struct grants *grants_new(struct loop *loop, struct ledger *ledger)
{
    struct grants *grants = xcalloc(1, sizeof *grants);
    grants->ledger = ledger;
    grants->known = map_new();
    grants->local = xcalloc(1, sizeof *grants->local);
    *grants->local =
        (struct grant){ .holders = 1, .scope = SCOPE_ADMIN, .actor = xstrdup("local") };
    list_init(&grants->waiting);
    timer_init(loop, &grants->again, on_again);
    return grants;
}

void grants_free(struct grants *grants)
{
    if (!grants) return;
    empty(grants->known);
    map_free(grants->known);
    grant_drop(grants->local);
    for (size_t i = 0; i < grants->used_count; i++) free(grants->used[i]);
    free(grants->used);
    timer_close(&grants->again, on_closed);
}

static void on_closed(struct timer *timer) { free(container_of(timer, struct grants, again)); }

void grants_forget(struct grants *grants)
{
    grants->is_known = false;
    grants->age++;
}

bool grants_are_known(const struct grants *grants) { return grants->is_known; }

bool grants_any(const struct grants *grants) { return grants->has_any; }

struct grant *grants_local(struct grants *grants) { return grants->local; }

struct grant *grants_find(struct grants *grants, const char *text, bool session)
{
    struct token token;
    if (!grants->is_known || !token_parse(text, &token)) return NULL;
    struct grant *grant = map_find(grants->known, token.id, strlen(token.id));
    if (!grant || !token_is_same(&token, grant->hash) || grant->session != session) return NULL;
    if (grant->until_us && grant->until_us <= clock_boot_us()) return NULL;
    note_use(grants, grant);
    return grant;
}

/* ---- reading ---- */

void grants_load(struct grants *grants, void (*done)(void *arg), void *arg)
{
    struct waiter *waiter = xcalloc(1, sizeof *waiter);
    *waiter = (struct waiter){ .round = grants->round + 1, .done = done, .arg = arg };
    list_push_back(&grants->waiting, &waiter->node);
    if (!grants->is_loading) load(grants);
}

static void load(struct grants *grants)
{
    grants->is_loading = true;
    grants->round++;
    grants->age_asked = grants->age;
    ledger_grants(grants->ledger, on_loaded, grants);
}

/* What was asked for while this load was under way may not be in it. */
static void on_loaded(void *arg, const char *json, size_t len, const struct err *err)
{
    struct grants *grants = arg;
    grants->is_loading = false;
    if (err)
        grants->is_known = false;
    else if (grants->age == grants->age_asked)
        take(grants, json, len);
    bool is_leaving = err && err->code == ERR_CANCELLED;
    if (err && !is_leaving) {
        log_warn("tokens cannot be read: %s", err->text);
        timer_start(&grants->again, AGAIN_US);
    }
    struct list over;
    list_init(&over);
    LIST_EACH (node, &grants->waiting) {
        bool is_next = container_of(node, struct waiter, node)->round > grants->round;
        if (is_next && !is_leaving) continue;
        list_del(node);
        list_push_back(&over, node);
    }
    if (!list_is_empty(&grants->waiting)) load(grants);
    for (struct list *node; (node = list_pop_front(&over));) {
        struct waiter *waiter = container_of(node, struct waiter, node);
        if (waiter->done) waiter->done(waiter->arg);
        free(waiter);
    }
}

static void on_again(struct timer *timer)
{
    struct grants *grants = container_of(timer, struct grants, again);
    if (!grants->is_known) grants_load(grants, NULL, NULL);
}

static void take(struct grants *grants, const char *json, size_t len)
{
    json_t *root = params_load(json, len), *item;
    struct map *before = grants->known;
    size_t index;
    grants->known = map_new();
    json_array_foreach(json_object_get(root, "grants"), index, item)
    {
        struct grant *grant = grant_read(item, before);
        if (grant) map_put(grants->known, grant->id, strlen(grant->id), grant);
    }
    grants->has_any = json_is_true(json_object_get(root, "any"));
    grants->is_known = true;
    empty(before);
    map_free(before);
    json_decref(root);
}

static char *copy_text(const json_t *from, const char *key)
{
    const char *text = json_string_value(json_object_get(from, key));
    return text ? xstrdup(text) : NULL;
}

/* NULL: it cannot be understood, and lets nobody in. gives */
static struct grant *grant_read(const json_t *from, const struct map *before)
{
    const char *id = json_string_value(json_object_get(from, "id"));
    const char *hash = json_string_value(json_object_get(from, "hash"));
    const char *scope = json_string_value(json_object_get(from, "scope"));
    const json_t *left = json_object_get(from, "left_us");
    struct grant *grant = xcalloc(1, sizeof *grant);
    grant->holders = 1;
    bool good = id && hash && scope && strlen(id) < sizeof grant->id &&
                token_hash_parse(hash, grant->hash) && scope_parse(scope, &grant->scope);
    grant->actor = copy_text(from, "actor");
    grant->tasks = copy_text(from, "tasks");
    if (!good || !grant->actor) {
        grant_drop(grant);
        return NULL;
    }
    strcpy(grant->id, id);
    grant->session = json_is_true(json_object_get(from, "session"));
    grant->own = json_is_true(json_object_get(from, "own"));
    if (grant->tasks) grant->like = glob_like(grant->tasks);
    if (json_is_integer(left)) grant->until_us = clock_boot_us() + json_integer_value(left);
    const struct grant *old = map_find(before, id, strlen(id));
    if (old) grant->used_us = old->used_us;
    return grant;
}

static void empty(struct map *known)
{
    size_t at = 0, len;
    const void *key;
    void *grant;
    while (map_next(known, &at, &key, &len, &grant)) grant_drop(grant);
}

/* ---- last use: what comes while a note is written goes with the next ---- */

static void note_use(struct grants *grants, struct grant *grant)
{
    int64_t now_us = clock_boot_us();
    if (grant->used_us && now_us - grant->used_us < NOTE_US) return;
    grant->used_us = now_us;
    grants->used = xrealloc(grants->used, (grants->used_count + 2) * sizeof *grants->used);
    grants->used[grants->used_count++] = xstrdup(grant->id);
    if (!grants->is_noting) note(grants);
}

static void note(struct grants *grants)
{
    grants->is_noting = true;
    grants->used[grants->used_count] = NULL;
    ledger_tokens_used(grants->ledger, (const char *const *)grants->used, on_noted, grants);
    for (size_t i = 0; i < grants->used_count; i++) free(grants->used[i]);
    grants->used_count = 0;
}

static void on_noted(void *arg, int64_t count, bool unknown, const struct err *err)
{
    struct grants *grants = arg;
    (void)count, (void)unknown, (void)err; /* lost: the next use is noted */
    grants->is_noting = false;
    if (grants->used_count && !err) note(grants);
}
