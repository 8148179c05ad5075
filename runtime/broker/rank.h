/* rank.h: a hint's place in its queue as one exact number. Private to broker/. No I/O. */
#pragma once
#include <stdint.h>

#include "task/task.h"

/* (10 - priority) * 2^42 + ready in ms: below 2^46, so a double holds it exactly. What lies outside
 * priority 0..10 or 1970..2109 is moved to the border. */
int64_t rank_score(int priority, int64_t ready_us);
void rank_read(int64_t score, struct hint *hint); /* fills priority and ready_us */
