/* doctor.h: what `doctor` finds out, shared by its files. Each check tells one line or more.
 * Nothing that is told holds a secret: names of stores come from config_*_shown. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/app.h"

enum finding { FINDING_OK, FINDING_WARN, FINDING_FAIL };

struct doctor {
    struct app *app;
    json_t *checks, *guarantees; /* [{name, state, message, remedy}], owned */
    bool has_failed;
    bool redis_answers, postgres_answers; /* after their checks */
    /* Facts that guarantees rest on; false while unknown. */
    bool redis_evicts, redis_keeps, redis_writable;
    bool is_durable, has_schema, postgres_writable;
    bool has_live_worker, trial_went_well;
    json_t *pulses; /* heartbeats, and when they were seen; owned, of doctor_work.c */
    int64_t pulses_us;
};

/* remedy NULL: there is nothing to do. The message in the form of printf. */
void doctor_tell(struct doctor *doctor, const char *name, enum finding state, const char *remedy,
                 const char *fmt, ...) PRINTF_LIKE(5, 6);
void doctor_promise(struct doctor *doctor, const char *name, enum finding state, const char *remedy,
                    const char *message);

void doctor_redis(struct doctor *doctor);    /* doctor_redis.c */
void doctor_postgres(struct doctor *doctor); /* doctor_postgres.c */
void doctor_machine(struct doctor *doctor);  /* doctor_machine.c: files, sandbox */
/* doctor_work.c: what needs both stores: workers, queues, a trial. _begin notes the heartbeats, so
 * that they may move while the rest is looked at. */
void doctor_work_begin(struct doctor *doctor);
void doctor_work(struct doctor *doctor);
