/* pg.c: the life of the connection (states in pg_private.h).
 *
 * Every way out of a connection is pg_lose: it ends what was sent, tells the owner and arms the
 * back-off. What waits stays. The poll handle is closed before PQfinish, for the kernel gives the
 * descriptor's number away at once. */
#include "io/pg.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/pg_private.h"

#define BACKOFF_MIN_US       INT64_C(50000)
#define BACKOFF_MAX_US       INT64_C(2000000)
#define LASTED_US            INT64_C(2000000) /* a connection that lived so long starts anew */
#define SILENCE_US           INT64_C(5000000)
#define PROBE_US             INT64_C(5000000)
#define STATEMENT_TIMEOUT_US INT64_C(30000000)

static void on_state_timer(struct timer *timer);
static void on_deadline(struct timer *timer);
static void on_work(struct defer *work);
static void on_timer_closed(struct timer *timer);
static void on_socket(uv_poll_t *handle, int status, int events);
static void disconnect(struct pg *pg);
static char *copy(const char *text);

struct pg *pg_new(struct loop *loop, const struct pg_options *options, const struct pg_hooks *hooks)
{
    struct pg *pg = xcalloc(1, sizeof *pg);
    pg->loop = loop;
    if (hooks) pg->hooks = *hooks;
    pg->namespace = copy(options->namespace);
    pg->application = copy(options->application);
    pg->index_plan = options->index_plan;
    pg->statement_timeout_us =
        options->statement_timeout_us > 0 ? options->statement_timeout_us : STATEMENT_TIMEOUT_US;
    pg->prepared = map_new();
    pg->next_deadline_us = INT64_MAX;
    list_init(&pg->waiting);
    list_init(&pg->sent);
    list_init(&pg->ended);
    loop_defer_init(&pg->work, on_work);
    timer_init(loop, &pg->state_timer, on_state_timer);
    timer_init(loop, &pg->deadline_timer, on_deadline);
    timer_be_patient(&pg->deadline_timer);
    pg->state_timer.handle.data = pg->deadline_timer.handle.data = pg;
    pg->users = 2;
    pg_address_init(pg, options->conninfo);
    timer_start(&pg->state_timer, 0);
    return pg;
}

/* Completions may ask for more; that ends in the same way. */
void pg_free(struct pg *pg)
{
    struct err err;
    err_set(&err, ERR_CANCELLED, "the Postgres connection was closed");
    if (pg->state == PG_RESOLVING) uv_cancel((uv_req_t *)&pg->lookup);
    pg_become(pg, PG_CLOSED);
    disconnect(pg);
    pg_jobs_end(pg, &pg->sent, &err, true);
    do {
        pg_jobs_end(pg, &pg->waiting, &err, false);
        pg_complete(pg);
    } while (!list_is_empty(&pg->waiting));
    loop_defer_cancel(&pg->work);
    timer_close(&pg->state_timer, on_timer_closed);
    timer_close(&pg->deadline_timer, on_timer_closed);
}

static void on_timer_closed(struct timer *timer) { pg_release(timer->handle.data); }

void pg_release(struct pg *pg)
{
    if (--pg->users > 0) return;
    pg_address_close(pg);
    map_free(pg->prepared);
    for (size_t i = 0; i < pg->channel_count; i++) free(pg->channels[i]);
    free(pg->channels);
    free(pg->namespace);
    free(pg->application);
    free(pg);
}

bool pg_is_up(const struct pg *pg) { return pg->state == PG_UP; }

size_t pg_in_flight(const struct pg *pg) { return pg->open_jobs; }

void pg_listen(struct pg *pg, const char *channel)
{
    for (size_t i = 0; i < pg->channel_count; i++) {
        if (!strcmp(pg->channels[i], channel)) return;
    }
    pg->channels = xrealloc(pg->channels, (pg->channel_count + 1) * sizeof *pg->channels);
    pg->channels[pg->channel_count++] = xstrdup(channel);
    if (pg->state == PG_SETTING_UP || pg->state == PG_UP)
        pg_job_queue(pg, pg_job_new(PG_JOB_PLAIN, pg_listen_sql(pg, channel), 0));
}

