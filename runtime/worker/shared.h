/* shared.h: one page of memory between a supervisor and one runner (a memfd). Either may read when
 * the other is dead or stuck. */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "script/interrupt.h"

struct shared {
    struct slice_note slice;            /* runner: whose Lua is on the CPU */
    _Atomic int64_t runner_turn_us;     /* runner: boot time of its loop's last turn */
    _Atomic int64_t supervisor_tick_us; /* supervisor: boot time of its last tick */
    _Atomic int64_t memory;             /* isolated runner: bytes its task may take; 0: no limit */
};

/* gives a descriptor to hand to the runner, and the mapping. */
MUSTUSE bool shared_make(int *fd, struct shared **out, struct err *err);
MUSTUSE bool shared_map(int fd, struct shared **out, struct err *err);
void shared_unmap(struct shared *shared);
