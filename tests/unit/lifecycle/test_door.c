/* What a submission may say, field by field, and what is answered to the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "lifecycle/door.h"

#define DAY_US (24 * 3600 * INT64_C(1000000))
#define LIMIT  1000

static const char greet[] =
    "{\"name\":\"greet\",\"queue\":null,\"priority\":5,\"timeout_us\":60000000,\"max_losses\":2,"
    "\"retry\":{\"max\":3,\"backoff\":\"linear\",\"base_us\":2000000,\"cap_us\":9000000,"
    "\"jitter\":true},\"tags\":[\"of-task\"],\"schema_hash\":\"h1\","
    "\"schema\":{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"message\"],"
    "\"properties\":{\"message\":{\"type\":\"string\"},"
    "\"count\":{\"type\":\"integer\",\"minimum\":1},\"free\":{}}}}";

struct fixture {
    struct catalogue_entry *entry;
    struct submission_box *box; /* of the last good submission */
    struct door_errors errors;  /* of the last refused one */
    struct err err;
};

static int set_up(void **state)
{
    struct fixture *at = xcalloc(1, sizeof *at);
    *state = at;
    return catalogue_entry_parse(greet, strlen(greet), &at->entry, &at->err) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *at = *state;
    submission_box_free(at->box);
    catalogue_entry_free(at->entry);
    free(at);
    return 0;
}

static bool check_json(struct fixture *at, const json_t *body)
{
    submission_box_free(at->box);
    return door_check(at->entry, body, LIMIT, "token:one", &at->box, &at->errors, &at->err);
}

/* fields: JSON without its braces; a message is added. */
static bool check(struct fixture *at, const char *fields)
{
    char *text = xasprintf("{\"task_name\":\"greet\",\"parameters\":{\"message\":\"hi\"}%s%s}",
                           fields[0] ? "," : "", fields);
    json_t *body = json_loads(text, 0, NULL);
    assert_non_null(body);
    bool good = check_json(at, body);
    json_decref(body);
    free(text);
    return good;
}

static const struct submission *accepted(struct fixture *at, const char *fields)
{
    if (!check(at, fields)) fail_msg("refused: %s: %s", fields, at->err.text);
    assert_int_equal(at->errors.count, 0);
    return &at->box->submission;
}

/* Refused for this field alone, in these words. */
static void refused(struct fixture *at, const char *fields, const char *field, const char *words)
{
    if (check(at, fields)) fail_msg("accepted: %s", fields);
    assert_null(at->box);
    if (at->errors.count != 1) fail_msg("%s: %zu errors", fields, at->errors.count);
    assert_string_equal(at->errors.at[0].field, field);
    if (!strstr(at->errors.at[0].message, words)) {
        fail_msg("%s: '%s' does not say '%s'", fields, at->errors.at[0].message, words);
    }
    assert_int_equal(at->err.code, ERR_INPUT);
    assert_non_null(strstr(at->err.text, at->errors.at[0].message));
}

static void test_the_task_says_what_the_submission_does_not(void **state)
{
    struct fixture *at = *state;
    const struct submission *said = accepted(at, "");
    assert_string_equal(said->name, "greet");
    assert_string_equal(said->queue, "default");
    assert_int_equal(said->priority, 5);
    assert_int_equal(said->timeout_us, 60000000);
    assert_int_equal(said->retry.max, 3);
    assert_int_equal(said->retry.backoff, BACKOFF_LINEAR);
    assert_int_equal(said->retry.base_us, 2000000);
    assert_int_equal(said->retry.cap_us, 9000000);
    assert_true(said->retry.jitter);
    assert_int_equal(said->max_losses, 2);
    assert_string_equal(said->tags, "[\"of-task\"]");
    assert_string_equal(said->schema_hash, "h1");
    assert_string_equal(said->params, "{\"message\":\"hi\"}");
    assert_int_equal(said->params_len, strlen(said->params));
    assert_null(said->unique_key);
    assert_int_equal(said->run_at_us, 0);
    assert_int_equal(said->delay_us, 0);
    assert_int_equal(said->expires_us, 0);
    assert_true(ident_is_v7(&said->id));
}

