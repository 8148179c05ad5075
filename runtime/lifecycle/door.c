/* door.c: one function per field of the body, each adding its own error; nothing is accepted while
 * there is one. */
#include "lifecycle/door.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"

#define DAY_MS         (24 * 3600 * INT64_C(1000))
#define UNIQUE_KEY_MAX 512

struct door {
    const struct catalogue_entry *entry;
    const json_t *body;
    int64_t max_params;
    struct submission_box *box;
    bool is_too_large;
    struct door_errors *errors;
};

static void check_fields(struct door *door);
static void check_parameters(struct door *door);
static void check_id(struct door *door);
static void check_priority_and_queue(struct door *door);
static void check_times(struct door *door);
static void check_budgets(struct door *door);
static void check_labels(struct door *door);
static bool check_duration(struct door *door, const char *field, int64_t *us);
static void refuse(struct door *door, const char *field, const char *fmt, ...) PRINTF_LIKE(3, 4);
static size_t count_characters(const char *text);
static const char *keep(struct door *door, char *text);
static const json_t *field_of(const struct door *door, const char *field);
static bool sum_up(const struct door *door, struct err *err);

bool door_check(const struct catalogue_entry *entry, const json_t *body, int64_t max_params,
                const char *created_by, struct submission_box **out, struct door_errors *errors,
                struct err *err)
{
    struct door door = { .entry = entry, .body = body, .max_params = max_params, .errors = errors };
    *out = NULL;
    errors->count = 0;
    door.box = xcalloc(1, sizeof *door.box);
    door.box->submission.name = keep(&door, xstrdup(entry->name));
    door.box->submission.schema_hash = keep(&door, xstrdup(entry->schema_hash));
    if (created_by) door.box->submission.created_by = keep(&door, xstrdup(created_by));
    door.box->submission.max_losses = entry->max_losses;
    check_fields(&door);
    check_parameters(&door);
    check_id(&door);
    check_priority_and_queue(&door);
    check_times(&door);
    check_budgets(&door);
    check_labels(&door);
    if (errors->count) {
        submission_box_free(door.box);
        return sum_up(&door, err);
    }
    *out = door.box;
    return true;
}

void submission_box_free(struct submission_box *box)
{
    if (!box) return;
    for (size_t i = 0; i < COUNT_OF(box->texts); i++) free(box->texts[i]);
    free(box);
}

void submission_box_set_idempotency(struct submission_box *box, const char *key, const char *body)
{
    char *own_key = xstrdup(key), *own_body = xstrdup(body);
    box->submission.idempotency_key = box->texts[box->text_count++] = own_key;
    box->submission.idempotency_body = box->texts[box->text_count++] = own_body;
}

static void check_fields(struct door *door)
{
    static const char *const known[] = { "task_name", "parameters", "priority", "queue",
                                         "delay",     "run_at",     "timeout",  "retries",
                                         "expires",   "unique_key", "id",       "tags" };
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)door->body, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < COUNT_OF(known); i++) found = found || strcmp(key, known[i]) == 0;
        if (!found) refuse(door, key, "is not a field of a submission");
    }
}

static void check_parameters(struct door *door)
{
    const json_t *params = field_of(door, "parameters");
    json_t *empty = NULL;
    struct err err;
    if (!params) params = empty = json_object();
    if (!json_is_object(params)) {
        refuse(door, "parameters", "must be a JSON object");
        return;
    }
    struct params_error found[DOOR_ERRORS_MAX];
    size_t count = params_check(door->entry->schema, params, found, DOOR_ERRORS_MAX);
    for (size_t i = 0; i < count; i++) {
        refuse(door, found[i].field[0] ? found[i].field : "parameters", "%s", found[i].message);
    }
    bool storable = params_is_storable(params, &err);
    if (!count && !storable) refuse(door, "parameters", "%s", err.text);
    struct buf buf = BUF_EMPTY;
    if (storable) params_write(&buf, params);
    size_t len = buf.len;
    door->is_too_large = (int64_t)len > door->max_params;
    if (door->is_too_large) {
        refuse(door, "parameters", "take %zu bytes, the limit is %lld (CTUTOR_MAX_PARAMS)", len,
               (long long)door->max_params);
    }
    door->box->submission.params = keep(door, buf_take(&buf));
    door->box->submission.params_len = len;
    json_decref(empty);
}

static void check_id(struct door *door)
{
    const json_t *value = field_of(door, "id");
    struct ident *id = &door->box->submission.id;
    if (!value) {
        *id = ident_v7();
        return;
    }
    if (!json_is_string(value) || !ident_parse(json_string_value(value), id) || !ident_is_v7(id)) {
        refuse(door, "id", "must be a UUIDv7 such as 01932c07-4a80-7c3e-9f5d-2b8a6e1f0c34");
        return;
    }
    int64_t age_ms = clock_wall_us() / 1000 - ident_ms(id);
    if (age_ms > 7 * DAY_MS || age_ms < -DAY_MS) {
        refuse(door, "id", "carries a time outside the last 7 days and the next day");
    }
}

static void check_priority_and_queue(struct door *door)
{
    const json_t *priority = field_of(door, "priority"), *queue = field_of(door, "queue");
    struct submission *submission = &door->box->submission;
    submission->priority = door->entry->priority;
    if (priority && (!json_is_integer(priority) || json_integer_value(priority) < 0 ||
                     json_integer_value(priority) > 10)) {
        refuse(door, "priority", "must be an integer from 0 to 10, higher starts first");
    } else if (priority) {
        submission->priority = (int32_t)json_integer_value(priority);
    }
    if (queue && (!json_is_string(queue) || !queue_name_is_valid(json_string_value(queue)))) {
        refuse(door, "queue", "must be a name of 1 to 64 characters out of a-z 0-9 _ . -");
        return;
    }
    submission->queue = keep(door, xstrdup(queue_choose(queue ? json_string_value(queue) : NULL,
                                                        door->entry->queue, submission->priority)));
}

