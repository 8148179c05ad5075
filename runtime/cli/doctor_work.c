/* doctor_work.c: what needs both stores: a task of our own from end to end, the workers that live,
 * the queues that nobody serves.
 *
 * Whether a worker lives is seen by its heartbeat, as the keeper sees it: after a machine was
 * switched off the ledger goes on calling its worker alive until another one says otherwise. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/doctor.h"
#include "cli/member.h"
#include "lifecycle/trial.h"

#define WAKE_WAIT_US INT64_C(2000000)
#define LOOK_US      INT64_C(300000)
#define MARGIN_US    INT64_C(2000000)

struct wakes {
    const char *queue;
    bool is_listening, is_woken;
};

static void try_task(struct doctor *doctor);
static void tell_trial(struct doctor *doctor, const struct trial *trial);
static void tell_workers(struct doctor *doctor);
static size_t wait_for_heartbeats(struct doctor *doctor);
static void tell_queues(struct doctor *doctor);
static json_t *ask(struct doctor *doctor,
                   void (*verb)(struct ledger *ledger, ledger_json_fn *done, void *arg));
static void on_wake(void *arg, const char *queue);
static bool is_listening(const struct app *app);
static bool is_woken(const struct app *app);
static bool is_never(const struct app *app);

void doctor_work_begin(struct doctor *doctor)
{
    if (!doctor->has_schema) return;
    doctor->pulses = ask(doctor, ledger_pulse);
    doctor->pulses_us = clock_boot_us();
}

void doctor_work(struct doctor *doctor)
{
    bool is_possible = doctor->has_schema && doctor->postgres_writable && doctor->redis_answers &&
                       doctor->redis_writable;
    if (is_possible)
        try_task(doctor);
    else
        doctor_tell(doctor, "a task from end to end", FINDING_WARN,
                    "mend the other lines first, then run this again", "not tried");
    if (doctor->has_schema) {
        tell_queues(doctor);
        tell_workers(doctor);
    }
    json_decref(doctor->pulses);
    doctor->pulses = NULL;
}

/* ---- a trial ---- */

static void try_task(struct doctor *doctor)
{
    struct err err;
    struct app *app = doctor->app;
    struct trial trial;
    trial_init(&trial);
    struct wakes wakes = { .queue = trial.queue };
    app->news = (struct app_news){ .arg = &wakes, .wake = on_wake };
    broker_listen(app->broker, BROKER_WAKE);
    bool listens = app_wait_until(app, is_listening, WAKE_WAIT_US);
    doctor->trial_went_well = trial_run(&trial, &app->loop, app->ledger, app->broker, &err);
    if (doctor->trial_went_well)
        tell_trial(doctor, &trial);
    else
        doctor_tell(doctor, "a task from end to end", FINDING_FAIL,
                    "the message says what refused it: a right that is missing, or a setting above",
                    "%s", err.text);
    bool wakes_up =
        doctor->trial_went_well && listens && app_wait_until(app, is_woken, WAKE_WAIT_US);
    if (doctor->trial_went_well)
        doctor_tell(doctor, "Redis wake-ups", wakes_up ? FINDING_OK : FINDING_WARN,
                    wakes_up ? NULL : "allow the channels too: ACL SETUSER ... allchannels",
                    wakes_up ? "arrive" : "do not arrive: tasks start up to a second later");
    app->news = (struct app_news){ 0 };
}

static void tell_trial(struct doctor *doctor, const struct trial *trial)
{
    const int64_t *took_us = trial->took_us;
    int64_t total_us = 0;
    for (int i = 0; i < TRIAL_STEPS; i++) total_us += took_us[i];
    doctor_tell(doctor, "a task from end to end", FINDING_OK, NULL,
                "%.1f ms: accepted %.1f, handed out %.1f, started %.1f, finished %.1f",
                (double)total_us / 1000, (double)took_us[TRIAL_ACCEPT] / 1000,
                (double)took_us[TRIAL_DISPATCH] / 1000, (double)took_us[TRIAL_START] / 1000,
                (double)took_us[TRIAL_FINISH] / 1000);
}