static void test_null_counts_as_not_given(void **state)
{
    const struct submission *said =
        accepted(*state, "\"queue\":null,\"delay\":null,\"run_at\":null,\"tags\":null,\"id\":null,"
                         "\"timeout\":null,\"retries\":null,\"expires\":null,\"priority\":null,"
                         "\"unique_key\":null");
    assert_int_equal(said->retry.max, 3);
    assert_int_equal(said->timeout_us, 60000000);
}

static void test_unknown_fields_are_refused(void **state)
{
    refused(*state, "\"prio\":1", "prio", "is not a field of a submission");
    refused(*state, "\"%s%n\":1", "%s%n", "is not a field");
}

static void test_parameters_are_checked_against_the_schema(void **state)
{
    struct fixture *at = *state;
    json_t *body =
        json_pack("{s:{s:i,s:s,s:i}}", "parameters", "count", 0, "mesage", "x", "free", 1);
    assert_false(check_json(at, body));
    assert_int_equal(at->errors.count, 3);
    bool message = false, count = false, unknown = false;
    for (size_t i = 0; i < at->errors.count; i++) {
        message = message || !strcmp(at->errors.at[i].field, "message");
        count = count || !strcmp(at->errors.at[i].field, "count");
        unknown = unknown || !strcmp(at->errors.at[i].field, "mesage");
    }
    assert_true(message && count && unknown);
    json_decref(body);
    body = json_pack("{}");
    assert_false(check_json(at, body));
    assert_string_equal(at->errors.at[0].field, "message");
    json_decref(body);
    body = json_pack("{s:[]}", "parameters");
    assert_false(check_json(at, body));
    assert_string_equal(at->errors.at[0].field, "parameters");
    assert_string_equal(at->errors.at[0].message, "must be a JSON object");
    json_decref(body);
}

static json_t *body_with_free(json_t *free_value)
{
    return json_pack("{s:{s:s,s:o}}", "parameters", "message", "hi", "free", free_value);
}

static void must_be_unstorable(struct fixture *at, json_t *value, const char *words)
{
    json_t *body = body_with_free(value);
    assert_false(check_json(at, body));
    assert_int_equal(at->errors.count, 1);
    assert_string_equal(at->errors.at[0].field, "parameters");
    if (!strstr(at->errors.at[0].message, words)) fail_msg("%s", at->errors.at[0].message);
    json_decref(body);
}

static void test_what_nobody_can_keep_is_refused(void **state)
{
    struct fixture *at = *state;
    must_be_unstorable(at, json_integer(INT64_C(9007199254740993)), "free");
    must_be_unstorable(at, json_stringn_nocheck("a\0b", 3), "free");
    json_t *deep = json_array();
    for (int i = 0; i < 70; i++) {
        json_t *outer = json_array();
        json_array_append_new(outer, deep);
        deep = outer;
    }
    must_be_unstorable(at, deep, "");
    json_t *body = body_with_free(json_integer(INT64_C(9007199254740992)));
    assert_true(check_json(at, body));
    json_decref(body);
}

/* The limit counts the bytes that are kept: {"free":"xxx","message":"hi"}. */
static void test_parameters_have_a_limit(void **state)
{
    struct fixture *at = *state;
    size_t frame = strlen("{\"free\":\"\",\"message\":\"hi\"}");
    char *text = xcalloc(1, LIMIT + 1);
    memset(text, 'x', LIMIT - frame);
    json_t *body = body_with_free(json_string(text));
    assert_true(check_json(at, body));
    assert_int_equal(at->box->submission.params_len, LIMIT);
    json_decref(body);
    text[LIMIT - frame] = 'x';
    body = body_with_free(json_string(text));
    assert_false(check_json(at, body));
    assert_string_equal(at->errors.at[0].field, "parameters");
    assert_non_null(strstr(at->errors.at[0].message, "take 1001 bytes, the limit is 1000"));
    assert_int_equal(at->err.code, ERR_TOO_LARGE);
    assert_false(check(at, "\"priority\":11"));
    assert_int_equal(at->err.code, ERR_INPUT);
    json_decref(body);
    free(text);
}

