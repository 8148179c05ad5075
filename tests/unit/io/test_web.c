/* HTTP requests of our own, against a server on the same loop that says what a test wants. */
#include "io/web.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

#define SECOND_US INT64_C(1000000)

struct peer {
    uv_tcp_t tcp;
    uv_write_t write;
};

static struct {
    struct loop loop;
    uv_tcp_t listener;
    struct peer peers[4];
    int accepted, closed;
    struct buf heard;
    const char *says; /* NULL: nothing */
} server;

static struct {
    bool is_done;
    int status;
    bool was_sent;
    struct buf body, chunks;
    struct err err;
} got;

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
    static char space[65536];
    (void)handle, (void)size;
    *out = uv_buf_init(space, sizeof space);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *data)
{
    if (len < 0) {
        uv_read_stop(stream);
        return;
    }
    struct peer *peer = container_of((uv_tcp_t *)stream, struct peer, tcp);
    buf_add(&server.heard, data->base, (size_t)len);
    if (!server.says || !strstr(buf_text(&server.heard), "\r\n\r\n")) return;
    uv_buf_t out = uv_buf_init((char *)(uintptr_t)server.says, (unsigned)strlen(server.says));
    uv_write(&peer->write, stream, &out, 1, NULL);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct peer *peer = &server.peers[server.accepted++];
    assert_int_equal(status, 0);
    uv_tcp_init(&server.loop.uv, &peer->tcp);
    uv_accept(stream, (uv_stream_t *)&peer->tcp);
    uv_read_start((uv_stream_t *)&peer->tcp, on_alloc, on_read);
}

static void on_closed(uv_handle_t *handle)
{
    (void)handle;
    server.closed++;
}

static char *serve(const char *says)
{
    struct sockaddr_in address;
    int len = sizeof address;
    memset(&server, 0, sizeof server);
    memset(&got, 0, sizeof got);
    server.says = says;
    loop_init(&server.loop);
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(&server.loop.uv, &server.listener);
    uv_tcp_bind(&server.listener, (const struct sockaddr *)&address, 0);
    assert_int_equal(uv_listen((uv_stream_t *)&server.listener, 8, on_connection), 0);
    uv_tcp_getsockname(&server.listener, (struct sockaddr *)&address, &len);
    return xasprintf("http://127.0.0.1:%d/x", ntohs(address.sin_port));
}

static void leave(char *takes_url)
{
    uv_close((uv_handle_t *)&server.listener, on_closed);
    for (int i = 0; i < server.accepted; i++)
        uv_close((uv_handle_t *)&server.peers[i].tcp, on_closed);
    while (server.closed < server.accepted + 1) loop_turn(&server.loop, true);
    loop_close(&server.loop);
    buf_close(&server.heard);
    buf_close(&got.body);
    buf_close(&got.chunks);
    free(takes_url);
}

static void on_done(void *arg, const struct web_answer *answer, const struct err *err)
{
    assert_ptr_equal(arg, &got);
    assert_false(got.is_done);
    got.is_done = true;
    got.status = answer->status;
    got.was_sent = answer->was_sent;
    buf_clear(&got.body);
    buf_add(&got.body, answer->body, answer->len);
    got.err = err ? *err : (struct err){ 0 };
}

static void on_chunk(void *arg, const char *data, size_t len)
{
    assert_ptr_equal(arg, &got);
    buf_add(&got.chunks, data, len);
}

static struct web_request request_of(const char *method, const char *url)
{
    return (struct web_request){ .method = method,
                                 .url = url,
                                 .bearer = "sesame",
                                 .connect_us = SECOND_US,
                                 .most_us = 10 * SECOND_US,
                                 .silence_us = -1,
                                 .answer_max = 100 };
}

static void ask(struct web *web, const struct web_request *request)
{
    got.is_done = false;
    web_send(web, request, on_done, &got);
    assert_false(got.is_done); /* never before it returned */
    while (!got.is_done) loop_turn(&server.loop, true);
}