static void check_times(struct door *door)
{
    struct submission *submission = &door->box->submission;
    const json_t *run_at = field_of(door, "run_at");
    struct err err;
    if (run_at && field_of(door, "delay")) {
        refuse(door, "run_at", "cannot be given together with delay");
        return;
    }
    check_duration(door, "delay", &submission->delay_us);
    if (run_at && !json_is_string(run_at)) {
        refuse(door, "run_at", "must be a time such as 2026-11-24T08:00:00Z");
    } else if (run_at && !time_parse(json_string_value(run_at), &submission->run_at_us, &err)) {
        refuse(door, "run_at", "%s", err.text);
    }
    if (!check_duration(door, "expires", &submission->expires_us)) return;
    int64_t wait_us =
        submission->run_at_us ? submission->run_at_us - clock_wall_us() : submission->delay_us;
    if (submission->expires_us <= wait_us || submission->expires_us == 0) {
        refuse(door, "expires",
               "must lie after the time the task is due (it counts from submission)");
    }
}

static void check_budgets(struct door *door)
{
    struct submission *submission = &door->box->submission;
    const json_t *retries = field_of(door, "retries"), *timeout = field_of(door, "timeout");
    submission->retry = door->entry->retry;
    submission->timeout_us = door->entry->timeout_us;
    if (retries && (!json_is_integer(retries) || json_integer_value(retries) < 0 ||
                    json_integer_value(retries) > 1000)) {
        refuse(door, "retries", "must be an integer from 0 to 1000");
    } else if (retries) {
        submission->retry.max = (int32_t)json_integer_value(retries);
    }
    if (json_is_false(timeout)) {
        submission->timeout_us = -1;
    } else if (check_duration(door, "timeout", &submission->timeout_us) &&
               submission->timeout_us <= 0) {
        refuse(door, "timeout", "must be longer than 0 (or false: none)");
    }
}

static void check_labels(struct door *door)
{
    const json_t *key = field_of(door, "unique_key"), *tags = field_of(door, "tags");
    struct submission *submission = &door->box->submission;
    if (key && (!json_is_string(key) || !json_string_length(key) ||
                json_string_length(key) > UNIQUE_KEY_MAX)) {
        refuse(door, "unique_key", "must be a text of 1 to %d bytes", UNIQUE_KEY_MAX);
    } else if (key) {
        submission->unique_key = keep(door, xstrdup(json_string_value(key)));
    }
    if (!tags) {
        if (door->entry->tags) submission->tags = keep(door, xstrdup(door->entry->tags));
        return;
    }
    bool good = json_is_array(tags) && json_array_size(tags) <= TASK_TAGS_MAX;
    size_t index;
    json_t *tag;
    json_array_foreach((json_t *)(uintptr_t)tags, index, tag)
    {
        good = good && json_is_string(tag) && json_string_length(tag) > 0 &&
               count_characters(json_string_value(tag)) <= TASK_TAG_MAX;
    }
    if (good) {
        submission->tags = keep(door, json_dumps(tags, JSON_COMPACT));
    } else {
        refuse(door, "tags", "must be a list of up to %d texts of 1 to %d characters",
               TASK_TAGS_MAX, TASK_TAG_MAX);
    }
}

/* A number of seconds or a text with a unit. false when absent or refused. */
static bool check_duration(struct door *door, const char *field, int64_t *us)
{
    const json_t *value = field_of(door, field);
    struct err err;
    if (!value) return false;
    if (json_is_number(value)) {
        double seconds = json_number_value(value);
        if (seconds >= 0 && seconds <= 10 * 365 * 86400.0) {
            *us = (int64_t)(seconds * 1e6 + 0.5);
            return true;
        }
        refuse(door, field, "must lie between 0 and 10 years");
        return false;
    }
    if (json_is_string(value) && duration_parse(json_string_value(value), us, &err)) return true;
    refuse(door, field, "must be a number of seconds or a text such as 250ms, 10s, 5m, 2h, 1d");
    return false;
}

static const json_t *field_of(const struct door *door, const char *field)
{
    const json_t *value = json_object_get(door->body, field);
    return json_is_null(value) ? NULL : value;
}

static size_t count_characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++) count += (*text & 0xC0) != 0x80;
    return count;
}

static const char *keep(struct door *door, char *text)
{
    door->box->texts[door->box->text_count++] = text;
    return text;
}

static void refuse(struct door *door, const char *field, const char *fmt, ...)
{
    if (door->errors->count == DOOR_ERRORS_MAX) return;
    struct params_error *error = &door->errors->at[door->errors->count++];
    size_t len = utf8_cut(field, strlen(field), sizeof error->field - 1);
    memcpy(error->field, field, len);
    error->field[len] = '\0';
    va_list args;
    va_start(args, fmt);
    vsnprintf(error->message, sizeof error->message, fmt, args);
    va_end(args);
}

static bool sum_up(const struct door *door, struct err *err)
{
    struct buf text = BUF_EMPTY;
    for (size_t i = 0; i < door->errors->count; i++) {
        buf_addf(&text, "%s%s: %s", i ? "; " : "", door->errors->at[i].field,
                 door->errors->at[i].message);
    }
    err_set(err, door->is_too_large ? ERR_TOO_LARGE : ERR_INPUT, "%s: %s", door->entry->name,
            buf_text(&text));
    buf_close(&text);
    return false;
}
