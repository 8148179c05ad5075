/* The Redis connection against a real server: every command ends exactly once, whatever happens to
 * the server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/redis.h"
#include "io/redis_command.h"
#include "support/servers.h"

#define PATIENCE_US 20000000

struct fixture {
    struct loop loop;
    struct test_redis *server;
    struct redis_target target;
    struct redis *redis;
    int connected, lost, messages;
    char last[64]; /* channel=text of the last message */
};

/* One command's end, counted. */
struct outcome {
    int ended;
    enum err_code code;
    enum redis_type type;
    int64_t integer;
    char err_text[1000];
    char text[1024];
    size_t len;
};

static void on_connected(void *arg) { ((struct fixture *)arg)->connected++; }

static void on_lost(void *arg, const struct err *why)
{
    assert_int_equal(why->code, ERR_STORE);
    ((struct fixture *)arg)->lost++;
}

static void on_message(void *arg, const char *channel, size_t channel_len, const char *text,
                       size_t len)
{
    struct fixture *at = arg;
    snprintf(at->last, sizeof at->last, "%.*s=%.*s", (int)channel_len, channel, (int)len, text);
    at->messages++;
}

static void on_done(void *arg, const struct redis_reply *reply, const struct err *err)
{
    struct outcome *out = arg;
    assert_true(!reply != !err);
    out->ended++;
    out->code = err ? err->code : ERR_NONE;
    if (err) snprintf(out->err_text, sizeof out->err_text, "%s", err->text);
    if (!reply) return;
    out->type = reply->type;
    out->integer = reply->integer;
    out->len = reply->len;
    if (reply->text && reply->len < sizeof out->text) memcpy(out->text, reply->text, reply->len);
}

static void turn_until(struct fixture *at, const int *counter, int value)
{
    int64_t end_us = clock_boot_us() + PATIENCE_US;
    while (*counter < value) {
        if (clock_boot_us() > end_us) fail_msg("waited in vain for %d, have %d", value, *counter);
        loop_turn(&at->loop, true);
    }
}

static void send_waiting(struct fixture *at, struct outcome *out, const char *const *argv)
{
    struct redis_command command = { .argv = argv, .wait_for_connection = true };
    while (argv[command.argc]) command.argc++;
    redis_send(at->redis, &command, on_done, out);
    assert_int_equal(out->ended, 0); /* never before redis_send returned */
}
#define ARGV(...) ((const char *const[]){ __VA_ARGS__, NULL })

static struct outcome ask(struct fixture *at, const char *const *argv)
{
    struct outcome out = { 0 };
    send_waiting(at, &out, argv);
    turn_until(at, &out.ended, 1);
    return out;
}

static void open_redis(struct fixture *at)
{
    struct redis_hooks hooks = { at, on_connected, on_lost, on_message };
    at->redis = redis_new(&at->loop, &at->target, &hooks);
}

static int set_up(void **state)
{
    struct fixture *at = xcalloc(1, sizeof *at);
    loop_init(&at->loop);
    at->server = test_redis_start();
    at->target.unix_path = (char *)(uintptr_t)test_redis_socket(at->server);
    open_redis(at);
    *state = at;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *at = *state;
    if (at->redis) redis_free(at->redis);
    loop_close(&at->loop);
    test_redis_stop(at->server);
    free(at);
    return 0;
}

static void carries_any_bytes(void **state)
{
    struct fixture *at = *state;
    char bytes[256];
    for (int i = 0; i < 256; i++) bytes[i] = (char)i;
    struct redis_command set = { .argc = 3,
                                 .argv = (const char *[]){ "SET", bytes, bytes },
                                 .argv_len = (size_t[]){ 3, 256, 256 },
                                 .wait_for_connection = true };
    struct redis_command get = { .argc = 2,
                                 .argv = (const char *[]){ "GET", bytes },
                                 .argv_len = (size_t[]){ 3, 256 },
                                 .wait_for_connection = true };
    struct outcome one = { 0 }, two = { 0 };
    redis_send(at->redis, &set, on_done, &one);
    redis_send(at->redis, &get, on_done, &two);
    turn_until(at, &two.ended, 1);
    assert_int_equal(one.code, ERR_NONE);
    assert_int_equal(two.len, 256);
    struct outcome length = ask(at, ARGV("DBSIZE"));
    assert_int_equal(length.integer, 1);
}

