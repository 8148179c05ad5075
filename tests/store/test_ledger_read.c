/* What is shown: TaskInfo, TaskResult, lists, queues, workers, the catalogue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "support/ledger_fixture.h"

static const struct ident nobody;

static void publish(const struct ident *supervisor, const char *json)
{
    AWAIT(ledger_catalogue_publish(ledger_a, supervisor, json, strlen(json), on_plain, NULL));
}

#define INFO_KEYS                                                                                  \
    "task_id task_name status queue priority parameters tags attempt failures max_attempts "       \
    "progress created_at run_at started_at finished_at duration timeout expires_at unique_key "    \
    "cancel_requested_at worker task_version parent_id created_by error result_available"

static const char *keys(void)
{
    return sql("SELECT string_agg(k, ' ') FROM json_object_keys($J$%s$J$::json) k", answer.json);
}

static void info_has_the_fields_of_the_contract_in_order(void **state)
{
    (void)state;
    struct submission asked = submission_of("greet");
    asked.tags = "[\"x\"]";
    asked.timeout_us = 1500000;
    asked.retry.max = 2;
    asked.run_at_us = 1893456000000000; /* 2030-01-01 */
    insert_one(&asked);
    AWAIT(ledger_info(ledger_a, &asked.id, on_json, NULL));
    assert_string_equal(keys(), INFO_KEYS);
    assert_string_equal(field("task_id"), text_of(asked.id));
    assert_string_equal(field("status"), "PENDING");
    assert_string_equal(field("parameters"), "{\"message\": \"hi\"}");
    assert_string_equal(field("tags"), "[\"x\"]");
    assert_string_equal(field("timeout"), "1.5");
    assert_string_equal(field("max_attempts"), "3");
    assert_string_equal(field("run_at"), "2030-01-01T00:00:00.000Z");
    assert_string_equal(field("progress"),
                        "{\"percentage\":null,\"metadata\":null,\"updated_at\":null}");
    assert_string_equal(field("result_available"), "false");
    assert_string_equal(field("started_at"), "");
    struct ident unknown = ident_v7();
    AWAIT(ledger_info(ledger_a, &unknown, on_json, NULL));
    assert_string_equal(answer.json, "");
    AWAIT(ledger_result(ledger_a, &unknown, on_json, NULL));
    assert_string_equal(answer.json, "");
}

static void result_adds_the_value_and_all_errors(void **state)
{
    (void)state;
    struct ident owner = worker_living("w"), id = insert_named("greet");
    struct finish again = finish_of(id, started_by(&owner, id, 0), TASK_RETRY);
    again.error =
        "{\"kind\":\"exception\",\"message\":\"one\",\"traceback\":\"t\",\"details\":{\"a\":[]}}";
    again.error_len = strlen(again.error);
    finish_one(&owner, &again);
    AWAIT(ledger_info(ledger_a, &id, on_json, NULL));
    assert_string_equal(field("status"), "RETRY");
    assert_string_equal(field("worker"), "w");
    assert_string_equal(field("error,message"), "one");
    assert_true(sql_int("SELECT count(*) FROM (SELECT ($J$%s$J$::json->>'duration')::float8 d) x"
                        " WHERE d BETWEEN 0 AND 60",
                        answer.json) == 1);
    struct finish success = finish_of(id, started_by(&owner, id, 1), TASK_SUCCESS);
    success.percent = 50;
    success.metadata = "{\"n\": 1}";
    AWAIT(ledger_info(ledger_a, &id, on_json, NULL));
    assert_string_equal(field("status"), "STARTED");
    assert_string_equal(field("duration"), "");
    finish_one(&owner, &success);
    AWAIT(ledger_result(ledger_a, &id, on_json, NULL));
    assert_string_equal(keys(), INFO_KEYS " result errors");
    assert_string_equal(field("status"), "SUCCESS");
    assert_string_equal(field("attempt"), "2");
    assert_string_equal(field("result,ok"), "true");
    assert_string_equal(field("error"), "");
    assert_string_equal(field("progress,percentage"), "50");
    assert_string_equal(field("progress,metadata,n"), "1");
    assert_string_equal(field("task_version"), "v1");
    assert_string_equal(field("result_available"), "true");
    assert_string_equal(sql("SELECT string_agg(k, ' ') FROM json_object_keys($J$%s$J$::json"
                            "->'errors'->0) k",
                            answer.json),
                        "kind message traceback attempt at details");
    assert_string_equal(field("errors,0,details"), "{\"a\": []}");
    assert_string_equal(field("errors,0,attempt"), "1");
    assert_string_equal(field("errors,1"), "");
}