void pg_become(struct pg *pg, enum pg_state state)
{
    static const char *const names[] = { "down",       "resolving", "connecting",
                                         "setting up", "up",        "closed" };
    log_debug("postgres connection: %s -> %s", names[pg->state], names[state]);
    pg->state = state;
}

static const char *user(const struct pg *pg)
{
    return pg->application ? pg->application : "ctutor-run";
}

static int64_t backoff_us(const struct pg *pg)
{
    int64_t limit = BACKOFF_MIN_US;
    for (unsigned i = 1; i < pg->failures && limit < BACKOFF_MAX_US; i++) limit *= 2;
    if (limit > BACKOFF_MAX_US) limit = BACKOFF_MAX_US;
    struct ident random = ident_random();
    return limit / 2 + limit / 2 * random.bytes[0] / 255;
}

void pg_lose(struct pg *pg, const struct err *why)
{
    bool lasted = pg->state == PG_UP && clock_boot_us() - pg->up_since_us > LASTED_US;
    pg->failures = lasted ? 1 : pg->failures + 1;
    pg->why = *why;
    if (!pg->has_complained) log_warn("%s; trying again (%s)", why->text, user(pg));
    pg->has_complained = true;
    pg_become(pg, PG_DOWN);
    disconnect(pg);
    timer_start(&pg->state_timer, backoff_us(pg));
    pg_jobs_end(pg, &pg->sent, &pg->why, true);
    if (pg->hooks.lost) pg->hooks.lost(pg->hooks.arg, &pg->why);
    pg_complete(pg);
}

void pg_set_up(struct pg *pg)
{
    pg_become(pg, PG_SETTING_UP); /* under the handshake's deadline */
    PQsetnonblocking(pg->conn, 1);
    pg_watch(pg, UV_READABLE, on_socket);
    pg_script_start(pg, pg_job_new(PG_JOB_SCRIPT, pg_setup_sql(pg), 0));
}

void pg_ready(struct pg *pg)
{
    pg_become(pg, PG_UP);
    pg->up_since_us = pg->heard_us = clock_boot_us();
    timer_start(&pg->state_timer, pg->has_complained ? LASTED_US : SILENCE_US);
    if (pg->hooks.connected) pg->hooks.connected(pg->hooks.arg);
    pg_jobs_send(pg);
}

static void on_poll_closed(uv_handle_t *handle) { free(handle); }

/* Without a handle nothing comes, and the deadlines find that out. */
void pg_watch(struct pg *pg, int events, uv_poll_cb on_event)
{
    if (pg->poll) uv_close((uv_handle_t *)pg->poll, on_poll_closed);
    pg->poll = NULL;
    pg->is_writing = false;
    if (events == 0) return;
    uv_poll_t *poll = xcalloc(1, sizeof *poll);
    if (uv_poll_init(&pg->loop->uv, poll, PQsocket(pg->conn)) != 0) {
        free(poll);
        return;
    }
    poll->data = pg;
    pg->poll = poll;
    uv_poll_start(poll, events, on_event);
}

void pg_flush(struct pg *pg)
{
    int rest = PQflush(pg->conn);
    if (rest < 0) {
        struct err err;
        pg_error_of_connection(pg->conn, &err);
        pg_lose(pg, &err);
    } else if (pg->poll && pg->is_writing != (rest > 0)) {
        pg->is_writing = rest > 0;
        uv_poll_start(pg->poll, UV_READABLE | (rest > 0 ? UV_WRITABLE : 0), on_socket);
    }
}

static void take_notifications(struct pg *pg)
{
    PGnotify *note;
    while (pg->conn && (note = PQnotifies(pg->conn))) {
        if (pg->hooks.notified) pg->hooks.notified(pg->hooks.arg, note->relname, note->extra);
        PQfreemem(note);
    }
}

/* Answers that came before the end of the connection still count. libuv stops a handle that gets a
 * status below zero, so this must be the end too. */