static void a_large_value_comes_back_whole(void **state)
{
    struct fixture *at = *state;
    size_t len = 3 * 1024 * 1024;
    char *value = xcalloc(1, len + 1);
    memset(value, 'x', len);
    assert_int_equal(ask(at, ARGV("SET", "k", value)).code, ERR_NONE);
    assert_int_equal(ask(at, ARGV("GET", "k")).len, len);
    free(value);
}

struct counting {
    int ended;
    int in_order;
    int lost;
    int cancelled;
};

static void on_count(void *arg, const struct redis_reply *reply, const struct err *err)
{
    struct counting *count = arg;
    count->ended++;
    if (reply && reply->integer == count->ended) count->in_order++;
    if (err && err->code == ERR_STORE) count->lost++;
    if (err && err->code == ERR_CANCELLED) count->cancelled++;
}

static void send_many(struct fixture *at, struct counting *count, int many, const char *const *argv)
{
    struct redis_command command = { .argv = argv };
    while (argv[command.argc]) command.argc++;
    for (int i = 0; i < many; i++) redis_send(at->redis, &command, on_count, count);
}

static void ten_thousand_in_one_turn_are_answered_in_order(void **state)
{
    struct fixture *at = *state;
    struct counting count = { 0 };
    turn_until(at, &at->connected, 1);
    send_many(at, &count, 10000, ARGV("INCR", "n"));
    assert_int_equal(count.ended, 0);
    turn_until(at, &count.ended, 10000);
    assert_int_equal(count.in_order, 10000);
}

static void replies_of_every_kind_are_told_apart(void **state)
{
    struct fixture *at = *state;
    assert_int_equal(ask(at, ARGV("GET", "absent")).type, REDIS_NIL);
    assert_int_equal(ask(at, ARGV("INCR", "n")).type, REDIS_INT);
    assert_int_equal(ask(at, ARGV("PING")).type, REDIS_TEXT);
    assert_int_equal(ask(at, ARGV("KEYS", "*")).type, REDIS_ARRAY);
    struct outcome wrong = ask(at, ARGV("LPUSH", "n", "x"));
    assert_int_equal(wrong.code, ERR_INTERNAL);
    assert_non_null(strstr(wrong.err_text, "WRONGTYPE"));
}

static void a_command_past_its_deadline_tears_the_connection_down(void **state)
{
    struct fixture *at = *state;
    turn_until(at, &at->connected, 1);
    test_redis_kill(at->server, SIGSTOP);
    struct outcome patient = { 0 }, hasty = { 0 };
    send_waiting(at, &patient, ARGV("PING"));
    struct redis_command command = { .argc = 1, .argv = ARGV("PING"), .deadline_us = 50000 };
    int64_t begin_us = clock_boot_us();
    redis_send(at->redis, &command, on_done, &hasty);
    turn_until(at, &hasty.ended, 1);
    assert_in_range(clock_boot_us() - begin_us, 50000, 2000000);
    assert_int_equal(hasty.code, ERR_STORE);
    assert_int_equal(patient.code, ERR_STORE);
    assert_int_equal(patient.ended, 1);
    assert_int_equal(at->lost, 1);
    test_redis_kill(at->server, SIGCONT);
    turn_until(at, &at->connected, 2);
    assert_int_equal(ask(at, ARGV("PING")).code, ERR_NONE);
}

