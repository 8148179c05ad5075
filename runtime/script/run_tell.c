/* run_tell.c: progress and log lines of a run, bounded: a loop that tells something and never waits
 * keeps anybody from passing it on, and would fill the memory of the process.
 *
 * Progress: the first TOLD_MAX of a slice go out at once, of the rest only the last, when the slice
 * is over. Nothing is lost by it, since nothing is sent meanwhile. Log: a bucket of LOG_BURST bytes
 * that fills again at LOG_RATE a second; what does not fit is counted, and the count is logged. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "script/run_state.h"

#define TOLD_MAX      16
#define LOG_MAX       65536     /* bytes of a line */
#define LOG_BURST     (1 << 20) /* bytes */
#define LOG_RATE      65536     /* bytes a second */
#define LOG_LINE_COST 100       /* bytes of what comes with each line */

static bool take_room(struct run *run, size_t len);
static void tell_log(struct run *run, const char *level, const char *text, size_t len);
static void tell_progress(struct run *run);

void run_progress(struct run *run, double percent)
{
    if (percent > run->percent) run->percent = percent; /* a bar never goes back within a run */
    run->is_untold = true;
    if (run->told++ < TOLD_MAX) tell_progress(run);
}

void run_progress_flush(struct run *run)
{
    run->told = 0;
    if (run->is_untold) tell_progress(run);
}

static void tell_progress(struct run *run)
{
    run->is_untold = false;
    if (run->events.progress)
        run->events.progress(run->events.arg, run, run->percent, run->metadata);
}

void run_log(struct run *run, const char *level, const char *text, size_t len)
{
    if (!take_room(run, len < LOG_MAX ? len : LOG_MAX)) {
        run->log_dropped++;
        return;
    }
    run_log_end(run);
    tell_log(run, level, text, len);
}

void run_log_end(struct run *run)
{
    char text[80];
    if (run->log_dropped == 0) return;
    snprintf(text, sizeof text, "%llu lines left out: too many at once",
             (unsigned long long)run->log_dropped);
    run->log_dropped = 0;
    tell_log(run, "warn", text, strlen(text));
}

static bool take_room(struct run *run, size_t len)
{
    int64_t now_us = clock_boot_us(), cost = (int64_t)len + LOG_LINE_COST;
    int64_t filled = (now_us - run->log_room_us) * LOG_RATE / 1000000;
    if (filled > 0) { /* else the fraction goes on counting */
        run->log_room += filled;
        run->log_room_us = now_us;
    }
    if (run->log_room > LOG_BURST) run->log_room = LOG_BURST;
    if (cost > run->log_room) return false;
    run->log_room -= cost;
    return true;
}

static void tell_log(struct run *run, const char *level, const char *text, size_t len)
{
    struct buf clean = BUF_EMPTY;
    utf8_add_clean(&clean, text, len, LOG_MAX);
    if (run->events.log) run->events.log(run->events.arg, run, level, buf_text(&clean), clean.len);
    buf_close(&clean);
}
