/* jsonw.h: writes JSON text into a buf, commas by itself. Depth 64. Keys are C strings; strings are
 * cleaned to valid UTF-8. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct jsonw {
    struct buf *out; /* borrowed */
    /* private */
    uint64_t has_items; /* bit per depth */
    unsigned depth;
    bool after_key;
};

void jsonw_init(struct jsonw *w, struct buf *out);
void jsonw_object(struct jsonw *w);
void jsonw_object_end(struct jsonw *w);
void jsonw_array(struct jsonw *w);
void jsonw_array_end(struct jsonw *w);
void jsonw_key(struct jsonw *w, const char *key);
void jsonw_text(struct jsonw *w, const char *text); /* NULL writes null */
void jsonw_text_len(struct jsonw *w, const char *text, size_t len);
void jsonw_int(struct jsonw *w, int64_t value);
void jsonw_number(struct jsonw *w,
                  double value); /* shortest that reads back; NaN and infinity write null */
void jsonw_bool(struct jsonw *w, bool value);
void jsonw_null(struct jsonw *w);
void jsonw_raw(struct jsonw *w, const char *json,
               size_t len); /* already JSON, passed through untouched */
void jsonw_time(struct jsonw *w, int64_t wall_us);
/* key and value in one */
void jsonw_key_text(struct jsonw *w, const char *key, const char *text);
void jsonw_key_int(struct jsonw *w, const char *key, int64_t value);
void jsonw_key_bool(struct jsonw *w, const char *key, bool value);
