/* known.h: what a client knows of a task: the id of the last event it has, and the progress. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "ledger/ledger.h"

#define KNOWN_TEXT_SIZE 64

/* ATTEMPT.STEP.SEQ; false: it is no such text. */
MUSTUSE bool known_read(const char *text, struct known *known);
void known_text(const struct known *known, char out[KNOWN_TEXT_SIZE]);
bool known_equal(const struct known *one, const struct known *other);
/* It runs now: not before its start, nor behind its end. */
bool known_is_started(const struct known *known);
/* Of a progress event; never 0. The same for the ledger's words (a float, keys in another order)
 * and the announced ones. */
uint64_t known_progress(const char *json, size_t len);