static void secrets_are_never_shown(void **state)
{
    (void)state;
    publish(&nobody, "{\"entries\":[{\"name\":\"greet\",\"secrets\":[\"message\"]}]}");
    struct ident id = insert_named("greet");
    AWAIT(ledger_info(ledger_a, &id, on_json, NULL));
    assert_string_equal(field("parameters"), "{\"message\": \"********\"}");
    publish(&nobody, "{\"entries\":[],\"removed\":[\"greet\"]}");
    AWAIT(ledger_result(ledger_a, &id, on_json, NULL));
    assert_string_equal(field("parameters"), "{\"message\": \"********\"}");
    assert_string_equal(sql("SELECT parameters->>'message' FROM tasks"), "hi");
}

/* The new version calls its secret otherwise; what was given to the old one stays hidden, and what
 * is secret only now is hidden everywhere. */
static void a_secret_outlives_its_version(void **state)
{
    (void)state;
    struct submission old = submission_of("greet"), fresh = submission_of("greet");
    old.schema_hash = "1";
    fresh.schema_hash = "2";
    old.params = fresh.params = "{\"message\": \"hi\", \"token\": \"x\"}";
    old.params_len = fresh.params_len = strlen(old.params);
    publish(&nobody, "{\"entries\":[{\"name\":\"greet\",\"schema_hash\":\"1\","
                     "\"secrets\":[\"message\"]}]}");
    insert_one(&old);
    publish(&nobody, "{\"entries\":[{\"name\":\"greet\",\"schema_hash\":\"2\","
                     "\"secrets\":[\"token\"]}]}");
    insert_one(&fresh);
    AWAIT(ledger_info(ledger_a, &old.id, on_json, NULL));
    assert_string_equal(field("parameters"),
                        "{\"token\": \"********\", \"message\": \"********\"}");
    AWAIT(ledger_info(ledger_a, &fresh.id, on_json, NULL));
    assert_string_equal(field("parameters"), "{\"token\": \"********\", \"message\": \"hi\"}");
}

/* Six tasks: greet waiting, started, success, failure; other waiting in low_priority with tags. */
static struct ident six[6];
static void make_six(void)
{
    struct ident owner = worker_living("w");
    for (int i = 0; i < 4; i++) six[i] = insert_named("greet");
    struct submission tagged = submission_of("other");
    tagged.tags = "[\"a\",\"b\"]";
    tagged.queue = "low_priority";
    six[4] = insert_one(&tagged).id;
    six[5] = insert_named("greet");
    started_by(&owner, six[1], 0);
    struct finish success = finish_of(six[2], started_by(&owner, six[2], 0), TASK_SUCCESS);
    struct finish failure = finish_of(six[3], started_by(&owner, six[3], 0), TASK_FAILURE);
    finish_one(&owner, &success);
    finish_one(&owner, &failure);
}

/* Which of the six a filter finds, as digits, newest first; list and match must agree. */
static const char *found(struct task_filter filter)
{
    static char digits[8];
    size_t count = 0;
    if (!filter.limit) filter.limit = 100;
    AWAIT(ledger_match(ledger_a, &filter, on_json, NULL));
    const char *matched =
        sql("SELECT string_agg(v, ',') FROM json_array_elements_text($J$%s$J$) v", answer.json);
    AWAIT(ledger_list(ledger_a, &filter, on_json, NULL));
    const char *listed = sql("SELECT string_agg(v->>'task_id', ',') FROM json_array_elements("
                             "$J$%s$J$::json->'tasks') v",
                             answer.json);
    assert_string_equal(matched, listed);
    for (const char *at = listed; *at; at += strcspn(at, ","), at += *at == ',') {
        for (int i = 0; i < 6; i++) {
            if (strncmp(at, text_of(six[i]), 36) == 0) digits[count++] = (char)('0' + i);
        }
    }
    digits[count] = '\0';
    return digits;
}

