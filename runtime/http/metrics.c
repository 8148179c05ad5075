/* metrics.c: /metrics in the text format of Prometheus (0.0.4), and the points of charts.
 *
 * Everything comes from the ledger, so every server shows the same and a restart forgets nothing;
 * only ctutor_store_up is this server's own view. Without Postgres nobody is let in. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "http/api.h"
#include "http/selection.h"

#define QUEUES_MAX   1000 /* the rest is one series: "*" */
#define SINCE_MAX_US (8 * INT64_C(86400000000))
#define MINUTE_US    INT64_C(60000000)
#define POINTS       300 /* about so many to a chart */

static void on_metrics(void *arg, const char *json, size_t len, const struct err *err);
static void add_stores(struct buf *out, const struct api *api, bool has_postgres);
static void add_totals(struct buf *out, const json_t *totals);
static void add_finished(struct buf *out, const json_t *totals);
static void add_failures(struct buf *out, const json_t *totals);
static void add_histograms(struct buf *out, const json_t *totals, const char *name,
                           const char *help, const char *buckets, const char *sum);
static void add_queues(struct buf *out, const json_t *queues);
static void add_statuses(struct buf *out, const json_t *statuses);
static void add_workers(struct buf *out, const json_t *workers);
static void family(struct buf *out, const char *name, const char *type, const char *help);
static void sample(struct buf *out, const char *name, const char *const *labels, double value);
static double number_of(const json_t *object, const char *key);
static const char *text_of(const json_t *object, const char *key);

#define LABELS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* ---- /api/stats ---- */

void handle_stats(struct exchange *exchange)
{
    const char *text = http_query(exchange->request, "since");
    int64_t since_us = 60 * MINUTE_US;
    struct err err;
    if (text && !duration_parse(text, &since_us, &err)) {
        answer_field(exchange, "since", "%s", err.text);
    } else if (since_us < MINUTE_US || since_us > SINCE_MAX_US) {
        answer_field(exchange, "since", "must be 1m to 8d");
    } else {
        int64_t step_us = (since_us / POINTS + MINUTE_US - 1) / MINUTE_US * MINUTE_US;
        ledger_figures(exchange->api->lists, since_us, step_us > 0 ? step_us : MINUTE_US,
                       http_query(exchange->request, "name"),
                       http_query(exchange->request, "queue"), answer_from_ledger, exchange);
    }
}

/* ---- /metrics ---- */

void handle_metrics(struct exchange *exchange)
{
    ledger_metrics(exchange->api->lists, on_metrics, exchange);
}

