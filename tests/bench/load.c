/* load.c: asks one thing of a server again and again, over many connections at once.
 *
 *   bench_load PORT CONNECTIONS SECONDS METHOD PATH [BODY]
 *
 * prints "answers/s p50_ms p99_ms max_ms". The first tenth of the time warms up and does not count.
 * An answer other than 200, or none, ends it with status 1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/buf.h"
#include "base/mem.h"

struct load {
    uv_loop_t loop;
    uv_timer_t phase;
    struct sockaddr_in address;
    struct buf request;
    uint64_t begun_ns; /* counting; 0: warming up */
    uint64_t seconds;
    uint64_t *took_ns;
    size_t count, room;
};

struct client {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    struct load *load;
    struct buf answer;
    uint64_t asked_ns;
};

static void on_warm(uv_timer_t *timer);
static void on_over(uv_timer_t *timer);
static void on_connected(uv_connect_t *connect, int status);
static void ask(struct client *client);
static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out);
static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *in);
static bool is_whole(const struct buf *answer);
static void count(struct load *load, uint64_t took_ns);
static int compare(const void *a, const void *b);

static void need(bool is_good, const char *what)
{
    if (is_good) return;
    fprintf(stderr, "bench_load: %s\n", what);
    exit(1);
}

int main(int argc, char **argv)
{
    static struct load load;
    need(argc == 6 || argc == 7, "PORT CONNECTIONS SECONDS METHOD PATH [BODY]");
    size_t connections = strtoul(argv[2], NULL, 10);
    const char *body = argc == 7 ? argv[6] : "";
    load.seconds = strtoul(argv[3], NULL, 10);
    uv_loop_init(&load.loop);
    uv_ip4_addr("127.0.0.1", atoi(argv[1]), &load.address);
    buf_addf(&load.request, "%s %s HTTP/1.1\r\nHost: localhost\r\n", argv[4], argv[5]);
    if (*body)
        buf_addf(&load.request, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                 strlen(body));
    buf_addf(&load.request, "\r\n%s", body);
    struct client *clients = xcalloc(connections, sizeof *clients);
    for (size_t i = 0; i < connections; i++) {
        clients[i].load = &load;
        uv_tcp_init(&load.loop, &clients[i].tcp);
        uv_tcp_connect(&clients[i].connect, &clients[i].tcp, (struct sockaddr *)&load.address,
                       on_connected);
    }
    uv_timer_init(&load.loop, &load.phase);
    uv_timer_start(&load.phase, on_warm, load.seconds * 100, 0);
    uv_run(&load.loop, UV_RUN_DEFAULT);
    return 1; /* on_over exits */
}

static void on_warm(uv_timer_t *timer)
{
    struct load *load = container_of(timer, struct load, phase);
    load->begun_ns = uv_hrtime();
    uv_timer_start(timer, on_over, load->seconds * 1000, 0);
}

static void on_over(uv_timer_t *timer)
{
    struct load *load = container_of(timer, struct load, phase);
    double seconds = (double)(uv_hrtime() - load->begun_ns) / 1e9;
    need(load->count > 0, "no answer came");
    qsort(load->took_ns, load->count, sizeof *load->took_ns, compare);
    printf("%.0f %.2f %.2f %.2f\n", (double)load->count / seconds,
           (double)load->took_ns[load->count / 2] / 1e6,
           (double)load->took_ns[load->count * 99 / 100] / 1e6,
           (double)load->took_ns[load->count - 1] / 1e6);
    exit(0);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct client *client = container_of(connect, struct client, connect);
    need(status == 0, "it does not listen");
    uv_tcp_nodelay(&client->tcp, 1);
    uv_read_start((uv_stream_t *)&client->tcp, on_room, on_read);
    ask(client);
}

static void ask(struct client *client)
{
    uv_buf_t out = uv_buf_init(client->load->request.data, (unsigned)client->load->request.len);
    client->asked_ns = uv_hrtime();
    need(uv_write(&client->write, (uv_stream_t *)&client->tcp, &out, 1, NULL) == 0, "write");
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    static char room[65536]; /* one loop, used at once */
    (void)handle;
    (void)suggested;
    *out = uv_buf_init(room, sizeof room);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *in)
{
    struct client *client = container_of((uv_tcp_t *)stream, struct client, tcp);
    need(len >= 0, "it closed the connection");
    buf_add(&client->answer, in->base, (size_t)len);
    if (!is_whole(&client->answer)) return;
    count(client->load, uv_hrtime() - client->asked_ns);
    client->answer.len = 0;
    ask(client);
}

static bool is_whole(const struct buf *answer)
{
    const char *text = buf_text(answer), *body = strstr(text, "\r\n\r\n");
    const char *length = strcasestr(text, "\r\nContent-Length: ");
    if (!body) return false;
    need(strncmp(text, "HTTP/1.1 200", 12) == 0 && length, text);
    return answer->len == (size_t)(body + 4 - text) + strtoul(length + 18, NULL, 10);
}

static void count(struct load *load, uint64_t took_ns)
{
    if (!load->begun_ns) return;
    if (load->count == load->room) {
        load->room = load->room ? 2 * load->room : 65536;
        load->took_ns = xrealloc(load->took_ns, load->room * sizeof *load->took_ns);
    }
    load->took_ns[load->count++] = took_ns;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}
