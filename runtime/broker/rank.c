#include "broker/rank.h"

#define MS_BITS       42
#define MS_MOST       ((INT64_C(1) << MS_BITS) - 1)
#define PRIORITY_MOST 10

static int64_t between(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

int64_t rank_score(int priority, int64_t ready_us)
{
    int64_t behind = PRIORITY_MOST - between(priority, 0, PRIORITY_MOST);
    return behind << MS_BITS | between(ready_us / 1000, 0, MS_MOST);
}

void rank_read(int64_t score, struct hint *hint)
{
    hint->priority = (int16_t)(PRIORITY_MOST - between(score >> MS_BITS, 0, PRIORITY_MOST));
    hint->ready_us = (score & MS_MOST) * 1000;
}
