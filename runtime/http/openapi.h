/* openapi.h: the API, described for programs and for people: from the table of routes, the words of
 * openapi.json and the catalogue. */
#pragma once
#include <jansson.h>

#include "base/buf.h"

/* openapi.json: an OpenAPI document without paths, and beside it, under "routes", what the table
 * does not know of a route:
 *
 *   "METHOD /path": { tag, body: NAME, parameters, answers: {status: NAMES}, errors: [status] }
 *
 * NAME: a schema under components, or a media type ("text/html"). NAMES: one of them, a list, or
 * null: no body. errors: those that do not follow from the table. Without answers: a page for
 * browsers, which is in the reference alone. gives */
json_t *openapi_words(void);
/* The OpenAPI 3.1 document. types: what ledger_catalogue_list answers. */
void openapi_write(struct buf *out, const json_t *types);
/* Markdown: every route and every schema. */
void openapi_reference(struct buf *out);

/* ---- of one route; words: its entry under "routes" ---- */
struct route;
/* "read", "submit", "admin"; NULL: anybody may. */
const char *openapi_scope(const struct route *route);
/* The statuses of its errors, ascending, also those that follow from the table. gives an array of
 * texts */
json_t *openapi_errors(const struct route *route, const json_t *words);
