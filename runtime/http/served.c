/* served.c: see served.h. */
#include "http/served.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "task/params.h"

#define FRESH_US INT64_C(1000000)

struct served {
    struct ledger *ledger;
    json_t *workers; /* as ledger_workers answers; NULL: not known */
    int64_t asked_us;
    bool is_asking;
};

static void on_workers(void *arg, const char *json, size_t len, const struct err *err);

struct served *served_new(struct ledger *ledger)
{
    struct served *served = xcalloc(1, sizeof *served);
    served->ledger = ledger;
    served->asked_us = -FRESH_US;
    ledger_workers(ledger, on_workers, served);
    served->is_asking = true;
    return served;
}

void served_free(struct served *served)
{
    if (served) json_decref(served->workers);
    free(served);
}

bool served_has(struct served *served, const char *queue)
{
    json_t *worker, *name;
    size_t i, j;
    int64_t now_us = clock_boot_us();
    if (!served->is_asking && now_us - served->asked_us > FRESH_US) {
        served->is_asking = true;
        ledger_workers(served->ledger, on_workers, served);
    }
    if (!served->workers) return true;
    json_array_foreach(json_object_get(served->workers, "workers"), i, worker)
    {
        json_array_foreach(json_object_get(worker, "queues"), j, name)
        {
            if (strcmp(json_string_value(name), queue) == 0) return true;
        }
    }
    return false;
}

static void on_workers(void *arg, const char *json, size_t len, const struct err *err)
{
    struct served *served = arg;
    served->is_asking = false;
    served->asked_us = clock_boot_us();
    json_decref(served->workers);
    served->workers = err ? NULL : params_load(json, len);
}
