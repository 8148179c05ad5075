/* fuzz_door.c: the body of a submission, as a line of --bulk. What the door lets in is within
 * bounds and fits its task; what it refuses has a reason for each field, in valid UTF-8. */
#include <jansson.h>

#include "fuzz/fuzz.h"
#include "lifecycle/door.h"

#define LIMIT 1000

static void check_let_in(const struct submission *submission);
static void check_refused(const struct door_errors *errors, const struct err *err);

static const char task[] =
    "{\"name\":\"t\",\"queue\":null,\"priority\":5,\"timeout_us\":60000000,\"max_losses\":2,"
    "\"retry\":{\"max\":3,\"backoff\":\"linear\",\"base_us\":2000000,\"cap_us\":9000000,"
    "\"jitter\":true},\"tags\":[\"a\"],\"schema_hash\":\"h\","
    "\"schema\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
    "\"s\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\",\"minimum\":1},\"any\":{}}}}";

static struct catalogue_entry *entry; /* made once, never changed */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct door_errors errors;
    struct submission_box *box = NULL;
    struct err err;
    json_t *body = NULL;
    require(entry || catalogue_entry_parse(task, sizeof task - 1, &entry, &err));
    if (!params_parse((const char *)data, size, "line 1", &body, &err)) {
        require_refusal_at(&err, "line 1: ");
    } else if (json_is_object(body)) {
        if (door_check(entry, body, LIMIT, NULL, &box, &errors, &err))
            check_let_in(&box->submission);
        else
            check_refused(&errors, &err);
    }
    submission_box_free(box);
    json_decref(body);
    return 0;
}

static void check_let_in(const struct submission *submission)
{
    struct params_error error;
    struct err err;
    json_t *params = NULL, *tags = NULL;
    require(submission->params_len <= LIMIT);
    require(params_parse(submission->params, submission->params_len, "", &params, &err));
    require(params_check(entry->schema, params, &error, 1) == 0);
    require(queue_name_is_valid(submission->queue) && ident_is_v7(&submission->id));
    require(submission->priority >= 0 && submission->priority <= 10);
    require(submission->timeout_us == -1 || submission->timeout_us > 0);
    require(submission->delay_us >= 0 && submission->expires_us >= 0);
    require(!submission->delay_us || !submission->run_at_us);
    require(!submission->expires_us || submission->expires_us > submission->delay_us);
    require(submission->retry.max >= 0 && submission->retry.max <= 1000);
    require(!submission->unique_key || *submission->unique_key);
    require(params_parse(submission->tags, strlen(submission->tags), "", &tags, &err));
    require(json_array_size(tags) <= TASK_TAGS_MAX);
    json_decref(params);
    json_decref(tags);
}

static void check_refused(const struct door_errors *errors, const struct err *err)
{
    require(errors->count > 0 && errors->count <= DOOR_ERRORS_MAX);
    for (size_t i = 0; i < errors->count; i++) {
        require(utf8_is_valid(errors->at[i].field, strlen(errors->at[i].field)));
        require_text(errors->at[i].message);
    }
    require_refusal_at(err, "t: ");
}
