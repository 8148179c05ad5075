/* figures.c: books what happened into the ledger's figures; after a long stop slice after slice,
 * with the beats in between. */
#include "base/log.h"
#include "keeper/keeper_private.h"

/* Longer than any statement may take: what is older, nobody can still begin to write. */
#define LAG_US 35000000

static void roll_slice(struct keeper *keeper);
static void on_rolled(void *arg, int64_t minutes_left, bool unknown, const struct err *err);

void figures_roll(struct keeper *keeper)
{
    if (!keeper->rolling) roll_slice(keeper);
}

static void roll_slice(struct keeper *keeper)
{
    keeper->rolling = true;
    ledger_figures_roll(keeper->ledger, LAG_US, on_rolled, keeper);
}

static void on_rolled(void *arg, int64_t minutes_left, bool unknown, const struct err *err)
{
    struct keeper *keeper = arg;
    (void)unknown;
    keeper->rolling = false;
    if (err && err->code != ERR_CANCELLED && err->code != ERR_STORE)
        log_warn("figures: %s", err->text);
    if (!err && minutes_left > 0 && keeper->leads) roll_slice(keeper);
}