static void a_killed_server_ends_what_is_in_flight_once_and_is_found_again(void **state)
{
    struct fixture *at = *state;
    struct counting count = { 0 };
    turn_until(at, &at->connected, 1);
    send_many(at, &count, 100, ARGV("BLPOP", "nothing", "0"));
    loop_turn(&at->loop, false);
    test_redis_kill(at->server, SIGKILL);
    turn_until(at, &at->lost, 1);
    turn_until(at, &count.ended, 100);
    assert_int_equal(count.lost, 100);
    struct outcome refused = { 0 };
    struct redis_command ping = { .argc = 1, .argv = ARGV("PING") };
    redis_send(at->redis, &ping, on_done, &refused);
    assert_int_equal(refused.ended, 0);
    turn_until(at, &refused.ended, 1);
    assert_int_equal(refused.code, ERR_STORE);
    assert_false(redis_is_up(at->redis));
    test_redis_restart(at->server);
    turn_until(at, &at->connected, 2);
    assert_int_equal(ask(at, ARGV("PING")).code, ERR_NONE);
    assert_int_equal(count.ended, 100);
    assert_int_equal(at->lost, 1);
}

static void a_refused_connection_is_tried_again(void **state)
{
    struct fixture *at = *state;
    redis_free(at->redis);
    test_redis_kill(at->server, SIGKILL);
    open_redis(at);
    struct outcome early = { 0 }, late = { 0 };
    struct redis_command ping = {
        .argc = 1, .argv = ARGV("PING"), .deadline_us = 300000, .wait_for_connection = true
    };
    redis_send(at->redis, &ping, on_done, &early);
    turn_until(at, &early.ended, 1);
    assert_int_equal(early.code, ERR_STORE);
    assert_non_null(strstr(early.err_text, "connection refused"));
    ping.deadline_us = PATIENCE_US;
    redis_send(at->redis, &ping, on_done, &late);
    test_redis_restart(at->server);
    turn_until(at, &late.ended, 1);
    assert_int_equal(late.code, ERR_NONE);
    assert_int_equal(at->lost, 0); /* it never was up */
}

static void freeing_cancels_what_is_in_flight(void **state)
{
    struct fixture *at = *state;
    struct counting count = { 0 };
    struct outcome waiting = { 0 };
    turn_until(at, &at->connected, 1);
    send_many(at, &count, 100, ARGV("BLPOP", "nothing", "0"));
    loop_turn(&at->loop, false);
    redis_rebuild(at->redis, "a test");
    send_many(at, &count, 1, ARGV("PING"));
    send_waiting(at, &waiting, ARGV("PING"));
    assert_int_equal(count.ended, 0); /* failures never call back into their cause */
    redis_free(at->redis);
    at->redis = NULL;
    assert_int_equal(count.ended, 101);
    assert_int_equal(waiting.code, ERR_CANCELLED);
    for (int i = 0; i < 5; i++) loop_turn(&at->loop, false);
    assert_int_equal(count.ended, 101);

    open_redis(at);
    struct counting flight = { 0 };
    turn_until(at, &at->connected, 2);
    send_many(at, &flight, 100, ARGV("BLPOP", "nothing", "0"));
    redis_free(at->redis);
    at->redis = NULL;
    assert_int_equal(flight.cancelled, 100);
}

static void free_in_completion(void *arg, const struct redis_reply *reply, const struct err *err)
{
    (void)reply, (void)err;
    struct fixture *at = arg;
    struct redis *redis = at->redis;
    at->redis = NULL;
    if (redis) redis_free(redis);
}

static void freeing_within_a_completion_is_safe(void **state)
{
    struct fixture *at = *state;
    struct counting count = { 0 };
    struct redis_command ping = { .argc = 1, .argv = ARGV("PING") };
    turn_until(at, &at->connected, 1);
    redis_send(at->redis, &ping, free_in_completion, at);
    send_many(at, &count, 10, ARGV("PING"));
    turn_until(at, &count.ended, 10);
    assert_int_equal(count.cancelled, 10);
}