static void test_a_connection_is_used_again(void **state)
{
    (void)state;
    char *url = serve("HTTP/1.1 201 Made\r\nContent-Length: 2\r\n\r\n{}");
    struct web *web = web_new(&server.loop);
    struct buf json = BUF_EMPTY;
    buf_add_text(&json, "[1]");
    struct web_request request = request_of("POST", url);
    request.takes_json = &json;
    ask(web, &request);
    assert_int_equal(got.err.code, ERR_NONE);
    assert_int_equal(got.status, 201);
    assert_string_equal(buf_text(&got.body), "{}");
    assert_int_equal(json.len, 0);
    assert_non_null(strstr(buf_text(&server.heard), "POST /x HTTP/1.1\r\n"));
    assert_non_null(strstr(buf_text(&server.heard), "Authorization: Bearer sesame\r\n"));
    assert_non_null(strstr(buf_text(&server.heard), "Content-Type: application/json\r\n"));
    assert_non_null(strstr(buf_text(&server.heard), "\r\n\r\n[1]"));
    struct web_request deletion = request_of("DELETE", url);
    ask(web, &deletion);
    assert_non_null(strstr(buf_text(&server.heard), "[1]DELETE /x HTTP/1.1\r\n"));
    assert_int_equal(server.accepted, 1);
    web_free(web);
    leave(url);
}

static void test_an_answer_is_bounded(void **state)
{
    static const char *const large[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        "0123456789012345678901234567890123456789012345678901234567890123456789"
        "0123456789012345678901234567890123456789012345678901234567890123456789",
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char *url = serve(large[i]);
        struct web *web = web_new(&server.loop);
        struct web_request request = request_of("GET", url);
        ask(web, &request);
        assert_int_equal(got.err.code, ERR_TOO_LARGE);
        web_free(web);
        leave(url);
    }
}

static void test_a_redirect_is_an_answer(void **state)
{
    (void)state;
    char *url = serve("HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n");
    struct web *web = web_new(&server.loop);
    struct web_request request = request_of("GET", url);
    request.chunk = on_chunk; /* only of an answer 200 */
    ask(web, &request);
    assert_int_equal(got.status, 302);
    assert_null(strstr(buf_text(&server.heard), "/y"));
    server.says = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlines";
    ask(web, &request);
    assert_string_equal(buf_text(&got.chunks), "lines");
    assert_int_equal(got.body.len, 0);
    web_free(web);
    leave(url);
}

static void test_what_is_under_way_ends_with_it(void **state)
{
    (void)state;
    char *url = serve(NULL);
    struct web *web = web_new(&server.loop);
    struct web_request request = request_of("GET", url);
    struct web_call *dropped = web_send(web, &request, on_done, &got);
    web_send(web, &request, on_done, &got);
    while (server.heard.len == 0) loop_turn(&server.loop, true);
    web_drop(dropped);
    assert_false(got.is_done);
    web_free(web);
    assert_true(got.is_done);
    assert_int_equal(got.err.code, ERR_CANCELLED);
    leave(url);
}

static void test_nobody_there_and_nobody_who_answers(void **state)
{
    (void)state;
    char *url = serve(NULL);
    struct web *web = web_new(&server.loop);
    struct web_request request = request_of("GET", "http://127.0.0.1:1/");
    ask(web, &request);
    assert_int_equal(got.err.code, ERR_STORE);
    assert_false(got.was_sent);
    request = request_of("GET", url);
    request.most_us = SECOND_US / 5;
    ask(web, &request);
    assert_int_equal(got.err.code, ERR_STORE);
    assert_true(got.was_sent);
    assert_null(strstr(got.err.text, "sesame"));
    request = request_of("GET", "file:///etc/passwd");
    ask(web, &request);
    assert_int_equal(got.err.code, ERR_STORE);
    web_free(web);
    leave(url);
}

static void test_escapes(void **state)
{
    (void)state;
    struct buf out = BUF_EMPTY;
    web_add_escaped(&out, "a-Z_0.9~/?&=% \xC3\xA9");
    assert_string_equal(buf_text(&out), "a-Z_0.9~%2F%3F%26%3D%25%20%C3%A9");
    buf_close(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_connection_is_used_again),
        cmocka_unit_test(test_an_answer_is_bounded),
        cmocka_unit_test(test_a_redirect_is_an_answer),
        cmocka_unit_test(test_what_is_under_way_ends_with_it),
        cmocka_unit_test(test_nobody_there_and_nobody_who_answers),
        cmocka_unit_test(test_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