static void list_filters_newest_first(void **state)
{
    (void)state;
    make_six();
    const char *tags[] = { "b", "a" };
    assert_string_equal(found((struct task_filter){ 0 }), "543210");
    assert_string_equal(found((struct task_filter){ .statuses = "PENDING" }), "540");
    assert_string_equal(found((struct task_filter){ .statuses = "STARTED,FAILURE" }), "31");
    assert_string_equal(found((struct task_filter){ .statuses = "SUCCESS,FAILURE" }), "32");
    assert_string_equal(found((struct task_filter){ .name = "other" }), "4");
    assert_string_equal(
        found((struct task_filter){ .queue = "low_priority", .statuses = "PENDING" }), "4");
    assert_string_equal(found((struct task_filter){ .worker = "w" }), "321");
    assert_string_equal(found((struct task_filter){ .worker = "w", .statuses = "FAILURE" }), "3");
    assert_string_equal(found((struct task_filter){ .tags = tags, .tag_count = 2 }), "4");
    int64_t third =
        sql_int("SELECT micros(created_at) FROM tasks WHERE id = '%s'", text_of(six[3]));
    assert_string_equal(found((struct task_filter){ .since_us = third }), "543");
    assert_string_equal(found((struct task_filter){ .until_us = third }), "210");
    assert_string_equal(found((struct task_filter){ .limit = 2, .offset = 1 }), "43");
    assert_string_equal(keys(), "tasks total limit offset has_more");
    assert_string_equal(field("total"), "6");
    assert_string_equal(field("offset"), "1");
    assert_string_equal(field("has_more"), "true");
    assert_string_equal(found((struct task_filter){ .limit = 2, .offset = 4 }), "10");
    assert_string_equal(field("has_more"), "false");
}

static void a_retried_task_is_listed_by_its_new_status(void **state)
{
    (void)state;
    make_six();
    AWAIT(ledger_retry(ledger_a, &six[3], 1, "test", on_operate, NULL));
    assert_string_equal(found((struct task_filter){ .statuses = "FAILURE" }), "");
    assert_string_equal(found((struct task_filter){ .statuses = "PENDING" }), "5430");
    struct ident owner = worker_living("v");
    struct finish success = finish_of(six[3], started_by(&owner, six[3], 1), TASK_SUCCESS);
    finish_one(&owner, &success);
    assert_string_equal(found((struct task_filter){ .statuses = "FAILURE" }), "");
    assert_string_equal(found((struct task_filter){ .statuses = "SUCCESS" }), "32");
}

static void the_total_is_exact_to_ten_thousand(void **state)
{
    (void)state;
    insert_named("greet");
    sql("INSERT INTO tasks SELECT id_bound(now() - i * interval '1 ms'), 'greet', 'default', 5, "
        "'{}', NULL, now(), now(),"
        " -1, 0, 0, 0, 0, false, 3 FROM generate_series(1, 10000) i");
    sql("INSERT INTO outcomes (id, round, attempt, status, failures, losses, run_at, finished_at)"
        " SELECT id, 1, 1, 3, 0, 0, now(), now() FROM tasks t WHERE NOT EXISTS (SELECT FROM active "
        "a WHERE a.id = t.id)");
    AWAIT(ledger_list(ledger_a, &(struct task_filter){ .limit = 3 }, on_json, NULL));
    assert_string_equal(field("total"), "10000");
    assert_string_equal(field("total_capped"), "true");
    assert_string_equal(field("has_more"), "true");
}

static void queues_are_counted(void **state)
{
    (void)state;
    make_six();
    struct submission late = submission_of("greet");
    late.delay_us = 60000000;
    insert_one(&late);
    AWAIT(ledger_pause(ledger_a, "low_priority", true, "test", on_plain, NULL));
    AWAIT(ledger_queues(ledger_a, on_json, NULL));
    assert_string_equal(field("queues,0,name"), "default");
    assert_string_equal(
        sql("SELECT string_agg(k, ' ') FROM json_object_keys($J$%s$J$::json->'queues'->0) k",
            answer.json),
        "name waiting delayed running oldest_age paused workers");
    assert_string_equal(field("queues,0,waiting"), "2");
    assert_string_equal(field("queues,0,delayed"), "1");
    assert_string_equal(field("queues,0,running"), "1");
    assert_string_equal(field("queues,0,workers"), "1");
    assert_string_equal(field("queues,1,name"), "high_priority");
    assert_string_equal(field("queues,2,paused"), "true");
    assert_string_equal(field("queues,2,waiting"), "1");
}

static void on_beat(void *arg, const struct heartbeat_answer *heard, const struct err *err)
{
    (void)arg, (void)heard;
    answer.done = true;
    if (err) fail_msg("%s", err->text);
}

