/* One short connection per Sentinel, a second for each. A Sentinel that does not know the master,
 * or cannot be reached, passes the question on. */
#include "io/redis_sentinel.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/redis_command.h"
#include "io/redis_stream.h"

#define ANSWER_WITHIN_US 1000000
#define DEFAULT_PORT     26379

struct redis_sentinel {
    struct loop *loop;
    const struct redis_target *target; /* borrowed */
    struct redis_sentinel_hooks hooks;
    struct timer patience;
    struct redis_stream *stream; /* owned, NULL between Sentinels */
    size_t count;
    size_t asked;
    size_t first;
    char *host; /* of the present one, owned */
};

static size_t count_entries(const char *list);
static void ask_next(struct timer *timer);
static void on_open(void *arg);
static void on_answer(void *arg, const struct redis_answer *answer);
static void on_failed(void *arg, const struct err *why);

struct redis_sentinel *redis_sentinel_new(struct loop *loop, const struct redis_target *target,
                                          unsigned attempt,
                                          const struct redis_sentinel_hooks *hooks)
{
    struct redis_sentinel *sentinel = xcalloc(1, sizeof *sentinel);
    sentinel->loop = loop;
    sentinel->target = target;
    sentinel->hooks = *hooks;
    sentinel->count = count_entries(target->sentinels);
    sentinel->first = attempt % sentinel->count;
    timer_init(loop, &sentinel->patience, ask_next);
    timer_start(&sentinel->patience, 0);
    return sentinel;
}

static void on_timer_closed(struct timer *timer)
{
    struct redis_sentinel *sentinel = container_of(timer, struct redis_sentinel, patience);
    free(sentinel->host);
    loop_bury(sentinel->loop, sentinel);
}

void redis_sentinel_close(struct redis_sentinel *sentinel)
{
    if (sentinel->stream) redis_stream_close(sentinel->stream);
    sentinel->stream = NULL;
    timer_close(&sentinel->patience, on_timer_closed);
}

static size_t count_entries(const char *list)
{
    size_t count = 1;
    for (; *list; list++) count += *list == ',';
    return count;
}

/* host:port, host, or [address]:port at place `index` of the list. Gives the host. */
static char *entry_at(const char *list, size_t index, int *port)
{
    while (index-- > 0) list = strchr(list, ',') + 1;
    list += strspn(list, " ");
    char *entry = xstrndup(list, strcspn(list, ", "));
    char *colon = strrchr(entry, ':');
    *port = DEFAULT_PORT;
    if (colon && !strchr(colon, ']')) {
        *port = atoi(colon + 1);
        *colon = '\0';
    }
    size_t len = strlen(entry);
    if (len < 2 || entry[0] != '[' || entry[len - 1] != ']') return entry;
    char *host = xstrndup(entry + 1, len - 2);
    free(entry);
    return host;
}

/* Also the end of patience with the one before. */
static void ask_next(struct timer *timer)
{
    struct redis_sentinel *sentinel = container_of(timer, struct redis_sentinel, patience);
    if (sentinel->stream) redis_stream_close(sentinel->stream);
    sentinel->stream = NULL;
    if (sentinel->asked == sentinel->count) {
        struct err err;
        err_set(&err, ERR_STORE, "no Sentinel of %s says where the master %s is",
                sentinel->target->sentinels, sentinel->target->master_name);
        sentinel->hooks.failed(sentinel->hooks.arg, &err);
        return;
    }
    size_t index = (sentinel->first + sentinel->asked++) % sentinel->count;
    struct redis_address address = { 0 };
    free(sentinel->host);
    sentinel->host = entry_at(sentinel->target->sentinels, index, &address.port);
    address.host = sentinel->host;
    struct redis_stream_hooks hooks = { sentinel, on_open, on_answer, on_failed };
    sentinel->stream = redis_stream_new(sentinel->loop, &address, &hooks);
    timer_start(timer, ANSWER_WITHIN_US);
}

static void on_open(void *arg)
{
    struct redis_sentinel *sentinel = arg;
    struct buf *out = redis_stream_out(sentinel->stream);
    redis_command_begin(out, 3);
    redis_command_text(out, "SENTINEL");
    redis_command_text(out, "get-master-addr-by-name");
    redis_command_text(out, sentinel->target->master_name);
    redis_stream_flush_soon(sentinel->stream);
}

static void on_answer(void *arg, const struct redis_answer *answer)
{
    struct redis_sentinel *sentinel = arg;
    const struct redis_reply *reply = &answer->reply;
    if (reply->type != REDIS_ARRAY || reply->count != 2 || reply->items[0]->type != REDIS_TEXT ||
        reply->items[1]->type != REDIS_TEXT) {
        timer_start(&sentinel->patience, 0);
        return;
    }
    timer_stop(&sentinel->patience);
    sentinel->hooks.found(sentinel->hooks.arg, reply->items[0]->text, atoi(reply->items[1]->text));
}

static void on_failed(void *arg, const struct err *why)
{
    (void)why;
    struct redis_sentinel *sentinel = arg;
    redis_stream_close(sentinel->stream);
    sentinel->stream = NULL;
    timer_start(&sentinel->patience, 0);
}