/* A UUIDv7 of that moment. */
static char *id_field(int64_t wall_us)
{
    int64_t ms = wall_us / 1000;
    return xasprintf("\"id\":\"%08llx-%04llx-7c3e-9f5d-2b8a6e1f0c34\"", (long long)(ms >> 16),
                     (long long)(ms & 0xFFFF));
}

static void test_ids_are_of_these_days(void **state)
{
    static const struct {
        int64_t age_us;
        bool good;
    } cases[] = { { 0, true },
                  { 7 * DAY_US - 60000000, true },
                  { 7 * DAY_US + 60000000, false },
                  { -DAY_US + 60000000, true },
                  { -DAY_US - 60000000, false } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *field = id_field(clock_wall_us() - cases[i].age_us);
        if (cases[i].good) {
            char text[IDENT_TEXT_SIZE];
            ident_text(&accepted(*state, field)->id, text);
            assert_non_null(strstr(field, text));
        } else {
            refused(*state, field, "id", "outside the last 7 days and the next day");
        }
        free(field);
    }
    refused(*state, "\"id\":\"7d3b6c4e-6f1e-4c53-9e0b-0d5c8f1b2a3c\"", "id", "must be a UUIDv7");
    refused(*state, "\"id\":\"next\"", "id", "must be a UUIDv7");
    refused(*state, "\"id\":7", "id", "must be a UUIDv7");
}

static void test_priorities(void **state)
{
    assert_int_equal(accepted(*state, "\"priority\":0")->priority, 0);
    assert_int_equal(accepted(*state, "\"priority\":10")->priority, 10);
    refused(*state, "\"priority\":-1", "priority", "from 0 to 10");
    refused(*state, "\"priority\":11", "priority", "from 0 to 10");
    refused(*state, "\"priority\":4294967296", "priority", "from 0 to 10");
    refused(*state, "\"priority\":5.0", "priority", "an integer");
    refused(*state, "\"priority\":\"5\"", "priority", "an integer");
    refused(*state, "\"priority\":true", "priority", "an integer");
}

/* Its own choice, else the task's, else by priority. */
static void test_the_choice_of_a_queue(void **state)
{
    struct fixture *at = *state;
    assert_string_equal(accepted(at, "\"priority\":6")->queue, "high_priority");
    assert_string_equal(accepted(at, "\"priority\":5")->queue, "default");
    assert_string_equal(accepted(at, "\"priority\":3")->queue, "default");
    assert_string_equal(accepted(at, "\"priority\":2")->queue, "low_priority");
    assert_string_equal(accepted(at, "\"priority\":9,\"queue\":\"gpu\"")->queue, "gpu");
    at->entry->queue = xstrdup("grading");
    assert_string_equal(accepted(at, "\"priority\":9")->queue, "grading");
    assert_string_equal(accepted(at, "\"queue\":\"a.b-c_1\"")->queue, "a.b-c_1");
    refused(at, "\"queue\":\"Upper\"", "queue", "1 to 64 characters");
    refused(at, "\"queue\":\"\"", "queue", "1 to 64 characters");
    refused(at, "\"queue\":\"a b\"", "queue", "1 to 64 characters");
    refused(at, "\"queue\":1", "queue", "1 to 64 characters");
}

static void test_delays(void **state)
{
    assert_int_equal(accepted(*state, "\"delay\":1.5")->delay_us, 1500000);
    assert_int_equal(accepted(*state, "\"delay\":\"5m\"")->delay_us, 300000000);
    assert_int_equal(accepted(*state, "\"delay\":\"250ms\"")->delay_us, 250000);
    assert_int_equal(accepted(*state, "\"delay\":0")->delay_us, 0);
    refused(*state, "\"delay\":-1", "delay", "between 0 and 10 years");
    refused(*state, "\"delay\":1e300", "delay", "between 0 and 10 years");
    refused(*state, "\"delay\":\"soon\"", "delay", "must be a number of seconds or a text");
    refused(*state, "\"delay\":true", "delay", "must be a number of seconds or a text");
    refused(*state, "\"delay\":[1]", "delay", "must be a number of seconds or a text");
}

