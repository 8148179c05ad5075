/* wait.c: see wait.h. What is told, once and in which form: wait_tell.h.
 *
 *   look -> source_info -> on_info [-> source_logs -> on_logs ...] -> look_end -> news
 *   on_event: status and progress are told at once; a final status and log lines only cause a look,
 *   since the ledger has the logs in order and nothing may come after the final status. So does
 *   progress of which the start is not told yet: that was said before anybody listened. */
#include "cli/wait.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/member.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/source.h"
#include "cli/wait_tell.h"

#define LOOK_FIRST_US INT64_C(20000)
#define LOOK_MOST_US  INT64_C(1000000)
#define LOOK_LOGS_US  INT64_C(100000)   /* between two looks that log lines cause */
#define SILENCE_US    INT64_C(60000000) /* of Postgres, then the wait is given up */
#define ANSWER_US     INT64_C(5000000)  /* that the last look may take, behind the deadline */
#define LOGS_AT_ONCE  1000

struct wait {
    struct app *app;
    const struct wait_options *options;
    struct ident id;
    struct timer tick;
    uv_signal_t interrupt;
    int handles_open;

    bool looking, ended, is_interrupted;
    bool is_over;                               /* only the look that goes on still knows it */
    int64_t look_at_us, looked_at_us, pause_us; /* boot time */
    int64_t last_answer_us;
    int64_t deadline_us, asked_us; /* asked_us: when the look began that was answered last */
    json_t *info;                  /* of the look that goes on */
    unsigned events, events_then;  /* now, and when that look began */
    int64_t log_seq;
    struct err err;

    struct telling telling;
    json_t *early; /* the last progress event that came before the first look was answered */
};

static struct wait *wait_open(struct app *app, const struct ident *id,
                              const struct wait_options *options);
static bool conclude(const struct wait *wait, struct err *err);
static void wait_close(struct wait *wait);
static void wait_free(struct wait *wait);
static bool goes_on(const struct wait *wait);
static void on_event(void *arg, const char *line, size_t len);
static void on_interrupt(uv_signal_t *handle, int number);
static void on_tick(struct timer *timer);
static void look(struct wait *wait);
static void look_end(struct wait *wait);
static bool tell_unfinished(struct wait *wait);
static enum task_status status_of(const json_t *info);

bool wait_until_final(struct app *app, const struct ident *id, const struct wait_options *options,
                      struct err *err)
{
    struct wait *wait = wait_open(app, id, options);
    while (goes_on(wait)) {
        int64_t now_us = clock_boot_us();
        bool is_last =
            wait->look_at_us > wait->deadline_us && wait->looked_at_us < wait->deadline_us;
        if (is_last) wait->look_at_us = wait->deadline_us;
        if (!wait->looking && now_us >= wait->look_at_us) look(wait);
        int64_t next_us = wait->looking ? now_us + LOOK_MOST_US : wait->look_at_us;
        timer_start(&wait->tick, next_us > now_us ? next_us - now_us : 0);
        tell_bar(&wait->telling);
        loop_turn(&app->loop, true);
    }
    bool good = conclude(wait, err);
    wait_close(wait);
    return good;
}

static bool conclude(const struct wait *wait, struct err *err)
{
    if (err) *err = wait->err;
    if (wait->ended) return wait->err.code == ERR_NONE;
    if (output_is_lost()) return err_set(err, ERR_IO, "nobody reads what is printed");
    if (wait->is_interrupted)
        return err_set(err, ERR_INTERRUPTED,
                       "not waiting any more, the task goes on: ctutor-run result %s --wait",
                       wait->telling.id_text);
    return err_set(err, ERR_DEADLINE, "task %s is not final after this wait, it goes on",
                   wait->telling.id_text);
}

/* The last look begins at the deadline: a wait of no time at all still says what is final. */
static bool goes_on(const struct wait *wait)
{
    bool is_late =
        wait->asked_us >= wait->deadline_us || clock_boot_us() >= wait->deadline_us + ANSWER_US;
    return !wait->ended && !wait->is_interrupted && !is_late && !output_is_lost();
}

bool read_id(const char *text, struct ident *id, struct err *err)
{
    if (ident_parse(text, id)) return true;
    return err_set(err, ERR_INPUT, "'%.60s' is no task id", text);
}

