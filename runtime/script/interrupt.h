/* interrupt.h: stops Lua that does not yield, from outside, also in compiled code, also inside
 * pcall.
 *
 * A thread of this process watches the slice that is running. Past its deadline it directs SIGUSR1
 * at the Lua thread every 20 ms; the handler installs a count hook and raises SIGPROF, which makes
 * compiled code leave its trace; the hook raises until lua_resume returns. What does not yield to
 * this (one C function that does not return) is for the supervisor: it reads the slice note in
 * shared memory and kills the process. interrupt_enter/leave bracket every lua_resume: cheap (a few
 * stores). */
#pragma once
#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/ident.h"

/* Lies in memory that the supervisor reads, so that a death or a blocked loop can be laid at the
 * right door. sequence is odd while a slice runs. */
struct slice_note {
    _Atomic uint64_t sequence;
    _Atomic uint64_t claim_high, claim_low; /* of the run on the CPU */
    _Atomic int64_t deadline_us;            /* boot time; INT64_MAX: none */
    _Atomic int64_t began_us;
};

/* Starts the thread; note may be NULL (then a private one). Once per process, before the first
 * generation. */
void interrupt_start(struct slice_note *note);
void interrupt_stop(void);
void interrupt_enter(lua_State *L, const struct ident *claim, int64_t deadline_us);
/* true: the slice was interrupted: whatever lua_resume returned, the run is over. Takes the hook
 * off. */
bool interrupt_leave(lua_State *L);
bool interrupt_has_struck(void); /* in this slice; what runs now is on its way out */
/* The profiler belongs to one state: give it to this one, L its main thread (the last owner is
 * disowned). */
void interrupt_own(lua_State *L);
lua_State *interrupt_owner(void); /* its main thread, or NULL */
/* A state that lost it: JIT off, traces flushed, so that the hook alone stops it. */
void interrupt_disown(lua_State *L);
