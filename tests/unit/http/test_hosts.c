/* test_hosts.c: by which names a server may be asked (hosts.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "http/hosts.h"

static const struct hosts hosts = {
    "192.168.1.5",
    "build7:8000, https://tasks.example.org,http://plain.example,https://odd.example:8443"
};

static void a_host_is_one_of_ours_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        enum host is;
    } rows[] = {
        { "localhost", HOST_KNOWN },
        { "LocalHost:8000", HOST_KNOWN },
        { "127.0.0.1:1", HOST_KNOWN },
        { "[::1]:8000", HOST_KNOWN },
        { "192.168.1.5:8000", HOST_KNOWN },
        { "build7:8000", HOST_KNOWN },
        { "plain.example:81", HOST_KNOWN },
        { "tasks.example.org", HOST_HTTPS },
        { "TASKS.example.org:443", HOST_HTTPS },
        { "odd.example:8443", HOST_HTTPS },
        { "odd.example", HOST_UNKNOWN },
        { "build7", HOST_UNKNOWN },
        { "build7:8001", HOST_UNKNOWN },
        { "build7:80000", HOST_UNKNOWN },
        { "", HOST_UNKNOWN },
        { "localhost:", HOST_UNKNOWN },
        { "localhost:80x", HOST_UNKNOWN },
        { "localhost.", HOST_UNKNOWN },
        { "localhost.evil.example", HOST_UNKNOWN },
        { "tasks.example.org.evil.example", HOST_UNKNOWN },
        { "https://tasks.example.org", HOST_UNKNOWN },
        { "127.0.0.2", HOST_UNKNOWN },
        { "[::1", HOST_UNKNOWN },
        { ",", HOST_UNKNOWN },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (hosts_find(&hosts, rows[i].host) != rows[i].is) fail_msg("%s", rows[i].host);
    const struct hosts six = { "fe80::1", "" };
    assert_int_equal(hosts_find(&six, "[fe80::1]:8000"), HOST_KNOWN);
    assert_int_equal(hosts_find(&six, "[fe80::2]:8000"), HOST_UNKNOWN);
    assert_int_equal(hosts_find(&six, "fe80::1"), HOST_UNKNOWN);
}

static void an_origin_is_the_host_or_a_listed_name(void **state)
{
    (void)state;
    static const struct {
        const char *origin, *host;
        bool is_own;
    } rows[] = {
        { "http://localhost:8000", "localhost:8000", true },
        { "https://LOCALHOST:8000", "localhost:8000", true },
        { "http://localhost:3000", "localhost:8000", false },
        { "http://localhost", "localhost:8000", false },
        { "http://evil.example", "localhost:8000", false },
        { "https://tasks.example.org", "localhost:8000", true }, /* behind a proxy */
        { "https://tasks.example.org", "tasks.example.org", true },
        { "http://tasks.example.org", "tasks.example.org", false },
        { "http://tasks.example.org", "localhost:8000", false },
        { "https://tasks.example.org:444", "localhost:8000", false },
        { "https://tasks.example.org.evil.example", "localhost:8000", false },
        { "http://build7:8000", "localhost:8000", true },
        { "https://plain.example", "localhost:8000", false },
        { "null", "localhost:8000", false },
        { "", "", false },
        { "http://", "", true }, /* as nobody sends it; the empty Host is refused */
        { "file://localhost:8000", "localhost:8000", false },
        { "http://localhost:8000/", "localhost:8000", false },
        { "http://localhost:8000", NULL, false },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (hosts_own(&hosts, rows[i].origin, rows[i].host) != rows[i].is_own)
            fail_msg("%s at %s", rows[i].origin, rows[i].host);
}

static void loopback_is_where_nobody_else_comes(void **state)
{
    (void)state;
    assert_true(address_is_loopback("127.0.0.1"));
    assert_true(address_is_loopback("127.1.2.3"));
    assert_true(address_is_loopback("::1"));
    assert_true(address_is_loopback("localhost"));
    assert_false(address_is_loopback("0.0.0.0"));
    assert_false(address_is_loopback("::"));
    assert_false(address_is_loopback("192.168.1.5"));
    assert_false(address_is_loopback("128.0.0.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_is_one_of_ours_or_not),
        cmocka_unit_test(an_origin_is_the_host_or_a_listed_name),
        cmocka_unit_test(loopback_is_where_nobody_else_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