static struct wait *wait_open(struct app *app, const struct ident *id,
                              const struct wait_options *options)
{
    struct wait *wait = xcalloc(1, sizeof *wait);
    *wait = (struct wait){ .app = app, .options = options, .id = *id };
    telling_init(&wait->telling, app, options, id);
    wait->last_answer_us = wait->telling.begin_us;
    bool is_endless = options->at_most_us < 0;
    wait->deadline_us = is_endless ? INT64_MAX / 2 : wait->telling.begin_us + options->at_most_us;
    wait->pause_us = LOOK_FIRST_US;
    timer_init(&app->loop, &wait->tick, on_tick);
    uv_signal_init(&app->loop.uv, &wait->interrupt);
    uv_signal_start(&wait->interrupt, on_interrupt, SIGINT);
    wait->handles_open = 2;
    app->news.arg = wait;
    app->news.event = on_event;
    source_follow(app, &wait->id);
    if (options->tells_id) output_plain_note("%s", wait->telling.id_text);
    return wait;
}

static void on_tick(struct timer *timer) { (void)timer; /* the loop turned: that is all */ }

static void on_interrupt(uv_signal_t *handle, int number)
{
    (void)number;
    container_of(handle, struct wait, interrupt)->is_interrupted = true;
}

static void on_timer_closed(struct timer *timer)
{
    container_of(timer, struct wait, tick)->handles_open--;
}

static void on_signal_closed(uv_handle_t *handle)
{
    container_of((uv_signal_t *)handle, struct wait, interrupt)->handles_open--;
}

/* A look that nobody answers must not hold up the end: it frees what is left when it is over, at
 * the latest with the ledger. A second Ctrl-C ends the program. */
static void wait_close(struct wait *wait)
{
    wait->app->news = (struct app_news){ 0 };
    source_unfollow(wait->app);
    uv_close((uv_handle_t *)&wait->interrupt, on_signal_closed);
    timer_close(&wait->tick, on_timer_closed);
    while (wait->handles_open > 0) loop_turn(&wait->app->loop, true);
    telling_close(&wait->telling);
    wait->is_over = true;
    if (!wait->looking) wait_free(wait);
}

static void wait_free(struct wait *wait)
{
    json_decref(wait->info);
    json_decref(wait->early);
    free(wait);
}

static void on_event(void *arg, const char *line, size_t len)
{
    struct wait *wait = arg;
    enum task_status status;
    if (len < 36 || !memmem(line, len, wait->telling.id_text, IDENT_TEXT_SIZE - 1)) return;
    json_t *event = params_load(line, len);
    const char *id = json_string_value(json_object_get(event, "id"));
    const char *kind = json_string_value(json_object_get(event, "event"));
    const char *word = json_string_value(json_object_get(event, "status"));
    bool is_mine = id && kind && strcmp(id, wait->telling.id_text) == 0;
    bool is_progress = is_mine && strcmp(kind, "progress") == 0;
    bool is_early = !wait->asked_us && !word; /* the first look tells what was before */
    if (is_early && is_progress) {
        json_decref(wait->early);
        wait->early = json_incref(event);
    } else if (is_mine && !is_early) {
        int64_t now_us = clock_boot_us(), soon_us = wait->looked_at_us + LOOK_LOGS_US;
        bool is_ahead = is_progress && wait->telling.status != TASK_STARTED; /* of what was told */
        if (!is_ahead) wait->events++;
        wait->pause_us = LOOK_MOST_US;
        if (is_ahead)
            wait->look_at_us = now_us;
        else if (is_progress)
            tell_progress(&wait->telling, event, member_text(event, "at"));
        else if (strcmp(kind, "log") == 0 && wait->options->wants_logs &&
                 soon_us < wait->look_at_us)
            wait->look_at_us = soon_us;
        else if (word && task_status_parse(word, &status) && task_status_is_final(status))
            wait->look_at_us = now_us;
        else if (word && task_status_parse(word, &status))
            tell_status(&wait->telling, status, member_int(event, "attempt"),
                        member_text(event, "at"));
    }
    json_decref(event);
}

static void on_info(void *arg, const char *json, size_t len, const struct err *err);