static void workers_add_up_their_runners(void **state)
{
    (void)state;
    struct ident supervisor = worker_living("w");
    struct worker_row runner = { .supervisor = supervisor,
                                 .name = "w",
                                 .host = "here",
                                 .boot_id = "b",
                                 .queues = (const char *const[]){ "default", NULL } };
    struct heartbeat beats[3] = { { supervisor, "{\"fenced\": 1}" } };
    for (int i = 0; i < 2; i++) {
        beats[i + 1].incarnation = runner.incarnation = ident_random();
        beats[i + 1].stats =
            "{\"running\": 2, \"rate\": 1.5, \"memory\": 100, \"loop_lag\": 0.25, \"fenced\": 1}";
        runner.pid = 100 + i;
        AWAIT(ledger_worker_register(ledger_a, &runner, on_plain, NULL));
    }
    AWAIT(ledger_heartbeat(ledger_a, beats, 3, on_beat, NULL));
    AWAIT(ledger_workers(ledger_a, on_json, NULL));
    assert_string_equal(field("workers,0,name"), "w");
    assert_string_equal(field("workers,0,running"), "4");
    assert_string_equal(field("workers,0,rate"), "3");
    assert_string_equal(field("workers,0,memory"), "200");
    assert_string_equal(field("workers,0,loop_lag"), "0.25");
    assert_string_equal(field("workers,0,fenced"), "3");
    assert_string_equal(field("workers,0,version"), "v1");
    assert_string_equal(field("workers,0,queues"), "[\"default\"]");
    assert_string_equal(field("workers,0,runners,1,pid"), "101");
    assert_string_equal(field("workers,0,runners,1,running"), "2");
    assert_string_equal(field("workers,1"), "");
}

#define ENTRY                                                                                      \
    "{\"name\":\"greet\",\"file\":\"tasks.d/greet.lua\",\"summary\":\"Greets\",\"queue\":null,"    \
    "\"priority\":5,\"timeout_us\":1500000,\"retry\":{\"max\":3,\"backoff\":\"linear\","           \
    "\"base_us\":1000000,\"cap_us\":60000000,\"jitter\":true},\"max_losses\":3,\"tags\":[],"       \
    "\"schema\":{\"type\":\"object\",\"properties\":{\"zebra\":{},\"a\":{}}},\"version\":\"v9\","  \
    "\"hooks\":[]}"

static void the_catalogue_keeps_what_was_published(void **state)
{
    (void)state;
    struct ident one = worker_living("one"), two = worker_living("two");
    publish(&one, "{\"entries\":[" ENTRY
                  "],\"errors\":[{\"file\":\"tasks.d/bad.lua\",\"error\":\"line 3\"}]}");
    AWAIT(ledger_catalogue_find(ledger_a, "greet", on_json, NULL));
    assert_string_equal(answer.json, ENTRY); /* to the byte, order of properties included */
    AWAIT(ledger_catalogue_find(ledger_a, "bad", on_json, NULL));
    assert_string_equal(answer.json, "");
    AWAIT(ledger_catalogue_list(ledger_a, NULL, on_json, NULL));
    assert_string_equal(field("0,name"), "bad");
    assert_string_equal(field("0,error"), "line 3");
    assert_string_equal(field("1,timeout"), "1.5");
    assert_string_equal(field("1,retries"),
                        "{\"max\":3,\"backoff\":\"linear\",\"base\":1,\"cap\":60,\"jitter\":true}");
    assert_string_equal(field("1,workers"), "[\"one\", \"two\"]");
    assert_string_equal(field("1,parameters,type"), "object");
    assert_string_equal(field("1,error"), "");
    publish(&one, "{\"entries\":[],\"errors\":[],\"removed\":[\"greet\"]}");
    AWAIT(ledger_catalogue_list(ledger_a, "greet", on_json, NULL));
    assert_string_equal(field("0,version"), "v9"); /* two carries it */
    struct death death = { .incarnation = two, .seen_heartbeat = -1 };
    AWAIT(ledger_declare_dead(ledger_a, &death, on_hints, NULL));
    publish(&one, "{\"entries\":[],\"removed\":[\"greet\"]}");
    AWAIT(ledger_catalogue_list(ledger_a, NULL, on_json, NULL));
    assert_string_equal(answer.json, "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(info_has_the_fields_of_the_contract_in_order),
        LEDGER_TEST(result_adds_the_value_and_all_errors),
        LEDGER_TEST(secrets_are_never_shown),
        LEDGER_TEST(a_secret_outlives_its_version),
        LEDGER_TEST(list_filters_newest_first),
        LEDGER_TEST(a_retried_task_is_listed_by_its_new_status),
        LEDGER_TEST(the_total_is_exact_to_ten_thousand),
        LEDGER_TEST(queues_are_counted),
        LEDGER_TEST(workers_add_up_their_runners),
        LEDGER_TEST(the_catalogue_keeps_what_was_published),
    };
    return cmocka_run_group_tests(tests, ledger_server_start, ledger_server_stop);
}
