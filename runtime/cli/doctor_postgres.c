/* doctor_postgres.c: the checks of Postgres alone. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/doctor.h"
#include "cli/member.h"

#define VERSION_LEAST 150000
#define SKEW_WARN_US  INT64_C(1000000)
#define SKEW_FAIL_US  INT64_C(3600000000)
/* Of a worker: supervisor and keeper; of each of its runners: starts and finishes. */
#define OF_WORKER 2
#define OF_RUNNER 2

static bool ask(struct doctor *doctor, json_t **facts, int64_t *skew_us, struct err *err);
static void tell_durability(struct doctor *doctor, const json_t *facts);
static void tell_writable(struct doctor *doctor, const json_t *facts);
static void tell_session(struct doctor *doctor, const json_t *facts);
static void tell_connections(struct doctor *doctor, const json_t *facts);
static void tell_schema(struct doctor *doctor, const json_t *facts);
static void tell_version_of_schema(struct doctor *doctor);
static void tell_weeks(struct doctor *doctor);
static void tell_clock(struct doctor *doctor, int64_t skew_us);

static bool is_true(const json_t *facts, const char *key)
{
    return json_is_true(json_object_get(facts, key));
}

void doctor_postgres(struct doctor *doctor)
{
    struct err err;
    json_t *facts = NULL;
    int64_t skew_us = 0;
    char *shown = config_postgres_shown(doctor->app->config);
    doctor->postgres_answers =
        app_open_ledger(doctor->app, &err) && ask(doctor, &facts, &skew_us, &err);
    if (doctor->postgres_answers) {
        bool is_old = member_int(facts, "version_number") < VERSION_LEAST;
        doctor_tell(doctor, "Postgres", is_old ? FINDING_FAIL : FINDING_OK,
                    is_old ? "use 15 or newer" : NULL, "%s answers, version %s, as user %s", shown,
                    member_text(facts, "version"), member_text(facts, "user"));
        tell_durability(doctor, facts);
        tell_writable(doctor, facts);
        tell_session(doctor, facts);
        tell_connections(doctor, facts);
        tell_clock(doctor, skew_us);
        tell_schema(doctor, facts);
    } else {
        doctor_tell(doctor, "Postgres", FINDING_FAIL,
                    "start it, or say by DATABASE_URL where it is; `ctutor-run up` starts one",
                    "%s", err.text);
    }
    json_decref(facts);
    free(shown);
}

static bool ask(struct doctor *doctor, json_t **facts, int64_t *skew_us, struct err *err)
{
    struct await await = { 0 };
    int64_t before_us = clock_wall_us();
    ledger_examine(doctor->app->ledger, await_json, &await);
    bool good = await_run(&doctor->app->loop, &await, err);
    int64_t middle_us = before_us + (clock_wall_us() - before_us) / 2;
    *facts = json_loadb(buf_text(&await.json), await.json.len, 0, NULL);
    *skew_us = member_int(*facts, "now_us") - middle_us;
    await_close(&await);
    return good;
}

static void tell_setting(struct doctor *doctor, const char *name, bool is_on, const char *danger)
{
    char line[64];
    snprintf(line, sizeof line, "%s = on in postgresql.conf", name);
    char title[64];
    snprintf(title, sizeof title, "Postgres %s", name);
    doctor_tell(doctor, title, is_on ? FINDING_OK : FINDING_FAIL, is_on ? NULL : line, "%s%s",
                is_on ? "on" : "off: ", is_on ? "" : danger);
}

static void tell_durability(struct doctor *doctor, const json_t *facts)
{
    bool fsync = is_true(facts, "fsync"), pages = is_true(facts, "full_page_writes");
    const char *ours = member_text(facts, "synchronous_commit");
    const char *theirs = member_text(facts, "synchronous_commit_of_others");
    bool is_sync = strcmp(ours, "off") != 0, others_are = strcmp(theirs, "off") != 0;
    doctor->is_durable = fsync && pages && is_sync;
    tell_setting(doctor, "fsync", fsync, "a crash of the machine may lose or ruin everything");
    tell_setting(doctor, "full_page_writes", pages,
                 "a crash in the middle of a write may ruin tables");
    if (!is_sync)
        doctor_tell(doctor, "Postgres synchronous_commit", FINDING_FAIL,
                    "let us set it: connect directly, or by PgBouncer in session mode",
                    "off, although we asked for on: a crash may lose accepted tasks");
    else
        doctor_tell(doctor, "Postgres synchronous_commit", others_are ? FINDING_OK : FINDING_WARN,
                    others_are ? NULL : "synchronous_commit = on in postgresql.conf",
                    "%s in our connections%s", ours,
                    others_are ? ""
                               : "; off in those of other programs: what they submit by SQL may be "
                                 "lost in a crash");
    const char *unvacuumed = member_text(facts, "unvacuumed");
    bool vacuums = is_true(facts, "autovacuum") && !*unvacuumed;
    doctor_tell(doctor, "Postgres autovacuum", vacuums ? FINDING_OK : FINDING_WARN,
                vacuums ? NULL : "autovacuum = on and track_counts = on in postgresql.conf", "%s%s",
                vacuums ? "on" : "off: tables grow and slow down",
                *unvacuumed ? " (for some of ours)" : "");
}

