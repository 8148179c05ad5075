/* audit_page.c: see audit_page.h. */
#include "lifecycle/audit_page.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

bool page_wait(struct loop *loop, struct page *page, struct err *err)
{
    while (!page->is_done) loop_turn(loop, true);
    if (page->err.code == ERR_NONE) return true;
    *err = page->err;
    return false;
}

void page_close(struct page *page)
{
    free(page->held);
    free(page->queues);
    free(page->hints);
}

static struct page *page_done(void *arg, const struct err *err)
{
    struct page *page = arg;
    page->is_done = true;
    if (err) page->err = *err;
    return page;
}

static void *copy_of(const void *items, size_t count, size_t size)
{
    void *copy = xcalloc(count + 1, size);
    if (count > 0) memcpy(copy, items, count * size);
    return copy;
}

void page_on_counts(void *arg, const struct broker_queue *queues, size_t count, int64_t claimed,
                    const struct err *err)
{
    struct page *page = page_done(arg, err);
    if (err) return;
    page->queues = copy_of(queues, count, sizeof *queues);
    page->count = count;
    page->claimed = claimed;
}

void page_on_scanned(void *arg, const struct broker_scanned *scanned, const struct err *err)
{
    struct page *page = page_done(arg, err);
    if (err) return;
    page->held = copy_of(scanned->held, scanned->count, sizeof *scanned->held);
    page->count = scanned->count;
    strncpy(page->text, scanned->cursor, sizeof page->text - 1);
}

void page_on_present(void *arg, const bool *present, size_t count, const struct err *err)
{
    struct page *page = page_done(arg, err);
    if (!err) memcpy(page->present, present, count * sizeof *present);
}

void page_on_epoch(void *arg, const char *epoch, const struct err *err)
{
    struct page *page = page_done(arg, err);
    if (!err) strncpy(page->text, epoch, sizeof page->text - 1);
}

void page_on_due(void *arg, const struct ledger_hints *hints, const struct err *err)
{
    struct page *page = page_done(arg, err);
    if (err) return;
    page->hints = copy_of(hints->hints, hints->count, sizeof *hints->hints);
    page->count = hints->count;
}
