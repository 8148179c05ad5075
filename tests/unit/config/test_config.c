/* test_config.c: which source wins, and what is said of a bad value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "place.h"

#include "base/log.h"

static void expect(const struct config *config, enum setting which, const char *text,
                   enum setting_origin origin, const char *origin_text)
{
    assert_string_equal(config_text(config, which), text);
    assert_int_equal(config_origin(config, which), origin);
    assert_string_equal(config_origin_text(config, which), origin_text);
}

static void config_has_the_documented_defaults(void **state)
{
    (void)state;
    struct config *config = place_load();
    expect(config, SET_TASKS_DIR, "./tasks.d", ORIGIN_DEFAULT, "default");
    expect(config, SET_NAMESPACE, "ctutor", ORIGIN_DEFAULT, "default");
    expect(config, SET_LOG, "info", ORIGIN_DEFAULT, "default");
    expect(config, SET_REDIS_PASSWORD, "", ORIGIN_DEFAULT, "default");
    assert_true(config_int(config, SET_PROCESSES) >= 1);
    assert_int_equal(config_int(config, SET_CONCURRENCY), 1000);
    assert_int_equal(config_int(config, SET_MAX_PARAMS), 1 << 20);
    assert_int_equal(config_int(config, SET_MAX_RESULT), 16 << 20);
    assert_int_equal(config_int(config, SET_MAX_WAITING), 5000000);
    assert_int_equal(config_duration_us(config, SET_RESULT_TTL), -1);
    assert_int_equal(config_duration_us(config, SET_TIMEOUT), INT64_C(3600000000));
    assert_int_equal(config_duration_us(config, SET_LEASE), 15000000);
    assert_int_equal(config_duration_us(config, SET_GRACE), 25000000);
    assert_int_equal(config_duration_us(config, SET_UNKNOWN_GRACE), 600000000);
    char **queues;
    struct err err;
    assert_true(config_queues(config, &queues, &err));
    assert_string_equal(queues[0], "high_priority");
    assert_string_equal(queues[1], "default");
    assert_string_equal(queues[2], "low_priority");
    assert_null(queues[3]);
    config_queues_free(queues);
    config_free(config);
}

static void config_flag_wins_over_environment_over_dotenv(void **state)
{
    (void)state;
    place_write(".env", "CTUTOR_QUEUES=c\n\nCTUTOR_GRACE=3s\nCTUTOR_LEASE=3s\nCTUTOR_LOG=\n");
    setenv("CTUTOR_QUEUES", "b", 1);
    setenv("CTUTOR_GRACE", "2s", 1);
    setenv("CTUTOR_LOG", "", 1); /* empty is unset */
    struct config *config = place_load();
    struct err err;
    assert_true(config_set_flag(config, SET_QUEUES, "a", &err));
    expect(config, SET_QUEUES, "a", ORIGIN_FLAG, "--queues");
    expect(config, SET_GRACE, "2s", ORIGIN_ENV, "environment");
    expect(config, SET_LEASE, "3s", ORIGIN_DOTENV, ".env:4");
    expect(config, SET_LOG, "info", ORIGIN_DEFAULT, "default");
    assert_int_equal(config_duration_us(config, SET_LEASE), 3000000);
    assert_false(config_set_flag(config, SET_QUEUES, "A B", &err));
    assert_non_null(strstr(err.text, "CTUTOR_QUEUES (from --queues) is 'A B': must be"));
    expect(config, SET_QUEUES, "a", ORIGIN_FLAG, "--queues");
    config_free(config);
}

