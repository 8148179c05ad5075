/* fuzz_array.c: the body of a bulk submit. What is an array is cut into what its elements are; what
 * is cut although it is none has an element that is no JSON: it would be refused by itself. */
#include <jansson.h>

#include "fuzz/fuzz.h"
#include "http/array.h"

#define MOST 50

static bool are_elements(const json_t *array, const struct piece *pieces, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct piece *pieces = NULL;
    size_t count = 0;
    struct err err;
    if (size > 2000) return 0; /* deeper than jansson goes, an element may be JSON alone */
    const char *text = (const char *)data;
    json_t *array = json_loadb(text, size, JSON_ALLOW_NUL, NULL);
    if (array_cut(text, size, MOST, &pieces, &count, &err)) {
        require(count <= MOST);
        for (size_t i = 0; i < count; i++)
            require(pieces[i].text >= text && pieces[i].len > 0 &&
                    pieces[i].text + pieces[i].len < text + size);
        require(are_elements(array, pieces, count) == json_is_array(array));
    } else {
        require_refusal(&err);
        require(!json_is_array(array) ||
                (err.code == ERR_TOO_LARGE && json_array_size(array) > MOST));
    }
    free(pieces);
    json_decref(array);
    return 0;
}

static bool are_elements(const json_t *array, const struct piece *pieces, size_t count)
{
    bool good = true;
    for (size_t i = 0; i < count; i++) {
        json_t *element =
            json_loadb(pieces[i].text, pieces[i].len, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
        if (array) require(json_equal(element, json_array_get(array, i)));
        good = good && element;
        json_decref(element);
    }
    return good;
}