static void tell_writable(struct doctor *doctor, const json_t *facts)
{
    bool is_standby = is_true(facts, "in_recovery"), is_bound = is_true(facts, "read_only");
    doctor->postgres_writable = !is_standby && !is_bound;
    if (is_standby)
        doctor_tell(doctor, "Postgres role", FINDING_FAIL,
                    "name all hosts in DATABASE_URL: the one that takes writes is found",
                    "a standby: it takes no writes");
    else
        doctor_tell(doctor, "Postgres role", is_bound ? FINDING_FAIL : FINDING_OK,
                    is_bound ? "default_transaction_read_only = off, for role and database too"
                             : NULL,
                    "%s", is_bound ? "read-only" : "primary, takes writes");
}

/* Whatever is between us and the server must leave our session alone. */
static void tell_session(struct doctor *doctor, const json_t *facts)
{
    const char *path = member_text(facts, "search_path");
    const char *namespace = config_text(doctor->app->config, SET_NAMESPACE);
    bool holds = strstr(path, namespace) != NULL;
    doctor_tell(doctor, "Postgres session", holds ? FINDING_OK : FINDING_FAIL,
                holds ? NULL : "connect directly, or by PgBouncer in session mode",
                holds ? "our settings hold (statement_timeout %s)"
                      : "our settings do not hold (statement_timeout %s)",
                member_text(facts, "statement_timeout"));
}

static int64_t less_limit(int64_t most, int64_t limit)
{
    return limit >= 0 && limit < most ? limit : most;
}

static void tell_connections(struct doctor *doctor, const json_t *facts)
{
    int64_t runners = config_int(doctor->app->config, SET_PROCESSES);
    int64_t needed = OF_WORKER + OF_RUNNER * runners;
    int64_t most = member_int(facts, "connections") - member_int(facts, "reserved");
    most = less_limit(most, member_int(facts, "role_limit"));
    most = less_limit(most, member_int(facts, "database_limit"));
    int64_t free = most - member_int(facts, "used");
    bool is_enough = free >= needed;
    doctor_tell(doctor, "Postgres connections",
                is_enough       ? FINDING_OK
                : most < needed ? FINDING_FAIL
                                : FINDING_WARN,
                is_enough ? NULL
                          : "raise max_connections (or the limit of role or database), or start "
                            "workers with fewer --processes",
                "%" PRId64 " of %" PRId64 " free; one more worker with %" PRId64
                " processes needs %" PRId64,
                free, most, runners, needed);
}

static void tell_clock(struct doctor *doctor, int64_t skew_us)
{
    int64_t apart_us = skew_us < 0 ? -skew_us : skew_us;
    doctor_tell(doctor, "clocks",
                apart_us < SKEW_WARN_US   ? FINDING_OK
                : apart_us < SKEW_FAIL_US ? FINDING_WARN
                                          : FINDING_FAIL,
                apart_us < SKEW_WARN_US ? NULL : "run an NTP client on both machines",
                "Postgres' clock is %.3f s %s of ours", (double)apart_us / 1e6,
                skew_us < 0 ? "behind" : "ahead");
}

/* ---- the schema ---- */

static void tell_schema(struct doctor *doctor, const json_t *facts)
{
    const char *namespace = config_text(doctor->app->config, SET_NAMESPACE);
    const char *denied = member_text(facts, "denied");
    if (json_is_null(json_object_get(facts, "schema"))) {
        bool may = is_true(facts, "may_make_schema");
        doctor_tell(doctor, "schema", may ? FINDING_WARN : FINDING_FAIL,
                    may ? "start a worker, or run ctutor-run migrate"
                        : "GRANT CREATE ON DATABASE to this user, then run ctutor-run migrate",
                    "there is no schema %s yet%s", namespace,
                    may ? "" : ", and we may not make it");
        return;
    }
    if (!is_true(facts, "may_use") || *denied) {
        doctor_tell(doctor, "schema rights", FINDING_FAIL,
                    "let the user that migrated run workers too, or GRANT it these rights",
                    "this user may not use schema %s%s%s", namespace, *denied ? ": " : "", denied);
        return;
    }
    bool owns = is_true(facts, "owns") && is_true(facts, "may_create");
    doctor_tell(doctor, "schema rights", owns ? FINDING_OK : FINDING_WARN,
                owns ? NULL : "let workers connect as the owner of the schema",
                "schema %s may be read and written%s", namespace,
                owns ? "" : ", but this user cannot make its partitions");
    tell_version_of_schema(doctor);
}

static void tell_version_of_schema(struct doctor *doctor)
{
    struct err err;
    bool good = app_check_schema(doctor->app, &err);
    doctor->has_schema = good;
    doctor_tell(doctor, "schema version", good ? FINDING_OK : FINDING_FAIL, NULL, "%s",
                good ? "this program's" : err.text);
    if (good) tell_weeks(doctor);
}

static void tell_weeks(struct doctor *doctor)
{
    struct err err;
    struct await await = { 0 };
    ledger_weeks_ahead(doctor->app->ledger, await_done, &await);
    bool good = await_run(&doctor->app->loop, &await, &err);
    if (!good)
        doctor_tell(doctor, "partitions", FINDING_FAIL, NULL, "%s", err.text);
    else
        doctor_tell(doctor, "partitions", await.count > 0 ? FINDING_OK : FINDING_WARN,
                    await.count > 0 ? NULL : "start a worker: its keeper makes them",
                    "made for %" PRId64 " weeks ahead", await.count);
}
