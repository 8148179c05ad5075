/* result.h: what came of a task, for people and programs. */
#pragma once
#include "cli/app.h"

/* Asks the ledger and prints: with --json the TaskResult, else the result's value alone; a failure
 * goes to stderr. show_value false: only failures are told. The exit status; 5 while not final. */
int result_print(struct app *app, const struct ident *id, bool show_value);