static void a_script_survives_the_loss_of_the_script_cache(void **state)
{
    struct fixture *at = *state;
    static struct redis_script echo = { .name = "echo", .text = "return KEYS[1]..ARGV[1]" };
    struct redis_command args = { .argc = 2, .argv = ARGV("a", "b"), .wait_for_connection = true };
    for (int i = 0; i < 3; i++) {
        struct outcome out[3] = { 0 };
        for (int j = 0; j < 3; j++) redis_script(at->redis, &echo, 1, &args, on_done, &out[j]);
        turn_until(at, &out[2].ended, 1);
        for (int j = 0; j < 3; j++) assert_string_equal(out[j].text, "ab");
        ask(at, ARGV("SCRIPT", "FLUSH"));
    }
    static struct redis_script broken = { .name = "broken", .text = "return nosuch.thing" };
    struct outcome out = { 0 };
    redis_script(at->redis, &broken, 1, &args, on_done, &out);
    turn_until(at, &out.ended, 1);
    assert_int_equal(out.code, ERR_INTERNAL);
    assert_non_null(strstr(out.err_text, "broken"));
}

static void the_script_name_is_sha1(void **state)
{
    (void)state;
    char hex[41];
    redis_sha1_hex("abc", 3, hex);
    assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
    redis_sha1_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, hex);
    assert_string_equal(hex, "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
}

static void the_password_and_database_are_given_at_each_connect(void **state)
{
    struct fixture *at = *state;
    ask(at, ARGV("CONFIG", "SET", "requirepass", "sesame"));
    redis_free(at->redis);
    at->connected = 0;
    at->target.db = 3;
    open_redis(at);
    struct outcome denied = { 0 };
    struct redis_command ping = {
        .argc = 1, .argv = ARGV("PING"), .deadline_us = 200000, .wait_for_connection = true
    };
    redis_send(at->redis, &ping, on_done, &denied);
    turn_until(at, &denied.ended, 1);
    assert_int_equal(denied.code, ERR_STORE);
    assert_non_null(strstr(denied.err_text, "NOAUTH"));
    redis_free(at->redis);
    at->target.password = (char[]){ "sesame" };
    open_redis(at);
    for (int i = 1; i < 3; i++) {
        turn_until(at, &at->connected, i);
        struct outcome info = ask(at, ARGV("CLIENT", "INFO"));
        assert_non_null(strstr(info.text, "name=ctutor"));
        assert_non_null(strstr(info.text, "db=3"));
        redis_rebuild(at->redis, "a test");
    }
}

static void a_read_only_server_is_left_and_a_full_one_is_not(void **state)
{
    struct fixture *at = *state;
    turn_until(at, &at->connected, 1);
    ask(at, ARGV("CONFIG", "SET", "maxmemory", "1"));
    struct outcome full = ask(at, ARGV("SET", "k", "v"));
    assert_int_equal(full.code, ERR_STORE);
    assert_non_null(strstr(full.err_text, "OOM"));
    assert_int_equal(at->lost, 0);
    ask(at, ARGV("CONFIG", "SET", "maxmemory", "0"));
    ask(at, ARGV("REPLICAOF", "127.0.0.1", "1"));
    struct outcome read_only = ask(at, ARGV("SET", "k", "v"));
    assert_int_equal(read_only.code, ERR_STORE);
    turn_until(at, &at->lost, 1);
    turn_until(at, &at->connected, 2);
}

#define WRAPPED(text)                                                                              \
    "return redis.error_reply('ERR Error running script (call to f_1): @user_script:1: "           \
    "@user_script: 1: " text "')"

static enum err_code code_of(struct fixture *at, struct redis_script *script)
{
    struct redis_command none = { .argc = 0, .wait_for_connection = true };
    struct outcome out = { 0 };
    redis_script(at->redis, script, 0, &none, on_done, &out);
    turn_until(at, &out.ended, 1);
    return out.code;
}

/* As Redis 6 says it from within a script. */
static void the_trouble_within_a_script_is_found(void **state)
{
    struct fixture *at = *state;
    static struct redis_script full = { .name = "full", .text = WRAPPED("-OOM command not") };
    static struct redis_script replica = { .name = "replica", .text = WRAPPED("-READONLY You") };
    static struct redis_script wrong = { .name = "wrong", .text = WRAPPED("no such thing") };
    turn_until(at, &at->connected, 1);
    assert_int_equal(code_of(at, &full), ERR_STORE);
    assert_int_equal(code_of(at, &wrong), ERR_INTERNAL);
    assert_int_equal(at->lost, 0);
    assert_int_equal(code_of(at, &replica), ERR_STORE);
    turn_until(at, &at->lost, 1);
}

