/* entries.c: see entries.h. Names that are in no catalogue are not kept: there is no end of them.
 */
#include "http/entries.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

struct entries {
    struct ledger *ledger;
    struct map *known; /* name -> struct catalogue_entry */
    uint64_t age;      /* counts entries_forget */
};

struct search {
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
    *search = (struct search){ entries, xstrdup(name), entries->age, done, arg };
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

static void explain(struct search *search)
{
    ledger_catalogue_list(search->entries->ledger, NULL, on_list, search);
}

static void on_list(void *arg, const char *json, size_t len, const struct err *err)
{
    struct search *search = arg;
    struct err unknown;
    if (!err) catalogue_explain_unknown(search->name, json, len, &unknown);
    search_end(search, NULL, err ? err : &unknown);
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
    entries->age++;
}
