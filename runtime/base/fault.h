/* fault.h: named places at which a test may break the program as it is shipped.
 *
 * Nothing is armed unless the process was started with CTUTOR_FAULTS_FD=N, N an open file of
 * orders, one a line:
 *
 *     POINT ACTION [after K] [times N] [in ROLE] [for SUBJECT]
 *
 * after: at the K-th pass of each process (alloc: the K-th allocation from the first pass on);
 * times: in so many processes or passes altogether (1); in: only in such a process; for: only where
 * the point names this subject (run_resume: a task's name). The file is also what is told back:
 * each process adds `reached POINT ROLE` at its first pass and `fired ORDER POINT ACTION ROLE PID`
 * before it acts, ORDER counted from 0. A supervisor hands the descriptor to its runners and to the
 * checker; what tasks start never has it. While nothing is armed a point costs the load of one
 * bool. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum fault_role {
    FAULT_CLI = 1,
    FAULT_SUPERVISOR = 2, /* the keeper is part of it */
    FAULT_RUNNER = 4,
    FAULT_CHECKER = 8,
    FAULT_ISOLATED = 16 /* a process for one task */
};

enum fault_action {
    FAULT_KILL = 1,  /* SIGKILL to itself */
    FAULT_STOP = 2,  /* SIGSTOP to itself */
    FAULT_SEGV = 4,  /* an access to no memory */
    FAULT_ERROR = 8, /* it fails and nothing was done */
    FAULT_LOSE = 16, /* it was done, the answer is lost with the connection */
    FAULT_ALLOC = 32 /* the K-th allocation from here on fails */
};

struct fault_point {
    const char *name;
    const char *races; /* rows of the race table in docs/reliability.md, or "" */
    unsigned roles, actions;
    const char *sentence;
};
extern const struct fault_point fault_points[]; /* ends with a NULL name */

#define FAULTS_VARIABLE "CTUTOR_FAULTS_FD"
/* At the start of a process, before it has threads: takes the descriptor and its variable away from
 * what is started later. */
void fault_init(void);
void fault_set_role(enum fault_role role); /* FAULT_CLI until then */
int fault_descriptor(void);                /* -1: nothing is armed */
const char *fault_role_name(enum fault_role role);
const char *fault_action_name(enum fault_action action);

extern bool fault_is_armed;
/* The slow half of those below. Any thread. */
bool fault_pass(const char *name, const char *moment, const char *subject);
bool fault_allocation_fails(void);

/* true: go on as if the operation had failed. A name that is no point of the table is a bug. */
static inline bool fault_here(const char *name)
{
    return fault_is_armed && fault_pass(name, NULL, NULL);
}
static inline bool fault_here_for(const char *name, const char *subject)
{
    return fault_is_armed && fault_pass(name, NULL, subject);
}
/* The two points of a verb of a store, if the table has them: VERB_send, VERB_done. */
static inline bool fault_send(const char *verb)
{
    return fault_is_armed && fault_pass(verb, "send", NULL);
}
static inline bool fault_done(const char *verb)
{
    return fault_is_armed && fault_pass(verb, "done", NULL);
}
