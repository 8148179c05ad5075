/* test_stores.c: where Redis and Postgres are, from settings and from .ctutor/run.json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "place.h"

#include "base/log.h"

static void expect_redis(const char *shown, const char *password, int db)
{
    struct config *config = place_load();
    struct redis_target target;
    struct err err = { 0 };
    assert_true(config_redis_target(config, &target, &err));
    char *actual = config_redis_shown(config);
    assert_string_equal(actual, shown);
    assert_string_equal(target.password ? target.password : "", password);
    assert_int_equal(target.db, db);
    free(actual);
    redis_target_close(&target);
    config_free(config);
}

static void expect_postgres(const char *conninfo, const char *shown)
{
    struct config *config = place_load();
    struct err err = { 0 };
    char *actual = NULL;
    assert_true(config_postgres_conninfo(config, &actual, &err));
    assert_string_equal(actual, conninfo);
    free(actual);
    actual = config_postgres_shown(config);
    assert_string_equal(actual, shown);
    free(actual);
    config_free(config);
}

static void stores_default_to_localhost(void **state)
{
    (void)state;
    expect_redis("localhost:6379", "", 0);
    expect_postgres("user=postgres dbname=codeability host=localhost port=5432",
                    "user=postgres dbname=codeability host=localhost port=5432");
}

static void stores_are_built_from_their_groups(void **state)
{
    (void)state;
    setenv("REDIS_HOST", "/run/redis.sock", 1);
    setenv("REDIS_PASSWORD", "a b", 1);
    setenv("REDIS_DB", "7", 1);
    setenv("POSTGRES_HOST", "db", 1);
    setenv("POSTGRES_USER", "o'neil\\x", 1);
    setenv("POSTGRES_PASSWORD", "x' sslmode='disable", 1);
    expect_redis("unix:/run/redis.sock", "a b", 7);
    expect_postgres(
        "user='o\\'neil\\\\x' password='x\\' sslmode=\\'disable' dbname=codeability host=db "
        "port=5432",
        "user='o\\'neil\\\\x' dbname=codeability host=db port=5432");
}

static void stores_urls_win_and_are_completed(void **state)
{
    (void)state;
    setenv("REDIS_HOST", "unused", 1);
    setenv("REDIS_PASSWORD", "pw", 1);
    setenv("REDIS_DB", "7", 1);
    setenv("REDIS_URL", "redis://h", 1);
    expect_redis("h:6379", "pw", 7);
    setenv("REDIS_URL", "redis://:own@[::1]:1/2", 1);
    expect_redis("[::1]:1", "own", 2);
    setenv("REDIS_URL", "redis+sentinel://a,b/main", 1);
    expect_redis("main of the sentinels a:26379,b:26379", "pw", 7);
    setenv("POSTGRES_HOST", "unused", 1);
    setenv("POSTGRES_PASSWORD", "pw", 1);
    setenv("DATABASE_URL", "postgresql://me@h1,h2:99/d?target_session_attrs=read-write", 1);
    expect_postgres(
        "user=me password=pw dbname=d host=h1,h2 port=,99 target_session_attrs=read-write",
        "user=me dbname=d host=h1,h2 port=,99");
    setenv("DATABASE_URL", "postgresql://me:own@h/d", 1);
    expect_postgres("user=me password=own dbname=d host=h", "user=me dbname=d host=h");
}

static void write_run_json(void)
{
    assert_int_equal(mkdir(".ctutor", 0700), 0);
    place_write(".ctutor/secret", "r\n");
    place_write(".ctutor/run.json",
                "{\"redis\": \"unix:///x/redis.sock\", \"redis_password_file\": \"secret\","
                " \"postgres\": \"host=/x user=me dbname=d\"}");
}

static void go_down(void)
{
    assert_int_equal(mkdir("a", 0700), 0);
    assert_int_equal(mkdir("a/b", 0700), 0);
    assert_int_equal(chdir("a/b"), 0);
}

static void stores_of_the_nearest_ctutor_dir_are_used(void **state)
{
    (void)state;
    char path[128];
    write_run_json();
    go_down();
    char *dir = config_find_ctutor_dir();
    assert_string_equal(dir, place_path);
    free(dir);
    struct config *config = place_load();
    snprintf(path, sizeof path, "%s/.ctutor/run.json", place_path);
    assert_string_equal(config_origin_text(config, SET_REDIS_URL), path);
    assert_string_equal(config_origin_text(config, SET_DATABASE_URL), path);
    assert_int_equal(config_origin(config, SET_DATABASE_URL), ORIGIN_CTUTOR_DIR);
    config_free(config);
    expect_redis("unix:/x/redis.sock", "r", 0);
    expect_postgres("user=me dbname=d host=/x", "user=me dbname=d host=/x");
}

static void stores_configured_otherwise_leave_ctutor_dir_alone(void **state)
{
    (void)state;
    write_run_json();
    place_write(".env", "REDIS_DB=1\n");
    expect_redis("localhost:6379", "", 1);
    expect_postgres("user=me dbname=d host=/x", "user=me dbname=d host=/x");
    setenv("POSTGRES_DB", "e", 1);
    place_write(".ctutor/run.json", "broken, but not needed");
    expect_postgres("user=postgres dbname=e host=localhost port=5432",
                    "user=postgres dbname=e host=localhost port=5432");
}

static void stores_of_a_ctutor_dir_open_to_others_are_not_used(void **state)
{
    (void)state;
    write_run_json();
    assert_int_equal(chmod(".ctutor", 0770), 0);
    expect_redis("localhost:6379", "", 0);
    assert_int_equal(chmod(".ctutor", 0700), 0);
    assert_int_equal(chmod(".ctutor/run.json", 0606), 0);
    expect_redis("localhost:6379", "", 0);
    assert_int_equal(chmod(".ctutor/run.json", 0600), 0);
    expect_redis("unix:/x/redis.sock", "r", 0);
    if (geteuid() != 0) return;
    assert_int_equal(chown(".ctutor", 65534, 65534), 0);
    expect_redis("localhost:6379", "", 0);
}

static void stores_tell_of_a_broken_run_json(void **state)
{
    (void)state;
    write_run_json();
    place_write(".ctutor/run.json", "[1]");
    PLACE_EXPECT_ERROR("/.ctutor/run.json: is not a JSON object");
    place_write(".ctutor/run.json", "{\"postgres_password_file\": \"gone\"}");
    PLACE_EXPECT_ERROR("/.ctutor/run.json: cannot open", "/.ctutor/gone'");
    place_write(".ctutor/run.json", "{\"redis\": \"http://x\"}");
    PLACE_EXPECT_ERROR("REDIS_URL (from /tmp/", "must begin with redis://");
}

int main(void)
{
    log_init(LOG_ERROR, false, "test");
#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        PLACED(stores_default_to_localhost),
        PLACED(stores_are_built_from_their_groups),
        PLACED(stores_urls_win_and_are_completed),
        PLACED(stores_of_the_nearest_ctutor_dir_are_used),
        PLACED(stores_configured_otherwise_leave_ctutor_dir_alone),
        PLACED(stores_of_a_ctutor_dir_open_to_others_are_not_used),
        PLACED(stores_tell_of_a_broken_run_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