static void a_subscription_stands_again_after_a_restart(void **state)
{
    struct fixture *at = *state;
    struct fixture other = { 0 }; /* only its counters are used */
    struct redis_hooks hooks = { &other, on_connected, on_lost, on_message };
    struct redis *listener = redis_new(&at->loop, &at->target, &hooks);
    redis_subscribe(listener, ARGV("one", "two"), 2);
    for (int i = 1; i < 3; i++) {
        turn_until(at, &other.connected, i);
        assert_int_equal(ask(at, ARGV("PUBLISH", "two", "hello")).code, ERR_NONE);
        turn_until(at, &other.messages, i);
        assert_string_equal(other.last, "two=hello");
        if (i == 1) test_redis_restart(at->server);
    }
    assert_int_equal(other.lost, 1);
    redis_free(listener);
}

static void a_silent_server_is_noticed_within_ten_seconds(void **state)
{
    struct fixture *at = *state;
    turn_until(at, &at->connected, 1);
    int64_t begin_us = clock_boot_us();
    test_redis_kill(at->server, SIGSTOP);
    turn_until(at, &at->lost, 1);
    assert_in_range(clock_boot_us() - begin_us, 1000000, 10000000);
    test_redis_kill(at->server, SIGCONT);
    turn_until(at, &at->connected, 2);
}

static void no_descriptor_is_inherited(void **state)
{
    struct fixture *at = *state;
    turn_until(at, &at->connected, 1);
    int sockets = 0;
    for (int fd = 3; fd < 256; fd++) {
        int type, flags = fcntl(fd, F_GETFD);
        socklen_t len = sizeof type;
        if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len)) continue;
        sockets++;
        assert_true(flags & FD_CLOEXEC);
    }
    assert_true(sockets > 0);
}

/* A TCP listener that accepts nothing: the kernel does, so connecting works and then all is silent.
 */
static int listen_silently(int *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 5), 0);
    getsockname(fd, (struct sockaddr *)&address, &len);
    *port = ntohs(address.sin_port);
    return fd;
}

static void tcp_tries_each_address_of_a_name_and_tells_a_refusal_at_once(void **state)
{
    struct fixture *at = *state;
    int port, fd = listen_silently(&port);
    close(fd); /* now the port is closed */
    redis_free(at->redis);
    at->target = (struct redis_target){ .host = (char[]){ "localhost" }, .port = port };
    open_redis(at);
    struct outcome out = { 0 };
    struct redis_command ping = {
        .argc = 1, .argv = ARGV("PING"), .deadline_us = 1000000, .wait_for_connection = true
    };
    redis_send(at->redis, &ping, on_done, &out);
    turn_until(at, &out.ended, 1);
    assert_non_null(strstr(out.err_text, "connection refused"));
}

static void freeing_while_it_connects_or_looks_up_a_name_is_safe(void **state)
{
    struct fixture *at = *state;
    int port, fd = listen_silently(&port);
    redis_free(at->redis);
    at->target = (struct redis_target){ .host = (char[]){ "127.0.0.1" }, .port = port };
    for (int turns = 0; turns < 6; turns++) {
        open_redis(at);
        for (int i = 0; i < turns; i++) loop_turn(&at->loop, false);
        redis_free(at->redis);
    }
    at->redis = NULL;
    close(fd);
}

struct sentinel {
    int fd;
    int master_port;
};

/* Whoever asks anything is told where the master is. */
static void *play_sentinel(void *arg)
{
    struct sentinel *sentinel = arg;
    char question[256], answer[64], port[8];
    snprintf(port, sizeof port, "%d", sentinel->master_port);
    snprintf(answer, sizeof answer, "*2\r\n$9\r\n127.0.0.1\r\n$%zu\r\n%s\r\n", strlen(port), port);
    for (int fd; (fd = accept(sentinel->fd, NULL, NULL)) >= 0; close(fd))
        if (read(fd, question, sizeof question) > 0 && write(fd, answer, strlen(answer)) < 0) break;
    return NULL;
}

