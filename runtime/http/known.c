/* known.c: see known.h. */
#include "http/known.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "task/params.h"

bool known_read(const char *text, struct known *known)
{
    char again[KNOWN_TEXT_SIZE];
    if (sscanf(text, "%" SCNd32 ".%" SCNd32 ".%" SCNd64, &known->attempt, &known->step,
               &known->seq) != 3)
        return false;
    known_text(known, again);
    return strcmp(text, again) == 0;
}

void known_text(const struct known *known, char out[KNOWN_TEXT_SIZE])
{
    snprintf(out, KNOWN_TEXT_SIZE, "%" PRId32 ".%" PRId32 ".%" PRId64, known->attempt, known->step,
             known->seq);
}

bool known_equal(const struct known *one, const struct known *other)
{
    return one->attempt == other->attempt && one->step == other->step && one->seq == other->seq;
}

bool known_is_started(const struct known *known) { return known->attempt > 0 && known->step == 0; }

uint64_t known_progress(const char *json, size_t len)
{
    json_t *event = params_load(json, len);
    float percent = (float)json_number_value(json_object_get(event, "percentage"));
    char *metadata = json_dumps(json_object_get(event, "metadata"),
                                JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    for (size_t i = 0; i < sizeof percent; i++)
        hash = (hash ^ ((const unsigned char *)&percent)[i]) * UINT64_C(1099511628211);
    for (const char *at = metadata; at && *at; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
    free(metadata);
    json_decref(event);
    return hash ? hash : 1;
}
