/* entries.c: see entries.h. Names that are in no catalogue are not kept: there is no end of them.
 */
#include "http/entries.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

struct entries {
    struct ledger *ledger;
    struct map *known;       /* name -> struct catalogue_entry */
    uint64_t age;            /* counts entries_forget */
    json_t *list;            /* of all that there are, for who asked for one that is not; or NULL */
    struct list unexplained; /* searches that wait for it */
    uint64_t list_age;       /* when it was asked for */
    bool is_listing;
};

struct search {
    struct list node; /* of unexplained */
    struct entries *entries;
    char *name;
    uint64_t age; /* when it was asked */
    entry_fn *done;
    void *arg;
};

static void on_found(void *arg, const char *json, size_t len, const struct err *err);
static void on_list(void *arg, const char *json, size_t len, const struct err *err);
static void search_end(struct search *search, const struct catalogue_entry *entry,
                       const struct err *err);
static void explain(struct search *search);

struct entries *entries_new(struct ledger *ledger)
{
    struct entries *entries = xcalloc(1, sizeof *entries);
    entries->ledger = ledger;
    entries->known = map_new();
    list_init(&entries->unexplained);
    return entries;
}

void entries_free(struct entries *entries)
{
    if (!entries) return;
    entries_forget(entries);
    map_free(entries->known);
    free(entries);
}

void entries_find(struct entries *entries, const char *name, entry_fn *done, void *arg)
{
    const struct catalogue_entry *known = map_find(entries->known, name, strlen(name));
    if (known) {
        done(arg, known, NULL);
        return;
    }
    struct search *search = xcalloc(1, sizeof *search);
    *search = (struct search){
        .entries = entries, .name = xstrdup(name), .age = entries->age, .done = done, .arg = arg
    };
    list_init(&search->node);
    if (task_name_is_valid(name))
        ledger_catalogue_find(entries->ledger, name, on_found, search);
    else
        explain(search);
}

static void on_found(void *arg, const char *json, size_t len, const struct err *err)
{
    struct search *search = arg;
    struct entries *entries = search->entries;
    struct catalogue_entry *entry = NULL;
    struct err wrong;
    if (err) {
        search_end(search, NULL, err);
    } else if (len == 0) {
        explain(search);
    } else if (!catalogue_entry_parse(json, len, &entry, &wrong)) {
        search_end(search, NULL, &wrong);
    } else {
        bool is_fresh = search->age == entries->age;
        size_t name_len = strlen(search->name);
        if (is_fresh) {
            catalogue_entry_free(map_take(entries->known, search->name, name_len));
            map_put(entries->known, search->name, name_len, entry);
        }
        search_end(search, entry, NULL);
        if (!is_fresh) catalogue_entry_free(entry);
    }
}

/* One question serves all, however many names of a bulk are wrong. */
static void explain(struct search *search)
{
    struct entries *entries = search->entries;
    struct err unknown;
    if (entries->list) {
        catalogue_explain_unknown(search->name, entries->list, &unknown);
        search_end(search, NULL, &unknown);
        return;
    }
    list_push_back(&entries->unexplained, &search->node);
    if (entries->is_listing) return;
    entries->is_listing = true;
    entries->list_age = entries->age;
    ledger_catalogue_list(entries->ledger, NULL, on_list, entries);
}

static void on_list(void *arg, const char *json, size_t len, const struct err *err)
{
    struct entries *entries = arg;
    json_t *list = err ? NULL : params_load(json, len);
    struct list asked;
    struct err unknown;
    list_init(&asked);
    list_move_all(&asked, &entries->unexplained);
    entries->is_listing = false;
    if (entries->list_age == entries->age) entries->list = json_incref(list);
    while (!list_is_empty(&asked)) {
        struct search *search = container_of(list_pop_front(&asked), struct search, node);
        if (!err) catalogue_explain_unknown(search->name, list, &unknown);
        search_end(search, NULL, err ? err : &unknown);
    }
    json_decref(list);
}

static void search_end(struct search *search, const struct catalogue_entry *entry,
                       const struct err *err)
{
    search->done(search->arg, entry, err);
    free(search->name);
    free(search);
}

void entries_forget(struct entries *entries)
{
    size_t at = 0;
    void *entry;
    const void *key;
    size_t len;
    while (map_next(entries->known, &at, &key, &len, &entry)) catalogue_entry_free(entry);
    map_free(entries->known);
    entries->known = map_new();
    json_decref(entries->list);
    entries->list = NULL;
    entries->age++;
}