static void on_wake(void *arg, const char *queue)
{
    struct wakes *wakes = arg;
    if (!queue)
        wakes->is_listening = true;
    else if (strcmp(queue, wakes->queue) == 0)
        wakes->is_woken = true;
}

static bool is_listening(const struct app *app)
{
    const struct wakes *wakes = app->news.arg;
    return wakes->is_listening;
}

static bool is_woken(const struct app *app)
{
    const struct wakes *wakes = app->news.arg;
    return wakes->is_woken;
}

/* ---- workers and queues ---- */

static void tell_workers(struct doctor *doctor)
{
    json_t *answer = ask(doctor, ledger_workers);
    size_t count = json_array_size(json_object_get(answer, "workers"));
    size_t beating = count ? wait_for_heartbeats(doctor) : 0;
    doctor->has_live_worker = beating > 0;
    if (count == 0)
        doctor_tell(doctor, "workers", FINDING_WARN, "start one: ctutor-run worker start",
                    "none lives");
    else if (beating == 0)
        doctor_tell(doctor, "workers", FINDING_WARN,
                    "start one: ctutor-run worker start; its keeper takes over what they ran",
                    "%zu count as alive, but no heartbeat moves", count);
    else
        doctor_tell(doctor, "workers", FINDING_OK, NULL, "%zu alive, heartbeats move", count);
    json_decref(answer);
}

/* How many have moved, once one has or could have. */
static size_t wait_for_heartbeats(struct doctor *doctor)
{
    int64_t lease_us = config_duration_us(doctor->app->config, SET_LEASE);
    int64_t until_us = doctor->pulses_us + lease_us / 5 + MARGIN_US;
    for (;;) {
        json_t *now = ask(doctor, ledger_pulse), *one, *other;
        size_t moved = 0, i, k;
        json_array_foreach(now, i, one)
        {
            json_array_foreach(doctor->pulses, k, other)
            {
                moved += strcmp(member_text(one, "incarnation"),
                                member_text(other, "incarnation")) == 0 &&
                         member_int(one, "heartbeat") != member_int(other, "heartbeat");
            }
        }
        json_decref(now);
        if (moved > 0 || clock_boot_us() >= until_us) return moved;
        (void)app_wait_until(doctor->app, is_never, LOOK_US);
    }
}

static bool is_never(const struct app *app)
{
    (void)app;
    return false;
}

static void tell_queues(struct doctor *doctor)
{
    json_t *answer = ask(doctor, ledger_queues), *queue;
    size_t index, silent = 0;
    json_array_foreach(json_object_get(answer, "queues"), index, queue)
    {
        int64_t waiting = member_int(queue, "waiting") + member_int(queue, "delayed");
        const char *name = member_text(queue, "name");
        if (waiting == 0) continue;
        if (json_is_true(json_object_get(queue, "paused"))) {
            silent++;
            doctor_tell(doctor, "queues", FINDING_WARN, "ctutor-run queues resume QUEUE",
                        "%s is paused, %" PRId64 " tasks wait in it", name, waiting);
        } else if (member_int(queue, "workers") == 0) {
            silent++;
            doctor_tell(doctor, "queues", FINDING_WARN,
                        "name it in CTUTOR_QUEUES or --queues of a worker",
                        "nobody serves %s, %" PRId64 " tasks wait in it", name, waiting);
        }
    }
    if (!silent) doctor_tell(doctor, "queues", FINDING_OK, NULL, "all with tasks are served");
    json_decref(answer);
}

/* NULL when it does not answer. */
static json_t *ask(struct doctor *doctor,
                   void (*verb)(struct ledger *ledger, ledger_json_fn *done, void *arg))
{
    struct await await = { 0 };
    verb(doctor->app->ledger, await_json, &await);
    json_t *answer = NULL;
    if (await_run(&doctor->app->loop, &await, NULL))
        answer = json_loadb(buf_text(&await.json), await.json.len, 0, NULL);
    await_close(&await);
    return answer;
}
