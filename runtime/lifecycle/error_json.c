/* error_json.c: see error_json.h. */
#include "lifecycle/error_json.h"

#include "base/jsonw.h"

void error_json(struct buf *out, const char *detail, const char *code,
                const struct params_error *fields, size_t count)
{
    struct jsonw w;
    jsonw_init(&w, out);
    jsonw_object(&w);
    jsonw_key_text(&w, "detail", detail);
    jsonw_key_text(&w, "code", code);
    if (count) {
        jsonw_key(&w, "errors");
        jsonw_array(&w);
    }
    for (size_t i = 0; i < count; i++) {
        jsonw_object(&w);
        jsonw_key_text(&w, "field", fields[i].field);
        jsonw_key_text(&w, "message", fields[i].message);
        jsonw_object_end(&w);
    }
    if (count) jsonw_array_end(&w);
    jsonw_object_end(&w);
}
