/* test_print.c: settings handed to a child and shown to a person. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "place.h"

#include <jansson.h>

#include "base/log.h"

static struct config *load_with_secrets(void)
{
    setenv("REDIS_URL", "redis://me:sesame@h:1/2", 1);
    setenv("DATABASE_URL", "postgresql://me:sesame@h/d", 1);
    setenv("REDIS_PASSWORD", "sesame \"\\\n\u20ac", 1);
    setenv("CTUTOR_TIMEOUT", "false", 1);
    struct config *config = place_load();
    struct err err;
    assert_true(config_set_flag(config, SET_PROCESSES, "3", &err));
    return config;
}

static void transfer_keeps_values_and_origins(void **state)
{
    (void)state;
    struct config *config = load_with_secrets();
    struct config *copy = NULL;
    struct buf json = BUF_EMPTY;
    struct err err = { 0 };
    config_serialize(config, &json);
    place_clear_environment();
    if (!config_deserialize(json.data, json.len, &copy, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < SETTING_COUNT; i++) {
        enum setting which = (enum setting)i;
        assert_string_equal(config_text(copy, which), config_text(config, which));
        assert_int_equal(config_origin(copy, which), config_origin(config, which));
        assert_string_equal(config_origin_text(copy, which), config_origin_text(config, which));
    }
    assert_int_equal(config_int(copy, SET_PROCESSES), 3);
    assert_int_equal(config_duration_us(copy, SET_TIMEOUT), -1);
    buf_close(&json);
    config_free(copy);
    config_free(config);
}

static void transfer_refuses_what_it_did_not_write(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{\"CTUTOR_LOG\":1}",
        "{\"CTUTOR_LOG\":{\"text\":\"info\"}}",
        "{\"CTUTOR_LOG\":{\"text\":\"info\",\"origin\":99,\"origin_text\":\"x\"}}",
        "{\"CTUTOR_LOG\":{\"text\":\"loud\",\"origin\":0,\"origin_text\":\"x\"}}"
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct config *config = NULL;
        struct err err;
        assert_false(config_deserialize(bad[i], strlen(bad[i]), &config, &err));
        assert_null(config);
    }
}

static void print_shows_origin_and_masks_secrets(void **state)
{
    (void)state;
    struct config *config = load_with_secrets();
    struct buf out = BUF_EMPTY;
    config_print(config, &out, false);
    assert_null(strstr(out.data, "sesame"));
    assert_non_null(strstr(out.data, "REDIS_URL, REDIS_URL_FILE\n"));
    assert_non_null(strstr(out.data, "now redis://me:***@h:1/2 (from environment)"));
    assert_non_null(
        strstr(out.data, "now user=me password=*** dbname=d host=h (from environment)"));
    assert_non_null(strstr(out.data, "CTUTOR_PROCESSES, --processes\n"));
    assert_non_null(strstr(out.data, "default cores; now 3 (from --processes)"));
    assert_non_null(strstr(out.data, "error warn info debug"));
    buf_close(&out);
    config_free(config);
}

static const char *field(json_t *array, enum setting which, const char *key)
{
    return json_string_value(json_object_get(json_array_get(array, (size_t)which), key));
}

static void print_json_says_the_same(void **state)
{
    (void)state;
    struct config *config = load_with_secrets();
    struct buf out = BUF_EMPTY;
    config_print(config, &out, true);
    assert_null(strstr(out.data, "sesame"));
    json_t *array = json_loadb(out.data, out.len, 0, NULL);
    assert_int_equal(json_array_size(array), SETTING_COUNT);
    assert_string_equal(field(array, SET_REDIS_PASSWORD, "variable"), "REDIS_PASSWORD");
    assert_string_equal(field(array, SET_REDIS_PASSWORD, "file_variable"), "REDIS_PASSWORD_FILE");
    assert_string_equal(field(array, SET_REDIS_PASSWORD, "value"), "***");
    assert_string_equal(field(array, SET_PROCESSES, "flag"), "processes");
    assert_string_equal(field(array, SET_PROCESSES, "default"), "cores");
    assert_string_equal(field(array, SET_PROCESSES, "value"), "3");
    assert_string_equal(field(array, SET_PROCESSES, "origin"), "--processes");
    assert_null(field(array, SET_POSTGRES_PASSWORD, "value"));
    json_decref(array);
    buf_close(&out);
    config_free(config);
}

static void table_is_complete(void **state)
{
    (void)state;
    for (int i = 0; i < SETTING_COUNT; i++) {
        assert_non_null(setting_table[i].variable);
        assert_non_null(setting_table[i].help);
        assert_true(setting_table[i].type != SETTING_CHOICE || setting_table[i].choices);
    }
}

int main(void)
{
    log_init(LOG_ERROR, false, "test");
#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        PLACED(transfer_keeps_values_and_origins),
        PLACED(transfer_refuses_what_it_did_not_write),
        PLACED(print_shows_origin_and_masks_secrets),
        PLACED(print_json_says_the_same),
        PLACED(table_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
