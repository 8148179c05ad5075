/* value.h: checks the text of one setting by its type in the table. */
#pragma once
#include "config/config.h"

/* Fills number where the type has one. The error says what is allowed and never repeats the value.
 */
MUSTUSE bool value_parse(enum setting which, const char *text, int64_t *number, struct err *err);
/* Splits SET_QUEUES; free with config_queues_free. A queue named twice counts once. */
MUSTUSE bool value_parse_queues(const char *text, char ***out, struct err *err);
