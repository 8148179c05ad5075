/* refusal.h: a statement that is sent again until Postgres takes it, and what the log says of that:
 * one line when Postgres refuses it, one when it goes on. That Postgres is away io/pg.c says. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "ledger/ledger.h"

/* `has_complained` belongs to the statement, false at first. `what`: "the start". */
void refusal_tell(bool *has_complained, const struct ledger *ledger, const char *what, size_t count,
                  const struct err *err);
void refusal_over(bool *has_complained, const char *what, size_t count);
