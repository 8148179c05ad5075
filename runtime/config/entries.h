/* entries.h: the inside of struct config, for the files of this folder only. */
#pragma once
#include "config/config.h"

struct entry {
    char *text;        /* owned; NULL: unset */
    char *origin_text; /* owned */
    enum setting_origin origin;
    int64_t number; /* of ints, sizes (bytes) and durations (microseconds or -1) */
};

struct config {
    struct entry entries[SETTING_COUNT];
};

struct config *config_new(void); /* every setting at its default */
/* Checks and stores a copy of text. The error names variable, origin, value (no secret) and what is
 * allowed. */
MUSTUSE bool config_put(struct config *config, enum setting which, const char *text,
                        enum setting_origin origin, const char *origin_text, struct err *err);