static void the_master_is_found_by_sentinel_and_a_replica_is_not_taken_for_it(void **state)
{
    struct fixture *at = *state;
    struct sentinel sentinel;
    int port, probe = listen_silently(&sentinel.master_port);
    char text[64];
    pthread_t thread;
    close(probe);
    snprintf(text, sizeof text, "%d", sentinel.master_port);
    assert_int_equal(ask(at, ARGV("CONFIG", "SET", "port", text)).code, ERR_NONE);
    redis_free(at->redis);
    sentinel.fd = listen_silently(&port);
    assert_int_equal(pthread_create(&thread, NULL, play_sentinel, &sentinel), 0);
    snprintf(text, sizeof text, "127.0.0.1:1, [127.0.0.1]:%d", port); /* the first refuses */
    at->connected = at->lost = 0;
    at->target = (struct redis_target){ .sentinels = text, .master_name = (char[]){ "mine" } };
    open_redis(at);
    turn_until(at, &at->connected, 1);
    ask(at, ARGV("REPLICAOF", "127.0.0.1", "1"));
    ask(at, ARGV("SET", "k", "v")); /* READONLY */
    struct outcome out = { 0 };
    struct redis_command ping = {
        .argc = 1, .argv = ARGV("PING"), .deadline_us = 500000, .wait_for_connection = true
    };
    turn_until(at, &at->lost, 1);
    redis_send(at->redis, &ping, on_done, &out);
    turn_until(at, &out.ended, 1);
    assert_non_null(strstr(out.err_text, "not the master"));
    redis_free(at->redis);
    at->redis = NULL;
    shutdown(sentinel.fd, SHUT_RDWR); /* ends accept */
    pthread_join(thread, NULL);
    close(sentinel.fd);
}

static void sentinels_that_know_nothing_are_an_error(void **state)
{
    struct fixture *at = *state;
    redis_free(at->redis);
    at->target = (struct redis_target){ .sentinels = (char[]){ "127.0.0.1:1,127.0.0.1:2" },
                                        .master_name = (char[]){ "mine" } };
    open_redis(at);
    struct outcome out = { 0 };
    struct redis_command ping = {
        .argc = 1, .argv = ARGV("PING"), .deadline_us = 300000, .wait_for_connection = true
    };
    redis_send(at->redis, &ping, on_done, &out);
    turn_until(at, &out.ended, 1);
    assert_non_null(strstr(out.err_text, "no Sentinel"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(carries_any_bytes),
        TEST(a_large_value_comes_back_whole),
        TEST(ten_thousand_in_one_turn_are_answered_in_order),
        TEST(replies_of_every_kind_are_told_apart),
        TEST(a_command_past_its_deadline_tears_the_connection_down),
        TEST(a_killed_server_ends_what_is_in_flight_once_and_is_found_again),
        TEST(a_refused_connection_is_tried_again),
        TEST(freeing_cancels_what_is_in_flight),
        TEST(freeing_within_a_completion_is_safe),
        TEST(a_script_survives_the_loss_of_the_script_cache),
        cmocka_unit_test(the_script_name_is_sha1),
        TEST(the_password_and_database_are_given_at_each_connect),
        TEST(a_read_only_server_is_left_and_a_full_one_is_not),
        TEST(the_trouble_within_a_script_is_found),
        TEST(a_subscription_stands_again_after_a_restart),
        TEST(a_silent_server_is_noticed_within_ten_seconds),
        TEST(no_descriptor_is_inherited),
        TEST(tcp_tries_each_address_of_a_name_and_tells_a_refusal_at_once),
        TEST(freeing_while_it_connects_or_looks_up_a_name_is_safe),
        TEST(the_master_is_found_by_sentinel_and_a_replica_is_not_taken_for_it),
        TEST(sentinels_that_know_nothing_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