static void on_metrics(void *arg, const char *json, size_t len, const struct err *err)
{
    struct exchange *exchange = arg;
    struct buf out = BUF_EMPTY;
    json_t *all = err ? NULL : params_load(json, len);
    add_stores(&out, exchange->api, !err);
    if (all) {
        const json_t *totals = json_object_get(all, "totals");
        add_totals(&out, totals);
        add_finished(&out, totals);
        add_failures(&out, totals);
        add_histograms(&out, totals, "ctutor_task_run_seconds",
                       "How long runs took, also those that failed.", "runs", "run_seconds");
        add_histograms(&out, totals, "ctutor_task_wait_seconds",
                       "From being due to the start, counted when the run has ended.", "waits",
                       "wait_seconds");
        add_statuses(&out, json_object_get(all, "status"));
        add_queues(&out, json_object_get(all, "queues"));
        add_workers(&out, json_object_get(all, "workers"));
        family(&out, "ctutor_fenced_total", "counter",
               "Ends of runs that came too late and changed nothing.");
        sample(&out, "ctutor_fenced_total", NULL, number_of(all, "fenced"));
        family(&out, "ctutor_figures_age_seconds", "gauge",
               "How far back figures are not booked yet.");
        sample(&out, "ctutor_figures_age_seconds", NULL, number_of(all, "rollup_age"));
    }
    json_decref(all);
    answer_bytes(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", &out);
}

static void add_stores(struct buf *out, const struct api *api, bool has_postgres)
{
    family(out, "ctutor_store_up", "gauge", "Whether this server reaches the store.");
    sample(out, "ctutor_store_up", LABELS("store", "redis"), broker_is_up(api->broker));
    sample(out, "ctutor_store_up", LABELS("store", "postgres"), has_postgres);
}

/* ---- counted for ever ---- */

static void add_totals(struct buf *out, const json_t *totals)
{
    size_t index;
    const json_t *total;
    family(out, "ctutor_tasks_submitted_total", "counter", "Tasks accepted.");
    json_array_foreach((json_t *)(uintptr_t)totals, index, total)
        sample(out, "ctutor_tasks_submitted_total",
               LABELS("task", text_of(total, "task"), "queue", text_of(total, "queue")),
               number_of(total, "submitted"));
}

static void add_finished(struct buf *out, const json_t *totals)
{
    static const char *const ends[][2] = { { "SUCCESS", "succeeded" },
                                           { "FAILURE", "failed" },
                                           { "REVOKED", "revoked" } };
    size_t index;
    const json_t *total;
    family(out, "ctutor_tasks_finished_total", "counter", "Tasks that became final.");
    json_array_foreach((json_t *)(uintptr_t)totals, index, total)
    {
        for (size_t i = 0; i < 3; i++)
            sample(out, "ctutor_tasks_finished_total",
                   LABELS("task", text_of(total, "task"), "queue", text_of(total, "queue"),
                          "status", ends[i][0]),
                   number_of(total, ends[i][1]));
    }
}

/* Rows come by task, then queue: one task's lie together. `last`: the row behind is another's. */
static bool is_last_of_task(const json_t *totals, size_t index)
{
    const json_t *next = json_array_get(totals, index + 1);
    return !next ||
           strcmp(text_of(next, "task"), text_of(json_array_get(totals, index), "task")) != 0;
}

static void add_counts(double *sums, const json_t *counts)
{
    for (size_t i = 0; i < FIGURE_BUCKETS; i++)
        sums[i] += (double)json_integer_value(json_array_get(counts, i));
}

static void add_failures(struct buf *out, const json_t *totals)
{
    static const char kinds[] = FAILURE_KINDS;
    double sums[FIGURE_BUCKETS] = { 0 }, losses = 0;
    size_t index;
    const json_t *total;
    family(out, "ctutor_attempts_failed_total", "counter", "Runs that failed, by kind of error.");
    json_array_foreach((json_t *)(uintptr_t)totals, index, total)
    {
        add_counts(sums, json_object_get(total, "kinds"));
        if (!is_last_of_task(totals, index)) continue;
        const char *kind = kinds;
        for (size_t i = 0; *kind; i++) {
            char word[32];
            size_t len = strcspn(kind, ",");
            snprintf(word, sizeof word, "%.*s", (int)len, kind);
            kind += len + (kind[len] == ',');
            if (strcmp(word, "worker_lost") == 0) losses += sums[i];
            if (sums[i] > 0)
                sample(out, "ctutor_attempts_failed_total",
                       LABELS("task", text_of(total, "task"), "kind", word), sums[i]);
        }
        memset(sums, 0, sizeof sums);
    }
    family(out, "ctutor_losses_total", "counter", "Runs whose process died.");
    sample(out, "ctutor_losses_total", NULL, losses);
}

static void add_histogram(struct buf *out, const char *name, const char *task, const double *counts,
                          double sum)
{
    static const char bounds[] = FIGURE_BOUNDS;
    const char *bound = bounds;
    char part[64], word[16];
    double so_far = 0;
    snprintf(part, sizeof part, "%s_bucket", name);
    for (size_t i = 0; i < FIGURE_BUCKETS - 1; i++) {
        size_t len = strcspn(bound, ",");
        snprintf(word, sizeof word, "%.*s", (int)len, bound);
        bound += len + (bound[len] == ',');
        so_far += counts[i];
        sample(out, part, LABELS("task", task, "le", word), so_far);
    }
    so_far += counts[FIGURE_BUCKETS - 1];
    sample(out, part, LABELS("task", task, "le", "+Inf"), so_far);
    snprintf(part, sizeof part, "%s_sum", name);
    sample(out, part, LABELS("task", task), sum);
    snprintf(part, sizeof part, "%s_count", name);
    sample(out, part, LABELS("task", task), so_far);
}

static void add_histograms(struct buf *out, const json_t *totals, const char *name,
                           const char *help, const char *buckets, const char *sum)
{
    double counts[FIGURE_BUCKETS] = { 0 }, seconds = 0;
    size_t index;
    const json_t *total;
    family(out, name, "histogram", help);
    json_array_foreach((json_t *)(uintptr_t)totals, index, total)
    {
        add_counts(counts, json_object_get(total, buckets));
        seconds += number_of(total, sum);
        if (!is_last_of_task(totals, index)) continue;
        add_histogram(out, name, text_of(total, "task"), counts, seconds);
        memset(counts, 0, sizeof counts);
        seconds = 0;
    }
}

/* ---- as it stands ---- */

static void add_statuses(struct buf *out, const json_t *statuses)
{
    const char *status;
    json_t *count;
    family(out, "ctutor_tasks", "gauge", "Tasks that are not final, by status.");
    json_object_foreach((json_t *)(uintptr_t)statuses, status, count)
        sample(out, "ctutor_tasks", LABELS("status", status), json_number_value(count));
}

static void add_of_queues(struct buf *out, const json_t *queues, const char *name, const char *key,
                          bool is_sum)
{
    double rest = 0;
    size_t index;
    const json_t *queue;
    json_array_foreach((json_t *)(uintptr_t)queues, index, queue)
    {
        double value = number_of(queue, key);
        if (index < QUEUES_MAX)
            sample(out, name, LABELS("queue", text_of(queue, "name")), value);
        else
            rest = is_sum ? rest + value : fmax(rest, value);
    }
    if (index > QUEUES_MAX) sample(out, name, LABELS("queue", "*"), rest);
}

static void add_queues(struct buf *out, const json_t *queues)
{
    static const struct {
        const char *name, *key, *help;
        bool is_sum;
    } gauges[] = {
        { "ctutor_queue_waiting", "waiting", "Tasks that are due and not started.", true },
        { "ctutor_queue_delayed", "delayed", "Tasks that are not due yet.", true },
        { "ctutor_queue_oldest_age_seconds", "oldest_age",
          "How long the oldest of them has been due.", false },
        { "ctutor_queue_paused", "paused", "1: nothing is started from it.", false },
        { "ctutor_queue_workers", "workers", "Living workers that take from it.", false },
    };
    for (size_t i = 0; i < sizeof gauges / sizeof *gauges; i++) {
        family(out, gauges[i].name, "gauge", gauges[i].help);
        add_of_queues(out, queues, gauges[i].name, gauges[i].key, gauges[i].is_sum);
    }
}

static void add_gauge(struct buf *out, const char *name, const char *help, double value)
{
    family(out, name, "gauge", help);
    sample(out, name, NULL, value);
}

static void add_workers(struct buf *out, const json_t *workers)
{
    double slots = number_of(workers, "slots"), busy = number_of(workers, "running");
    add_gauge(out, "ctutor_workers", "Living workers.", number_of(workers, "workers"));
    add_gauge(out, "ctutor_runners", "Their processes that run tasks.",
              number_of(workers, "runners"));
    family(out, "ctutor_slots", "gauge", "Places for runs.");
    sample(out, "ctutor_slots", LABELS("state", "busy"), busy);
    sample(out, "ctutor_slots", LABELS("state", "free"), fmax(slots - busy, 0));
    add_gauge(out, "ctutor_loop_lag_seconds", "How late the latest event loop of a worker is.",
              number_of(workers, "loop_lag"));
    add_gauge(out, "ctutor_last_claim_ok_age_seconds",
              "Since a claim was answered that a worker wanted; the worst of all.",
              number_of(workers, "last_claim_ok_age"));
    add_gauge(out, "ctutor_reload_errors", "Task files that did not load, the worst worker's.",
              number_of(workers, "reload_errors"));
    add_gauge(out, "ctutor_memory_bytes", "Memory of all runners.", number_of(workers, "memory"));
    add_gauge(out, "ctutor_children", "Processes that running tasks have started.",
              number_of(workers, "children"));
    family(out, "ctutor_batch_size", "gauge", "Tasks to a round trip lately, mean of all runners.");
    sample(out, "ctutor_batch_size", LABELS("step", "claim"), number_of(workers, "claim_batch"));
    sample(out, "ctutor_batch_size", LABELS("step", "start"), number_of(workers, "start_batch"));
    sample(out, "ctutor_batch_size", LABELS("step", "finish"), number_of(workers, "finish_batch"));
    family(out, "ctutor_store_trip_seconds", "gauge",
           "A worker's round trip to the store lately: a claim, a start; the worst of all.");
    sample(out, "ctutor_store_trip_seconds", LABELS("store", "redis"),
           number_of(workers, "redis_trip"));
    sample(out, "ctutor_store_trip_seconds", LABELS("store", "postgres"),
           number_of(workers, "postgres_trip"));
}

/* ---- the format ---- */

static void family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_label(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '\\' || *value == '"') buf_add_char(out, '\\');
        if (*value == '\n')
            buf_add_text(out, "\\n");
        else
            buf_add_char(out, *value);
    }
    buf_add_char(out, '"');
}

/* labels: name, value, ..., NULL; or NULL */
static void sample(struct buf *out, const char *name, const char *const *labels, double value)
{
    buf_add_text(out, name);
    for (size_t i = 0; labels && labels[i]; i += 2) {
        buf_add_char(out, i ? ',' : '{');
        add_label(out, labels[i], labels[i + 1]);
    }
    buf_addf(out, "%s %.15g\n", labels ? "}" : "", value);
}

static double number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}
