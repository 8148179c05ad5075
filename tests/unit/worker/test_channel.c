/* test_channel.c: whole messages in order, whatever the socket makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "worker/channel.h"

struct end {
    struct loop *loop;
    struct channel channel;
    struct buf seen; /* kind and length of each message, as text */
    size_t bytes;
    bool closes_at_once, is_closed, is_freed;
};

static void on_freed(struct channel *channel)
{
    container_of(channel, struct end, channel)->is_freed = true;
}

static void on_received(void *arg, enum message kind, const char *payload, size_t len)
{
    struct end *end = arg;
    buf_addf(&end->seen, "%d:%zu ", (int)kind, len);
    for (size_t i = 0; i < len; i++) assert_int_equal(payload[i], (char)(i * 7));
    end->bytes += len;
    if (end->closes_at_once) channel_close(&end->channel, on_freed);
}

static void on_closed(void *arg)
{
    struct end *end = arg;
    assert_false(end->is_closed);
    end->is_closed = true;
    channel_close(&end->channel, on_freed);
}

static void open_end(struct end *end, struct loop *loop, int fd)
{
    *end = (struct end){ .loop = loop };
    channel_open(&end->channel, loop, fd, end, on_received, on_closed);
}

static char *bytes_of(size_t len)
{
    char *bytes = xmalloc(len + 1);
    for (size_t i = 0; i < len; i++) bytes[i] = (char)(i * 7);
    return bytes;
}

static void channel_keeps_messages_whole_and_in_order(void **state)
{
    (void)state;
    struct loop loop;
    struct end left, right;
    int pair[2];
    size_t large = 5 << 20;
    char *bytes = bytes_of(large);
    loop_init(&loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    open_end(&left, &loop, pair[0]);
    open_end(&right, &loop, pair[1]);
    channel_send(&left.channel, MESSAGE_READY, NULL, 0);
    channel_send(&left.channel, MESSAGE_GENERATION, bytes, large);
    channel_send(&left.channel, MESSAGE_STATS, bytes, 3);
    channel_send(&right.channel, MESSAGE_DRAIN, bytes, 8);
    while (right.bytes < large + 3 || left.bytes < 8) loop_turn(&loop, true);
    char expected[100];
    snprintf(expected, sizeof expected, "%d:0 %d:%zu %d:3 ", (int)MESSAGE_READY,
             (int)MESSAGE_GENERATION, large, (int)MESSAGE_STATS);
    assert_string_equal(buf_text(&right.seen), expected);
    channel_close(&left.channel, on_freed);
    while (!left.is_freed || !right.is_freed) loop_turn(&loop, true);
    assert_true(right.is_closed);
    assert_false(left.is_closed); /* it went by itself */
    buf_close(&left.seen);
    buf_close(&right.seen);
    free(bytes);
    loop_close(&loop);
}

static void channel_puts_pieces_together(void **state)
{
    (void)state;
    struct loop loop;
    struct end end;
    int pair[2];
    loop_init(&loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    open_end(&end, &loop, pair[0]);
    const char message[] = { 3, 0, 0, 0, MESSAGE_EPOCH, 0, 7, 14 };
    for (size_t i = 0; i < sizeof message; i++) {
        assert_int_equal(write(pair[1], message + i, 1), 1);
        assert_int_equal(end.bytes, 0);
        loop_turn(&loop, true);
    }
    assert_int_equal(end.bytes, 3);
    close(pair[1]);
    while (!end.is_freed) loop_turn(&loop, true);
    buf_close(&end.seen);
    loop_close(&loop);
}

static void channel_may_be_closed_by_a_message(void **state)
{
    (void)state;
    struct loop loop;
    struct end end;
    int pair[2];
    const char messages[] = { 0, 0, 0, 0, MESSAGE_READY, 0, 0, 0, 0, MESSAGE_IDLE };
    loop_init(&loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    open_end(&end, &loop, pair[0]);
    end.closes_at_once = true;
    assert_int_equal(write(pair[1], messages, sizeof messages), (ssize_t)sizeof messages);
    while (!end.is_freed) loop_turn(&loop, true);
    channel_send(&end.channel, MESSAGE_STATS, "x", 1); /* nobody is there: forgotten */
    char expected[20];
    snprintf(expected, sizeof expected, "%d:0 ", (int)MESSAGE_READY);
    assert_string_equal(buf_text(&end.seen), expected);
    close(pair[1]);
    buf_close(&end.seen);
    loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channel_keeps_messages_whole_and_in_order),
        cmocka_unit_test(channel_puts_pieces_together),
        cmocka_unit_test(channel_may_be_closed_by_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
