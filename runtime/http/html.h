/* html.h: pages without scripts. Whatever came from somebody goes through html_text. */
#pragma once
#include "base/buf.h"

/* For text and for attribute values in double quotes; NULL adds nothing. */
void html_text(struct buf *out, const char *text);
/* A segment of a path or a value of a query, within an attribute. */
void html_url(struct buf *out, const char *text);
/* Everything up to the content, and what closes it. */
void html_begin(struct buf *out, const char *title);
void html_end(struct buf *out);
