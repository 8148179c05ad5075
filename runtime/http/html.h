/* html.h: pages without scripts. Whatever came from somebody goes through html_text. */
#pragma once
#include "base/buf.h"

/* Nothing but our own script and style, nothing inline; nobody frames it; forms go to us alone. */
#define PAGE_POLICY                                                                                \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "              \
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

/* For text and for attribute values in double quotes; NULL adds nothing. */
void html_text(struct buf *out, const char *text);
/* A segment of a path or a value of a query, within an attribute. */
void html_url(struct buf *out, const char *text);
/* Everything up to the content, and what closes it. */
void html_begin(struct buf *out, const char *title);
void html_end(struct buf *out);
