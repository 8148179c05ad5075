/* doctor_redis.c: the checks of Redis alone. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"

#define WAIT_US INT64_C(5000000)
#define SLOW_US INT64_C(10000)

struct examined {
    bool is_done;
    struct err err;
    struct broker_facts facts;
};

static bool ask(struct doctor *doctor, struct broker_facts *facts, struct err *err);
static void on_facts(void *arg, const struct broker_facts *facts, const struct err *err);
static void tell_kind(struct doctor *doctor, const struct broker_facts *facts);
static void tell_memory(struct doctor *doctor, const struct broker_facts *facts);
static void tell_persistence(struct doctor *doctor, const struct broker_facts *facts);
static void tell_load(struct doctor *doctor, const struct broker_facts *facts);

void doctor_redis(struct doctor *doctor)
{
    struct err err = { 0 };
    struct broker_facts facts;
    char *shown = config_redis_shown(doctor->app->config);
    bool is_up = app_open_broker(doctor->app, &err) && app_need_broker(doctor->app, WAIT_US, &err);
    doctor->redis_answers = is_up && ask(doctor, &facts, &err);
    if (doctor->redis_answers) {
        doctor_tell(doctor, "Redis", FINDING_OK, NULL, "%s answers, version %s", shown,
                    facts.version);
        tell_kind(doctor, &facts);
        tell_memory(doctor, &facts);
        tell_persistence(doctor, &facts);
        tell_load(doctor, &facts);
    } else {
        doctor_tell(
            doctor, "Redis", FINDING_FAIL,
            "start it, or say by REDIS_URL where it is (user and password too); `ctutor-run "
            "up` starts one",
            "%s", err.text);
    }
    free(shown);
}

static bool ask(struct doctor *doctor, struct broker_facts *facts, struct err *err)
{
    struct examined examined = { .is_done = false };
    broker_examine(doctor->app->broker, on_facts, &examined);
    while (!examined.is_done) loop_turn(&doctor->app->loop, true);
    *facts = examined.facts;
    *err = examined.err;
    return err->code == ERR_NONE;
}

static void on_facts(void *arg, const struct broker_facts *facts, const struct err *err)
{
    struct examined *examined = arg;
    examined->is_done = true;
    if (err)
        examined->err = *err;
    else
        examined->facts = *facts;
}

static void tell_kind(struct doctor *doctor, const struct broker_facts *facts)
{
    bool is_old = strtol(facts->version, NULL, 10) < 6;
    bool is_cluster = strcmp(facts->mode, "cluster") == 0;
    bool is_replica = strcmp(facts->role, "master") != 0;
    doctor->redis_writable = !is_replica && !facts->writes_fail;
    if (is_old)
        doctor_tell(doctor, "Redis version", FINDING_FAIL, "use 6 or newer", "%s", facts->version);
    doctor_tell(doctor, "Redis mode", is_cluster ? FINDING_FAIL : FINDING_OK,
                is_cluster ? "use a single server, or Sentinel" : NULL, "%s", facts->mode);
    doctor_tell(doctor, "Redis role", is_replica ? FINDING_FAIL : FINDING_OK,
                is_replica ? "connect to the master; with Sentinel use redis+sentinel://" : NULL,
                "%s%s", facts->role, facts->link_is_down ? ", cut off from its master" : "");
}

static void tell_memory(struct doctor *doctor, const struct broker_facts *facts)
{
    doctor->redis_evicts = strncmp(facts->policy, "allkeys", strlen("allkeys")) == 0;
    bool is_volatile = strcmp(facts->policy, "noeviction") != 0 && !doctor->redis_evicts;
    doctor_tell(doctor, "Redis maxmemory-policy", doctor->redis_evicts ? FINDING_FAIL : FINDING_OK,
                doctor->redis_evicts
                    ? "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf"
                    : NULL,
                "%s%s", facts->policy,
                doctor->redis_evicts ? " may drop waiting tasks; workers refuse to start"
                : is_volatile        ? ", which spares our keys: none has a time to live"
                                     : "");
    if (!facts->memory_most) return;
    bool is_full = facts->memory > facts->memory_most / 10 * 9;
    doctor_tell(doctor, "Redis memory", is_full ? FINDING_WARN : FINDING_OK,
                is_full ? "raise maxmemory: a full Redis takes no hints" : NULL,
                "%" PRId64 "M of %" PRId64 "M used", facts->memory >> 20, facts->memory_most >> 20);
}

static void tell_persistence(struct doctor *doctor, const struct broker_facts *facts)
{
    bool is_lazy = strcmp(facts->fsync, "no") == 0;
    doctor->redis_keeps = facts->has_aof;
    if (facts->writes_fail)
        doctor_tell(doctor, "Redis saves", FINDING_FAIL,
                    "look at its log: disk full, or a folder it may not write to",
                    "it could not write to its disk, and may refuse all writes therefore");
    if (!facts->has_aof)
        doctor_tell(doctor, "Redis appendonly", FINDING_WARN,
                    "CONFIG SET appendonly yes, and the same in redis.conf",
                    "no: nothing is lost, but after each restart of Redis all that waits must be "
                    "pushed again (a million tasks: half a minute)");
    else
        doctor_tell(doctor, "Redis appendonly", FINDING_OK, NULL, "yes, appendfsync %s%s",
                    facts->fsync[0] ? facts->fsync : "is not told to us",
                    is_lazy ? ": the keeper pushes what a crash takes" : "");
}

static void tell_load(struct doctor *doctor, const struct broker_facts *facts)
{
    bool is_slow = facts->latency_us > SLOW_US;
    bool is_crowded = facts->clients_most > 0 && facts->clients > facts->clients_most / 10 * 9;
    doctor_tell(doctor, "Redis latency", is_slow ? FINDING_WARN : FINDING_OK,
                is_slow ? "put it nearer, or look at SLOWLOG: each claim waits for it" : NULL,
                "%.2f ms", (double)facts->latency_us / 1000);
    if (is_crowded)
        doctor_tell(doctor, "Redis clients", FINDING_WARN, "raise maxclients",
                    "%" PRId64 " of %" PRId64, facts->clients, facts->clients_most);
}
