/* clock.c: clocks, durations and points in time as text. Everything is whole microseconds; no
 * floating point is involved. */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

#define SECOND_US   INT64_C(1000000)
#define DAY_US      (86400 * SECOND_US)
#define DURATION_US (3650 * DAY_US) /* the longest: ten years */
/* What four digits can say, in UTC: 0000-01-01 and 9999-12-31T23:59:59. */
#define YEAR_0_S    INT64_C(-62167219200)
#define YEAR_9999_S INT64_C(253402300799)

static const struct {
    const char *name;
    int64_t us;
} units[] = { { "d", DAY_US },         { "h", 3600 * SECOND_US },
              { "m", 60 * SECOND_US }, { "s", SECOND_US },
              { "ms", 1000 },          { "", SECOND_US } };

static int64_t read_clock(clockid_t which);
static bool is_digit(char c);
static int64_t take_fraction(const char **at, int64_t unit_us);
static bool take_number(const char **at, int digits, int *out);
static bool take_zone(const char **at, bool *is_local, int *offset_s);
static bool date_exists(const struct tm *tm);
static bool refuse_time(const char *text, struct err *err);

int64_t clock_boot_us(void) { return read_clock(CLOCK_BOOTTIME); }

int64_t clock_wall_us(void) { return read_clock(CLOCK_REALTIME); }

int64_t clock_mono_us(void) { return read_clock(CLOCK_MONOTONIC); }

bool duration_parse(const char *text, int64_t *us, struct err *err)
{
    const char *at = text;
    int64_t whole = 0;
    for (; is_digit(*at) && whole <= DURATION_US; at++) whole = whole * 10 + (*at - '0');
    const char *fraction = at;
    int64_t ignored = at == text ? -1 : take_fraction(&at, 1);
    for (size_t i = 0; ignored >= 0 && i < COUNT_OF(units); i++) {
        if (strcmp(at, units[i].name) != 0) continue;
        if (whole > DURATION_US / units[i].us) break;
        int64_t sum = whole * units[i].us + take_fraction(&fraction, units[i].us);
        if (sum > DURATION_US) break;
        *us = sum;
        return true;
    }
    return err_set(err, ERR_INPUT,
                   "'%.60s' is no duration: write 250ms, 10s, 5m, 2h, 1d or a number of seconds, "
                   "at most 3650d",
                   text);
}

char *duration_text(int64_t us)
{
    if (us < 0) return xstrdup("none");
    if (us == 0) return xstrdup("0s");
    for (size_t i = 0; *units[i].name; i++)
        if (us % units[i].us == 0)
            return xasprintf("%lld%s", (long long)(us / units[i].us), units[i].name);
    char *text = xasprintf("%lld.%03lld", (long long)(us / 1000), (long long)(us % 1000));
    size_t len = strlen(text);
    while (text[len - 1] == '0') text[--len] = '\0';
    text = xrealloc(text, len + sizeof "ms");
    memcpy(text + len, "ms", sizeof "ms");
    return text;
}

void time_text(int64_t wall_us, char out[TIME_TEXT_SIZE])
{
    int64_t ms = wall_us / 1000;
    if (wall_us % 1000 < 0) ms--;
    time_t seconds = (time_t)(ms / 1000);
    int rest = (int)(ms % 1000);
    if (rest < 0) {
        rest += 1000;
        seconds--;
    }
    struct tm tm = { 0 };
    gmtime_r(&seconds, &tm);
    snprintf(out, TIME_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, rest);
}

bool time_parse(const char *text, int64_t *wall_us, struct err *err)
{
    const char *at = text;
    struct tm tm = { .tm_isdst = -1 };
    int64_t fraction_us = 0;
    int offset_s = 0;
    bool is_local = true;
    bool good = take_number(&at, 4, &tm.tm_year) && *at++ == '-' &&
                take_number(&at, 2, &tm.tm_mon) && *at++ == '-' && take_number(&at, 2, &tm.tm_mday);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    if (good && (*at == 'T' || *at == 't' || *at == ' ')) {
        at++;
        good = take_number(&at, 2, &tm.tm_hour) && *at++ == ':' && take_number(&at, 2, &tm.tm_min);
        if (good && *at == ':') {
            at++;
            good = take_number(&at, 2, &tm.tm_sec);
            if (good) fraction_us = take_fraction(&at, SECOND_US);
            good = good && fraction_us >= 0;
        }
        good = good && take_zone(&at, &is_local, &offset_s);
    }
    if (!good || *at != '\0' || !date_exists(&tm)) return refuse_time(text, err);
    int64_t seconds = is_local ? (int64_t)mktime(&tm) : (int64_t)timegm(&tm) - offset_s;
    if (seconds < YEAR_0_S || seconds > YEAR_9999_S) return refuse_time(text, err);
    *wall_us = seconds * SECOND_US + fraction_us;
    return true;
}

static bool refuse_time(const char *text, struct err *err)
{
    return err_set(err, ERR_INPUT,
                   "'%.60s' is no point in time: write 2026-11-24T08:00:00Z, with a zone like "
                   "+01:00, or 2026-11-24 08:00 in local time",
                   text);
}

static int64_t read_clock(clockid_t which)
{
    struct timespec now;
    clock_gettime(which, &now);
    return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Reads ".5" as half a unit; digits behind the sixth do not count. -1: a point without a digit. */
static int64_t take_fraction(const char **at, int64_t unit_us)
{
    if (**at != '.') return 0;
    (*at)++;
    if (!is_digit(**at)) return -1;
    int64_t millionths = 0;
    int64_t weight = 100000;
    for (; is_digit(**at); (*at)++, weight /= 10) millionths += weight * (**at - '0');
    return millionths * unit_us / 1000000;
}

static bool take_number(const char **at, int digits, int *out)
{
    *out = 0;
    for (; digits > 0; digits--, (*at)++) {
        if (!is_digit(**at)) return false;
        *out = *out * 10 + (**at - '0');
    }
    return true;
}

/* Z, +HH:MM, -HH:MM or nothing (local time). */
static bool take_zone(const char **at, bool *is_local, int *offset_s)
{
    char sign = **at;
    *is_local = sign == '\0';
    if (*is_local) return true;
    (*at)++;
    if (sign == 'Z' || sign == 'z') return true;
    int hours, minutes;
    if (sign != '+' && sign != '-') return false;
    if (!take_number(at, 2, &hours) || *(*at)++ != ':' || !take_number(at, 2, &minutes))
        return false;
    if (hours > 23 || minutes > 59) return false;
    *offset_s = (hours * 60 + minutes) * (sign == '-' ? -60 : 60);
    return true;
}

/* A date that the calendar moves elsewhere (30 February, 25 o'clock) does not exist. A leap second
 * counts as the next second. */
static bool date_exists(const struct tm *tm)
{
    if (tm->tm_sec > 60) return false;
    struct tm moved = *tm;
    if (moved.tm_sec == 60) moved.tm_sec = 59;
    timegm(&moved);
    return moved.tm_mon == tm->tm_mon && moved.tm_mday == tm->tm_mday &&
           moved.tm_hour == tm->tm_hour && moved.tm_min == tm->tm_min;
}