static void look(struct wait *wait)
{
    wait->looking = true;
    wait->looked_at_us = clock_boot_us();
    wait->look_at_us = wait->looked_at_us + wait->pause_us;
    wait->pause_us = 2 * wait->pause_us < LOOK_MOST_US ? 2 * wait->pause_us : LOOK_MOST_US;
    wait->events_then = wait->events;
    source_follow(wait->app, &wait->id);
    source_info(wait->app, &wait->id, on_info, wait);
}

static void drop_info(struct wait *wait)
{
    json_decref(wait->info);
    wait->info = NULL;
}

static void end_with(struct wait *wait, const struct err *err)
{
    wait->ended = true;
    wait->err = *err;
}

/* Who was there may come back: the wait goes on for a while. */
static void look_failed(struct wait *wait, const struct err *err)
{
    const struct remote *remote = wait->app->remote;
    bool was_there = !remote || remote_has_answered(remote);
    bool is_away =
        err->code == ERR_STORE && was_there && clock_boot_us() - wait->last_answer_us < SILENCE_US;
    wait->looking = false;
    wait->look_at_us = clock_boot_us() + LOOK_MOST_US;
    if (!is_away) end_with(wait, err);
}

static void on_logs(void *arg, const char *json, size_t len, const struct err *err);

static void on_info(void *arg, const char *json, size_t len, const struct err *err)
{
    struct wait *wait = arg;
    struct err missing;
    if (wait->is_over) {
        wait_free(wait);
        return;
    }
    if (err) {
        look_failed(wait, err);
        return;
    }
    wait->last_answer_us = clock_boot_us();
    wait->info = params_load(json, len);
    if (!wait->info) {
        wait->looking = false;
        err_set(&missing, ERR_NOT_FOUND, "there is no task %s", wait->telling.id_text);
        end_with(wait, &missing);
    } else if (wait->options->wants_logs) {
        tell_unfinished(wait);
        source_logs(wait->app, &wait->id, wait->log_seq, LOGS_AT_ONCE, on_logs, wait);
    } else {
        look_end(wait);
    }
}

static void on_logs(void *arg, const char *json, size_t len, const struct err *err)
{
    struct wait *wait = arg;
    if (wait->is_over) {
        wait_free(wait);
        return;
    }
    if (err) {
        drop_info(wait);
        look_failed(wait, err);
        return;
    }
    json_t *page = params_load(json, len), *log;
    size_t index;
    json_array_foreach(json_object_get(page, "logs"), index, log)
    {
        wait->log_seq = member_int(log, "seq");
        tell_log(&wait->telling, log);
    }
    bool has_more = json_is_true(json_object_get(page, "has_more"));
    json_decref(page);
    if (has_more)
        source_logs(wait->app, &wait->id, wait->log_seq, LOGS_AT_ONCE, on_logs, wait);
    else
        look_end(wait);
}

/* Events that came meanwhile are newer than what the ledger said, unless that is final (or the
 * first status of all). */
static void look_end(struct wait *wait)
{
    bool is_final = tell_unfinished(wait);
    const json_t *progress = json_object_get(wait->info, "progress");
    if (is_final || wait->events == wait->events_then)
        tell_progress(&wait->telling, progress, member_text(progress, "updated_at"));
    if (wait->telling.status == TASK_STARTED)
        tell_progress(&wait->telling, wait->early, member_text(wait->early, "at"));
    json_decref(wait->early);
    wait->early = NULL;
    if (is_final)
        tell_status(&wait->telling, status_of(wait->info), member_int(wait->info, "attempt"),
                    member_text(wait->info, "finished_at"));
    drop_info(wait);
    wait->looking = false;
    wait->asked_us = wait->looked_at_us;
    wait->ended = is_final;
}

/* A status that is not final stands before the progress and the log lines made in it. true: it is
 * final, which is told last. */
static bool tell_unfinished(struct wait *wait)
{
    enum task_status status = status_of(wait->info);
    if (task_status_is_final(status)) return true;
    int64_t attempt = member_int(wait->info, "attempt");
    const char *since = status == TASK_STARTED ? "started_at" : attempt ? "" : "created_at";
    if (!wait->telling.is_told || wait->events == wait->events_then)
        tell_status(&wait->telling, status, attempt, member_text(wait->info, since));
    return false;
}

static enum task_status status_of(const json_t *info)
{
    enum task_status status = TASK_PENDING;
    (void)task_status_parse(member_text(info, "status"), &status);
    return status;
}
