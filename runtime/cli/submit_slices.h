/* submit_slices.h: lines of a bulk -> POST /api/tasks/submit/bulk, slice after slice, one under way
 * at a time. Each line has an id before it is sent: a slice whose outcome is unknown is repeated,
 * which submits nothing twice. */
#pragma once
#include <jansson.h>

#include "cli/app.h"

struct slices; /* opaque */
/* answer: what the API says of this line: an object; NULL: err. */
typedef void slice_answer_fn(void *line, const json_t *answer, const struct err *err);

struct slices *slices_new(struct app *app, slice_answer_fn *answered);
void slices_free(struct slices *slices); /* nothing may be under way */
/* text is body, a well-formed object. gives *id: its own, or the one it gets (zero: what it says is
 * none). */
void slices_add(struct slices *slices, void *line, const char *text, size_t len, const json_t *body,
                struct ident *id);
/* No more until it was sent. */
bool slices_is_full(const struct slices *slices);
/* What was added so far, unless a slice is under way. */
void slices_send(struct slices *slices);
