/* audit_page.h: what came of a verb, copied, so that the audit reads downwards: pass &page as arg
 * and a page_on_* function as done, then page_wait. Private to audit.c. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/broker.h"
#include "ledger/ledger.h"
#include "loop/loop.h"

#define AUDIT_PAGE 1000 /* of what is asked for at once */

/* Zeroed before each use. */
struct page {
    bool is_done;
    struct err err;
    struct broker_held *held; /* owned */
    struct broker_queue *queues;
    struct hint *hints;
    bool present[AUDIT_PAGE];
    size_t count;
    int64_t claimed;
    char text[64]; /* cursor or epoch */
};

MUSTUSE bool page_wait(struct loop *loop, struct page *page, struct err *err);
void page_close(struct page *page);

void page_on_counts(void *arg, const struct broker_queue *queues, size_t count, int64_t claimed,
                    const struct err *err);
void page_on_scanned(void *arg, const struct broker_scanned *scanned, const struct err *err);
void page_on_present(void *arg, const bool *present, size_t count, const struct err *err);
void page_on_epoch(void *arg, const char *epoch, const struct err *err);
void page_on_due(void *arg, const struct ledger_hints *hints, const struct err *err);