static void test_run_at(void **state)
{
    const struct submission *said = accepted(*state, "\"run_at\":\"2026-11-24T08:00:00.250Z\"");
    assert_int_equal(said->run_at_us, INT64_C(1795507200250000));
    assert_int_equal(accepted(*state, "\"run_at\":\"2026-11-24T09:00:00+01:00\"")->run_at_us,
                     INT64_C(1795507200000000));
    refused(*state, "\"run_at\":1795507200", "run_at", "must be a time such as");
    refused(*state, "\"run_at\":\"tomorrow\"", "run_at", "");
    refused(*state, "\"run_at\":\"2026-11-24T08:00:00Z\",\"delay\":1", "run_at",
            "cannot be given together with delay");
}

/* expires counts from the submission and must lie behind the time the task is due. */
static void test_expiry(void **state)
{
    char later[TIME_TEXT_SIZE];
    assert_int_equal(accepted(*state, "\"expires\":\"1h\"")->expires_us, INT64_C(3600000000));
    assert_int_equal(accepted(*state, "\"delay\":10,\"expires\":11")->expires_us, 11000000);
    refused(*state, "\"expires\":0", "expires", "must lie after the time the task is due");
    refused(*state, "\"delay\":10,\"expires\":10", "expires", "must lie after");
    refused(*state, "\"expires\":-1", "expires", "between 0 and 10 years");
    refused(*state, "\"expires\":\"never\"", "expires", "must be a number of seconds");
    time_text(clock_wall_us() + 3600 * INT64_C(1000000), later);
    char *fields = xasprintf("\"run_at\":\"%s\",\"expires\":\"59m\"", later);
    refused(*state, fields, "expires", "must lie after");
    free(fields);
    fields = xasprintf("\"run_at\":\"%s\",\"expires\":\"61m\"", later);
    accepted(*state, fields);
    free(fields);
}

static void test_timeouts(void **state)
{
    assert_int_equal(accepted(*state, "\"timeout\":2")->timeout_us, 2000000);
    assert_int_equal(accepted(*state, "\"timeout\":\"2h\"")->timeout_us, INT64_C(7200000000));
    assert_int_equal(accepted(*state, "\"timeout\":false")->timeout_us, -1);
    refused(*state, "\"timeout\":0", "timeout", "must be longer than 0 (or false: none)");
    refused(*state, "\"timeout\":true", "timeout", "must be a number of seconds");
    refused(*state, "\"timeout\":-3", "timeout", "between 0 and 10 years");
}

static void test_retries(void **state)
{
    const struct submission *said = accepted(*state, "\"retries\":0");
    assert_int_equal(said->retry.max, 0);
    assert_int_equal(said->retry.base_us, 2000000); /* the rest stays the task's */
    assert_int_equal(accepted(*state, "\"retries\":1000")->retry.max, 1000);
    refused(*state, "\"retries\":1001", "retries", "from 0 to 1000");
    refused(*state, "\"retries\":-1", "retries", "from 0 to 1000");
    refused(*state, "\"retries\":1.5", "retries", "an integer");
    refused(*state, "\"retries\":\"3\"", "retries", "an integer");
}

static char *text_field(const char *name, size_t len)
{
    char *text = xcalloc(1, len + 1);
    memset(text, 'k', len);
    char *field = xasprintf("\"%s\":\"%s\"", name, text);
    free(text);
    return field;
}

static void test_unique_keys(void **state)
{
    assert_string_equal(accepted(*state, "\"unique_key\":\"user 7\"")->unique_key, "user 7");
    refused(*state, "\"unique_key\":\"\"", "unique_key", "1 to 512 bytes");
    refused(*state, "\"unique_key\":7", "unique_key", "1 to 512 bytes");
    char *field = text_field("unique_key", 512);
    accepted(*state, field);
    free(field);
    field = text_field("unique_key", 513);
    refused(*state, field, "unique_key", "1 to 512 bytes");
    free(field);
}