static void config_takes_older_names_where_the_new_ones_are_silent(void **state)
{
    (void)state;
    place_write("secret", "from a file\n");
    place_write(".env", "FLOWER_USER=of the file\nDASHBOARD_USER=newer\n"
                        "FLOWER_PASSWORD_FILE=secret\nCTUTOR_HOSTS=a:1, https://b.example\n");
    struct config *config = place_load();
    expect(config, SET_DASHBOARD_USER, "newer", ORIGIN_DOTENV, ".env:2");
    expect(config, SET_DASHBOARD_PASSWORD, "from a file", ORIGIN_FILE, "file secret");
    expect(config, SET_HOSTS, "a:1, https://b.example", ORIGIN_DOTENV, ".env:4");
    config_free(config);
    setenv("FLOWER_USER", "older", 1);
    config = place_load();
    expect(config, SET_DASHBOARD_USER, "older", ORIGIN_ENV, "environment");
    config_free(config);
    setenv("FLOWER_PASSWORD", "x", 1);
    setenv("FLOWER_PASSWORD_FILE", "secret", 1);
    struct err err;
    assert_false(config_load(&config, &err));
    assert_string_equal(err.text,
                        "FLOWER_PASSWORD and FLOWER_PASSWORD_FILE are both set: keep one");
    unsetenv("FLOWER_USER");
    unsetenv("FLOWER_PASSWORD");
    unsetenv("FLOWER_PASSWORD_FILE");
}

static void config_reads_secrets_from_files(void **state)
{
    (void)state;
    char origin[128];
    place_write("redis", "open sesame\r\n");
    place_write("postgres", "p\n");
    place_write(".env", "POSTGRES_PASSWORD_FILE=postgres\n");
    snprintf(origin, sizeof origin, "%s/redis", place_path);
    setenv("REDIS_PASSWORD_FILE", origin, 1);
    struct config *config = place_load();
    snprintf(origin, sizeof origin, "file %s/redis", place_path);
    expect(config, SET_REDIS_PASSWORD, "open sesame", ORIGIN_FILE, origin);
    expect(config, SET_POSTGRES_PASSWORD, "p", ORIGIN_FILE, "file postgres");
    config_free(config);

    setenv("REDIS_PASSWORD", "x", 1);
    PLACE_EXPECT_ERROR("REDIS_PASSWORD and REDIS_PASSWORD_FILE are both set");
    unsetenv("REDIS_PASSWORD");
    setenv("REDIS_PASSWORD_FILE", "/nonexistent", 1);
    PLACE_EXPECT_ERROR("REDIS_PASSWORD_FILE: cannot open '/nonexistent': No such file");
    place_write("empty", "\n");
    setenv("REDIS_PASSWORD_FILE", "empty", 1);
    PLACE_EXPECT_ERROR("REDIS_PASSWORD (from file empty): must not be empty");
}

static void config_group_in_environment_switches_off_that_of_dotenv(void **state)
{
    (void)state;
    place_write(".env", "REDIS_URL=redis://dotenv\nREDIS_PASSWORD=d\n"
                        "POSTGRES_HOST=dotenv\nPOSTGRES_DB=d\nCTUTOR_LEASE=9s\n");
    struct config *config = place_load();
    expect(config, SET_REDIS_URL, "redis://dotenv", ORIGIN_DOTENV, ".env:1");
    expect(config, SET_POSTGRES_HOST, "dotenv", ORIGIN_DOTENV, ".env:3");
    config_free(config);

    setenv("REDIS_HOST", "env", 1);
    config = place_load();
    expect(config, SET_REDIS_URL, "", ORIGIN_DEFAULT, "default");
    expect(config, SET_REDIS_PASSWORD, "", ORIGIN_DEFAULT, "default");
    expect(config, SET_REDIS_HOST, "env", ORIGIN_ENV, "environment");
    expect(config, SET_POSTGRES_DB, "d", ORIGIN_DOTENV, ".env:4");
    config_free(config);

    setenv("DATABASE_URL", "postgresql://env/x", 1);
    config = place_load();
    expect(config, SET_POSTGRES_HOST, "localhost", ORIGIN_DEFAULT, "default");
    expect(config, SET_LEASE, "9s", ORIGIN_DOTENV, ".env:5");
    config_free(config);

    unsetenv("DATABASE_URL");
    place_write("pw", "x");
    setenv("POSTGRES_PASSWORD_FILE", "pw", 1); /* a _FILE counts as much */
    config = place_load();
    expect(config, SET_POSTGRES_HOST, "localhost", ORIGIN_DEFAULT, "default");
    config_free(config);
}

