/* member.h: what an answer of the ledger holds under a key; "" and 0 when it does not. */
#pragma once
#include <jansson.h>
#include <stdint.h>

static inline const char *member_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static inline int64_t member_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}
