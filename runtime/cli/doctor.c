/* doctor.c: `doctor`: is this installation set up so that its promises hold? The checks are in
 * doctor_*.c; here is what they come to. */
#include "cli/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"

static int run(struct app *app, const struct cli_args *args);
static void judge(struct doctor *doctor);
static void add_finding(json_t *into, const char *name, enum finding state, const char *remedy,
                        const char *message);
static void print_json(const struct doctor *doctor, double seconds);
static void print_findings(const struct app *app, const json_t *findings, struct buf *out);

static const char *const state_words[] = { "ok", "warn", "fail" };
static const char *const state_colours[] = { "32", "33", "31" };

static const struct cli_option options[] = { { 0 } };

const struct command command_doctor = {
    .name = "doctor",
    .usage = "",
    .summary = "is this installation set up right, and what does it guarantee?",
    .details =
        "Looks at Redis, Postgres, the task files, the sandbox and the workers, sends a task of "
        "its\n"
        "own through both stores and removes it again, and says which guarantees hold. Each line\n"
        "is ok, warn or fail, with what to change. Secrets are not shown.\n"
        "Exit status 0 if nothing failed, 1 if something did, 3 if a store does not answer.\n\n"
        "Examples:\n"
        "  ctutor-run doctor\n"
        "  ctutor-run doctor --json\n",
    .options = options,
    .run = run,
};

static int run(struct app *app, const struct cli_args *args)
{
    struct err err;
    struct doctor doctor = { .app = app };
    int64_t began_us = clock_boot_us();
    if (!cli_expect_words(&command_doctor, args, 0, 0, &err) || !app_use_stores(app, &err))
        return app_fail(app, &err);
    doctor.checks = json_array();
    doctor.guarantees = json_array();
    doctor_redis(&doctor);
    doctor_postgres(&doctor);
    doctor_work_begin(&doctor);
    doctor_machine(&doctor);
    doctor_work(&doctor);
    judge(&doctor);
    if (app->json) {
        print_json(&doctor, (double)(clock_boot_us() - began_us) / 1e6);
    } else {
        struct buf out = BUF_EMPTY;
        print_findings(app, doctor.checks, &out);
        buf_add_text(&out, "\nGuarantees\n");
        print_findings(app, doctor.guarantees, &out);
        output_text(&out);
        buf_close(&out);
    }
    json_decref(doctor.checks);
    json_decref(doctor.guarantees);
    if (!doctor.redis_answers || !doctor.postgres_answers) return err_exit_status(ERR_STORE);
    return doctor.has_failed ? 1 : 0;
}

/* ---- what it comes to ---- */

static void judge(struct doctor *doctor)
{
    bool is_kept = doctor->postgres_answers && doctor->is_durable;
    bool is_run = doctor->trial_went_well;
    doctor_promise(doctor, "an accepted task survives a crash of Postgres and its machine",
                   is_kept ? FINDING_OK : FINDING_FAIL,
                   is_kept ? NULL : "mend the lines on Postgres above", "");
    bool is_independent = doctor->postgres_answers && doctor->postgres_writable;
    doctor_promise(doctor, "no task is lost with Redis, and none is started twice for that",
                   is_independent ? FINDING_OK : FINDING_FAIL,
                   is_independent ? NULL : "mend the lines on Postgres above", "");
    doctor_promise(doctor, "a waiting task never falls out of Redis",
                   !doctor->redis_answers || doctor->redis_evicts ? FINDING_FAIL : FINDING_OK,
                   doctor->redis_evicts ? "CONFIG SET maxmemory-policy noeviction" : NULL,
                   doctor->redis_keeps ? "" : "but all must be pushed again when Redis restarts");
    doctor_promise(doctor, "a task that is submitted can run", is_run ? FINDING_OK : FINDING_FAIL,
                   is_run ? NULL : "mend the lines that failed above", "");
    doctor_promise(doctor, "waiting tasks are started, and the dead are noticed",
                   doctor->has_live_worker ? FINDING_OK : FINDING_WARN,
                   doctor->has_live_worker ? NULL : "start a worker: ctutor-run worker start",
                   doctor->has_live_worker ? "" : "no worker lives");
}

void doctor_tell(struct doctor *doctor, const char *name, enum finding state, const char *remedy,
                 const char *fmt, ...)
{
    va_list args;
    char *message = NULL;
    va_start(args, fmt);
    if (vasprintf(&message, fmt, args) < 0) abort(); /* no memory */
    va_end(args);
    add_finding(doctor->checks, name, state, remedy, message);
    doctor->has_failed = doctor->has_failed || state == FINDING_FAIL;
    free(message);
}

void doctor_promise(struct doctor *doctor, const char *name, enum finding state, const char *remedy,
                    const char *message)
{
    add_finding(doctor->guarantees, name, state, remedy, message);
    doctor->has_failed = doctor->has_failed || state == FINDING_FAIL;
}

static void add_finding(json_t *into, const char *name, enum finding state, const char *remedy,
                        const char *message)
{
    struct buf clean = BUF_EMPTY;
    output_add_clean(&clean, message, strlen(message), false);
    json_array_append_new(into, json_pack("{ssssssso?}", "name", name, "state", state_words[state],
                                          "message", buf_text(&clean), "remedy",
                                          remedy ? json_string(remedy) : NULL));
    buf_close(&clean);
}

/* ---- output ---- */

static void print_json(const struct doctor *doctor, double seconds)
{
    json_t *root = json_pack("{sbsOsOsf}", "ok", !doctor->has_failed, "checks", doctor->checks,
                             "guarantees", doctor->guarantees, "seconds", seconds);
    char *text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(6));
    output_stream_line(text, strlen(text));
    free(text);
    json_decref(root);
}

static const char *colour_of(const char *word)
{
    for (size_t i = 0; i < COUNT_OF(state_words); i++)
        if (strcmp(state_words[i], word) == 0) return state_colours[i];
    return "0";
}

static void print_findings(const struct app *app, const json_t *findings, struct buf *out)
{
    size_t index;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)findings, index, item)
    {
        const char *state = member_text(item, "state");
        const char *message = member_text(item, "message"), *remedy = member_text(item, "remedy");
        if (app->colour)
            buf_addf(out, "\033[%sm%-5s\033[0m", colour_of(state), state);
        else
            buf_addf(out, "%-5s", state);
        buf_addf(out, "%s%s%s\n", member_text(item, "name"), *message ? ": " : "", message);
        if (*remedy) buf_addf(out, "     -> %s\n", remedy);
    }
}