/* "tags":["t1","t2",...,LAST] */
static char *tags_field(int count, const char *last)
{
    struct buf text = BUF_EMPTY;
    buf_add_text(&text, "\"tags\":[");
    for (int i = 1; i < count; i++) buf_addf(&text, "\"t%d\",", i);
    buf_addf(&text, "%s]", last);
    return buf_take(&text);
}

static void test_tags(void **state)
{
    static const char nine[] = "\"\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4";
    const char *words = "a list of up to 32 texts of 1 to 64 characters";
    assert_string_equal(accepted(*state, "\"tags\":[\"a\",\"b c\"]")->tags, "[\"a\",\"b c\"]");
    assert_string_equal(accepted(*state, "\"tags\":[]")->tags, "[]");
    char *field = tags_field(32, "\"last\"");
    accepted(*state, field);
    free(field);
    field = tags_field(33, "\"last\"");
    refused(*state, field, "tags", words);
    free(field);
    struct buf wide = BUF_EMPTY; /* characters count, not bytes */
    buf_add_text(&wide, "\"");
    for (int i = 0; i < 8; i++) buf_add_text(&wide, nine + 1);
    char *exactly = xasprintf("\"tags\":[%s\"]", buf_text(&wide));
    char *one_more = xasprintf("\"tags\":[%sx\"]", buf_text(&wide));
    accepted(*state, exactly);
    refused(*state, one_more, "tags", words);
    free(exactly);
    free(one_more);
    buf_close(&wide);
    refused(*state, "\"tags\":[\"\"]", "tags", words);
    refused(*state, "\"tags\":[1]", "tags", words);
    refused(*state, "\"tags\":\"a\"", "tags", words);
}

static void test_all_errors_come_at_once(void **state)
{
    struct fixture *at = *state;
    assert_false(check(at, "\"priority\":99,\"retries\":-1,\"queue\":\"!\",\"nonsense\":1"));
    assert_int_equal(at->errors.count, 4);
    assert_non_null(strstr(at->err.text, "greet: nonsense: is not a field"));
    assert_non_null(strstr(at->err.text, "; priority: "));
}

static void test_errors_have_a_bound(void **state)
{
    struct fixture *at = *state;
    struct buf fields = BUF_EMPTY;
    for (int i = 0; i < 100; i++) buf_addf(&fields, "%s\"x%d\":1", i ? "," : "", i);
    assert_false(check(at, buf_text(&fields)));
    assert_int_equal(at->errors.count, DOOR_ERRORS_MAX);
    buf_close(&fields);
}

static void test_an_unreadable_entry_says_so(void **state)
{
    struct catalogue_entry *entry;
    struct err err;
    (void)state;
    assert_false(catalogue_entry_parse("{\"name\":\"x\"}", 12, &entry, &err));
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_false(catalogue_entry_parse("nonsense", 8, &entry, &err));
    const char *odd = "{\"name\":\"x\",\"schema\":{\"type\":\"nonsense\"}}";
    assert_false(catalogue_entry_parse(odd, strlen(odd), &entry, &err));
    assert_non_null(strstr(err.text, "params of x"));
}

#define DOOR_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOOR_TEST(test_the_task_says_what_the_submission_does_not),
        DOOR_TEST(test_null_counts_as_not_given),
        DOOR_TEST(test_unknown_fields_are_refused),
        DOOR_TEST(test_parameters_are_checked_against_the_schema),
        DOOR_TEST(test_what_nobody_can_keep_is_refused),
        DOOR_TEST(test_parameters_have_a_limit),
        DOOR_TEST(test_ids_are_of_these_days),
        DOOR_TEST(test_priorities),
        DOOR_TEST(test_the_choice_of_a_queue),
        DOOR_TEST(test_delays),
        DOOR_TEST(test_run_at),
        DOOR_TEST(test_expiry),
        DOOR_TEST(test_timeouts),
        DOOR_TEST(test_retries),
        DOOR_TEST(test_unique_keys),
        DOOR_TEST(test_tags),
        DOOR_TEST(test_all_errors_come_at_once),
        DOOR_TEST(test_errors_have_a_bound),
        DOOR_TEST(test_an_unreadable_entry_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