static void config_api_and_token_count_only_together_from_one_source(void **state)
{
    (void)state;
    place_write(".env", "CTUTOR_TOKEN=d\n");
    setenv("CTUTOR_API_URL", "http://env", 1);
    struct config *config = place_load();
    assert_false(config_wants_api(config));
    expect(config, SET_API_URL, "", ORIGIN_DEFAULT, "default");
    expect(config, SET_TOKEN, "", ORIGIN_DEFAULT, "default");
    config_free(config);

    place_write(".env", "CTUTOR_TOKEN=d\nCTUTOR_API_URL=https://dotenv\n");
    config = place_load();
    assert_true(config_wants_api(config));
    expect(config, SET_API_URL, "https://dotenv", ORIGIN_DOTENV, ".env:2");
    config_free(config);

    place_write("token", "t\n");
    setenv("CTUTOR_TOKEN_FILE", "token", 1);
    config = place_load();
    expect(config, SET_API_URL, "http://env", ORIGIN_ENV, "environment");
    expect(config, SET_TOKEN, "t", ORIGIN_FILE, "file token");
    config_free(config);

    setenv("CTUTOR_API_URL", "localhost:8000", 1);
    PLACE_EXPECT_ERROR("CTUTOR_API_URL (from environment)", "http://");
    setenv("CTUTOR_API_URL", "https://me:secret@host", 1);
    PLACE_EXPECT_ERROR("CTUTOR_API_URL (from environment): must be", "CTUTOR_TOKEN");
}

static void config_errors_name_variable_origin_value_and_remedy(void **state)
{
    (void)state;
    setenv("CTUTOR_LEASE", "soon", 1);
    PLACE_EXPECT_ERROR("CTUTOR_LEASE (from environment) is 'soon': must be a duration",
                       "from 3s to 1h");
    unsetenv("CTUTOR_LEASE");
    place_write(".env", "\nCTUTOR_LOG=loud\n");
    PLACE_EXPECT_ERROR("CTUTOR_LOG (from .env:2) is 'loud'", "error warn info debug");
    place_write(".env", "A='x");
    PLACE_EXPECT_ERROR(".env:1: the quote of A");
}

static void config_errors_do_not_repeat_secrets(void **state)
{
    (void)state;
    static const char *const bad[] = { "sesame", "redis://:sesame@h:x",
                                       "postgresql://a:sesame%zz@h/b", "host=a password=sesame b" };
    for (size_t i = 0; i < 4; i++) {
        const char *variable = i < 2 ? "REDIS_URL" : "DATABASE_URL";
        setenv(variable, bad[i], 1);
        struct config *config = NULL;
        struct err err;
        assert_false(config_load(&config, &err));
        assert_non_null(strstr(err.text, variable));
        assert_non_null(strstr(err.text, "(from environment): "));
        assert_null(strstr(err.text, "sesame"));
        unsetenv(variable);
    }
}

int main(void)
{
    log_init(LOG_ERROR, false, "test");
#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        PLACED(config_has_the_documented_defaults),
        PLACED(config_flag_wins_over_environment_over_dotenv),
        PLACED(config_takes_older_names_where_the_new_ones_are_silent),
        PLACED(config_reads_secrets_from_files),
        PLACED(config_group_in_environment_switches_off_that_of_dotenv),
        PLACED(config_api_and_token_count_only_together_from_one_source),
        PLACED(config_errors_name_variable_origin_value_and_remedy),
        PLACED(config_errors_do_not_repeat_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
