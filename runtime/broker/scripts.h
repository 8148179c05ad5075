/* scripts.h: the verbs of broker.h as server-side scripts. Private to broker/. Each takes one key,
 * "{ns}", from which all others are made: they share its hash slot. What each reads from ARGV and
 * answers is said above its text. */
#pragma once
#include "io/redis.h"

extern struct redis_script script_push, script_claim, script_settle, script_forget, script_present,
    script_counts, script_set_paused, script_epoch_set, script_scan, script_drop_queue;
