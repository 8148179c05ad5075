/* clock.h: the only source of time. Any thread.
 * boot: CLOCK_BOOTTIME, counts through suspend: leases and deadlines. wall: CLOCK_REALTIME: only to
 * show and to make ids. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

int64_t clock_boot_us(void);
int64_t clock_wall_us(void);
int64_t clock_mono_us(void); /* CLOCK_MONOTONIC, for benchmarks and loop lag */

#define DURATION_NONE (-1)
/* "250ms" "10s" "5m" "2h" "1d" or a bare number of seconds ("1.5") -> microseconds, 0..10 years. */
MUSTUSE bool duration_parse(const char *text, int64_t *us, struct err *err);
/* The shortest exact spelling that duration_parse reads back: 300000000 -> "5m". Gives malloc'd
 * text. */
char *duration_text(int64_t us);

#define TIME_TEXT_SIZE 80 /* for any year that fits an int: the compiler cannot know better */
/* RFC 3339 UTC with milliseconds: 2026-11-24T08:00:00.000Z */
void time_text(int64_t wall_us, char out[TIME_TEXT_SIZE]);
/* RFC 3339 with zone, or `YYYY-MM-DD[ T]HH:MM[:SS[.fff]]` without one in local time. */
MUSTUSE bool time_parse(const char *text, int64_t *wall_us, struct err *err);
