/* parameters.h: a task's parameters as words of the command line -> one JSON object.
 *
 *   key=text    converted to the type the task's schema asks for
 *   key:=json   taken as it is
 *   key=@FILE, key:=@FILE  the same, read from a file; @- is stdin, \@ a literal @
 * and --params JSON|@FILE|- for the whole. A key that comes twice is refused. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "task/params.h"

/* whole: the value of --params, or NULL. schema may be NULL: nothing is known, texts stay texts.
 * gives *out, an object. false: ERR_INPUT, or ERR_IO for a file. */
MUSTUSE bool parameters_collect(const struct params_schema *schema, int count, char *const *words,
                                const char *whole, json_t **out, struct err *err);