static void on_socket(uv_poll_t *handle, int status, int events)
{
    struct pg *pg = handle->data;
    struct err err;
    if (events & UV_READABLE) pg->heard_us = clock_boot_us();
    bool is_alive = PQconsumeInput(pg->conn) && status == 0;
    pg_jobs_read(pg);
    take_notifications(pg);
    if (!pg->conn) return;
    if (!is_alive || PQstatus(pg->conn) == CONNECTION_BAD) {
        pg_error_of_connection(pg->conn, &err);
        pg_lose(pg, &err);
    } else if (pg->doomed && list_is_empty(&pg->sent)) {
        err = pg->why;
        pg_lose(pg, &err);
    } else if (pg->state == PG_UP) {
        pg_jobs_send(pg);
    } else {
        pg_flush(pg);
    }
}

static void on_work(struct defer *work)
{
    struct pg *pg = container_of(work, struct pg, work);
    pg_complete(pg);
    if (pg->state == PG_UP) pg_jobs_send(pg);
}

/* While something is in flight its deadline watches, and a probe would wait behind it. */
static void watch_silence(struct pg *pg)
{
    int64_t silent_us = clock_boot_us() - pg->heard_us;
    bool is_silent = silent_us >= SILENCE_US;
    if (pg->has_complained) log_info("Postgres is reachable again (%s)", user(pg));
    pg->has_complained = false;
    if (is_silent && list_is_empty(&pg->sent))
        pg_job_queue(pg, pg_job_new(PG_JOB_PLAIN, xstrdup(""), PROBE_US));
    timer_start(&pg->state_timer, is_silent ? SILENCE_US : SILENCE_US - silent_us);
}

static void on_state_timer(struct timer *timer)
{
    struct pg *pg = container_of(timer, struct pg, state_timer);
    struct err err;
    switch (pg->state) {
    case PG_DOWN: pg_connect(pg); return;
    case PG_CONNECTING:
    case PG_SETTING_UP:
        err_set(&err, ERR_STORE, "Postgres did not answer while connecting");
        pg->first_host++;
        pg_lose(pg, &err);
        return;
    case PG_UP: watch_silence(pg); return;
    case PG_RESOLVING:
    case PG_CLOSED: return;
    }
}

void pg_watch_deadline(struct pg *pg, int64_t deadline_us)
{
    if (deadline_us >= pg->next_deadline_us || pg->state == PG_CLOSED) return;
    pg->next_deadline_us = deadline_us;
    timer_start(&pg->deadline_timer, deadline_us - clock_boot_us());
}

/* Never sent: the outcome is known. */
static void end_late_waiting(struct pg *pg, struct pg_job *job)
{
    struct err err;
    if (pg->state == PG_UP)
        err_set(&err, ERR_STORE, "%s: not sent within its deadline", pg_job_name(job));
    else
        err_set(&err, ERR_STORE, "%s: Postgres cannot be reached: %s", pg_job_name(job),
                pg->why.text[0] ? pg->why.text : "no connection yet");
    pg_job_end(pg, job, &err, false);
}

static void on_deadline(struct timer *timer)
{
    struct pg *pg = container_of(timer, struct pg, deadline_timer);
    const struct pg_job *late = NULL;
    int64_t now_us = clock_boot_us();
    pg->next_deadline_us = INT64_MAX;
    LIST_EACH (node, &pg->waiting) {
        struct pg_job *job = container_of(node, struct pg_job, node);
        if (job->deadline_us <= now_us)
            end_late_waiting(pg, job);
        else
            pg_watch_deadline(pg, job->deadline_us);
    }
    LIST_EACH (node, &pg->sent) {
        const struct pg_job *job = container_of(node, struct pg_job, node);
        if (job->deadline_us <= now_us && !late) late = job;
        if (job->deadline_us > now_us) pg_watch_deadline(pg, job->deadline_us);
    }
    if (late) {
        struct err err;
        err_set(&err, ERR_STORE, "%s: Postgres did not answer in time", pg_job_name(late));
        pg_lose(pg, &err);
    } else {
        pg_complete(pg);
    }
}

/* A new connection knows none of our prepared statements. */
static void disconnect(struct pg *pg)
{
    pg_watch(pg, 0, NULL);
    PQfinish(pg->conn);
    pg->conn = NULL;
    pg->doomed = false;
    map_free(pg->prepared);
    pg->prepared = map_new();
}

static char *copy(const char *text) { return text ? xstrdup(text) : NULL; }
