/* log.h: one line per event to stderr: text (`2026-11-24T08:00:00.000Z info worker started pid=12`)
 * or JSON. Any thread; one write(2) a line. Never pass secrets. User text goes through %s only. */
#pragma once
#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_init(enum log_level level, bool json,
              const char *program_part); /* part: "supervisor", "runner", ...; copied */
bool log_is_on(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool log_level_parse(const char *text, enum log_level *level);
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_is_on(LOG_DEBUG)) log_line(LOG_DEBUG, __VA_ARGS__);                                \
    } while (0)
