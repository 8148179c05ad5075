/* test_redis_url.c: REDIS_URL taken apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "config/redis_url.h"

static struct redis_target parse(const char *url)
{
    struct redis_target target;
    struct err err = { 0 };
    if (!redis_url_parse(url, &target, &err)) fail_msg("%s: %s", url, err.text);
    return target;
}

static void check_text(const char *actual, const char *expected)
{
    if (expected)
        assert_string_equal(actual ? actual : "(NULL)", expected);
    else
        assert_null(actual);
}

static void expect_host(const char *url, const char *host, int port, const char *user,
                        const char *password, int db)
{
    struct redis_target target = parse(url);
    check_text(target.host, host);
    assert_int_equal(target.port, port);
    check_text(target.user, user);
    check_text(target.password, password);
    assert_int_equal(target.db, db);
    assert_null(target.unix_path);
    assert_null(target.sentinels);
    redis_target_close(&target);
}

static void redis_url_names_a_host(void **state)
{
    (void)state;
    expect_host("redis://localhost", "localhost", 6379, NULL, NULL, -1);
    expect_host("redis://h:7000/3", "h", 7000, NULL, NULL, 3);
    expect_host("redis://h/", "h", 6379, NULL, NULL, -1);
    expect_host("redis://[::1]:7000/0", "::1", 7000, NULL, NULL, 0);
    expect_host("redis://:secret@h:1", "h", 1, NULL, "secret", -1);
    expect_host("redis://me:p%40s%3As@h", "h", 6379, "me", "p@s:s", -1);
    expect_host("redis://me:a@b/c?d@h/2", "h", 6379, "me", "a@b/c?d", 2);
    expect_host("redis://me:50%@h", "h", 6379, "me", "50%", -1);
    expect_host("redis://h?db=4&password=x%26y", "h", 6379, NULL, "x&y", 4);
}

static void expect_socket(const char *url, const char *path, const char *password, int db)
{
    struct redis_target target = parse(url);
    check_text(target.unix_path, path);
    check_text(target.password, password);
    assert_int_equal(target.db, db);
    assert_null(target.host);
    redis_target_close(&target);
}

static void redis_url_names_a_socket(void **state)
{
    (void)state;
    expect_socket("unix:///run/redis.sock", "/run/redis.sock", NULL, -1);
    expect_socket("unix:///run/a%20b@c.sock?db=2", "/run/a b@c.sock", NULL, 2);
    expect_socket("unix://:pw@/run/redis.sock", "/run/redis.sock", "pw", -1);
}

static void redis_url_names_sentinels(void **state)
{
    (void)state;
    struct redis_target target = parse("redis+sentinel://u:pw@h1:1,h2,[::1]:3/main/5");
    check_text(target.sentinels, "h1:1,h2:26379,[::1]:3");
    check_text(target.master_name, "main");
    check_text(target.password, "pw");
    assert_int_equal(target.db, 5);
    char *masked = redis_url_masked(&target);
    assert_string_equal(masked, "redis+sentinel://u:***@h1:1,h2:26379,[::1]:3/main/5");
    free(masked);
    redis_target_close(&target);
}

static void redis_url_refuses_without_repeating_the_secret(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       "localhost",
                                       "rediss://:sesame@h",
                                       "redis://",
                                       "redis://:sesame@",
                                       "redis://sesame@h",
                                       "redis://:sesame@h:0",
                                       "redis://:sesame@h:x",
                                       "redis://:sesame@h:70000",
                                       "redis://:sesame@h/x",
                                       "redis://:sesame@h/70000",
                                       "redis://[::1",
                                       "redis://[::1]x",
                                       "redis://h?sesame=1",
                                       "redis://h?db=x",
                                       "unix://",
                                       "unix://run/redis.sock",
                                       "redis+sentinel://h1:1",
                                       "redis+sentinel:///main",
                                       "redis+sentinel://h1,,h2/main" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct redis_target target;
        struct err err = { 0 };
        if (redis_url_parse(bad[i], &target, &err)) fail_msg("%s was accepted", bad[i]);
        assert_int_equal(err.code, ERR_INPUT);
        assert_null(strstr(err.text, "sesame"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_url_names_a_host),
        cmocka_unit_test(redis_url_names_a_socket),
        cmocka_unit_test(redis_url_names_sentinels),
        cmocka_unit_test(redis_url_refuses_without_repeating_the_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
