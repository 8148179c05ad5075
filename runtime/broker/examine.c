/* examine.c: what kind of server this is: the check at the start of a worker, and all that an
 * operator may want to know. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "broker/broker_private.h"

#define PINGS 5

struct check_call {
    broker_done_fn *done;
    void *arg;
};

struct examine_call {
    struct broker *broker;
    broker_facts_fn *done;
    void *arg;
    struct broker_facts facts;
    int64_t sent_us, took_us[PINGS];
    int pings;
};

static void on_info(void *arg, const struct redis_reply *reply, const struct err *err);
static bool judge_info(const char *info, struct err *err);
static void on_facts(void *arg, const struct redis_reply *reply, const struct err *err);
static void read_facts(const char *info, struct broker_facts *facts);
static void on_fsync(void *arg, const struct redis_reply *reply, const struct err *err);
static void ping(struct examine_call *call);
static void on_pong(void *arg, const struct redis_reply *reply, const struct err *err);
static void examine_done(struct examine_call *call, const struct err *err);

static void ask_info(struct broker *broker, redis_done_fn *done, void *arg)
{
    struct redis_command command = { .argc = 1,
                                     .argv = (const char *[]){ "INFO" },
                                     .wait_for_connection = true };
    redis_send(broker->commands, &command, done, arg);
}

/* The value of `name:` at the beginning of a line. */
static const char *info_value(const char *info, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = info; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ':') return line + len + 1;
    }
    return "";
}

static void copy_value(char *out, size_t size, const char *info, const char *name)
{
    const char *value = info_value(info, name);
    snprintf(out, size, "%.*s", (int)strcspn(value, "\r\n"), value);
}

static int64_t number_of(const char *info, const char *name)
{
    return strtoll(info_value(info, name), NULL, 10);
}

/* ---- rule 13 ---- */

void broker_check_server(struct broker *broker, broker_done_fn *done, void *arg)
{
    struct check_call *call = xmalloc(sizeof *call);
    *call = (struct check_call){ done, arg };
    ask_info(broker, on_info, call);
}

static void on_info(void *arg, const struct redis_reply *reply, const struct err *err)
{
    struct check_call *call = arg;
    struct err refused;
    if (!err && !judge_info(reply->type == REDIS_TEXT ? reply->text : "", &refused)) err = &refused;
    call->done(call->arg, err);
    free(call);
}

static bool judge_info(const char *info, struct err *err)
{
    const char *policy = info_value(info, "maxmemory_policy");
    const char *version = info_value(info, "redis_version");
    if (strtol(version, NULL, 10) < 6)
        return err_set(err, ERR_INPUT, "this Redis is version %.*s: use 6 or newer",
                       (int)strcspn(version, "\r\n"), version);
    if (*info_value(info, "cluster_enabled") == '1')
        return err_set(err, ERR_INPUT,
                       "this Redis runs in cluster mode, which is not supported: use a single "
                       "server or Sentinel");
    if (strncmp(policy, "allkeys", strlen("allkeys")) == 0)
        return err_set(err, ERR_INPUT,
                       "this Redis may evict waiting tasks (maxmemory-policy %.*s): run "
                       "`redis-cli CONFIG SET maxmemory-policy noeviction` and put it into "
                       "redis.conf",
                       (int)strcspn(policy, "\r\n"), policy);
    return true;
}

/* ---- everything ---- */

void broker_examine(struct broker *broker, broker_facts_fn *done, void *arg)
{
    struct examine_call *call = xcalloc(1, sizeof *call);
    call->broker = broker;
    call->done = done;
    call->arg = arg;
    ask_info(broker, on_facts, call);
}

static void on_facts(void *arg, const struct redis_reply *reply, const struct err *err)
{
    struct examine_call *call = arg;
    if (err) {
        examine_done(call, err);
        return;
    }
    if (reply->type == REDIS_TEXT) read_facts(reply->text, &call->facts);
    broker_send(call->broker, NULL, 3, (const char *[]){ "CONFIG", "GET", "appendfsync" }, on_fsync,
                call);
}

static void read_facts(const char *info, struct broker_facts *facts)
{
    copy_value(facts->version, sizeof facts->version, info, "redis_version");
    copy_value(facts->policy, sizeof facts->policy, info, "maxmemory_policy");
    copy_value(facts->role, sizeof facts->role, info, "role");
    copy_value(facts->mode, sizeof facts->mode, info, "redis_mode");
    facts->has_aof = *info_value(info, "aof_enabled") == '1';
    facts->is_loading = *info_value(info, "loading") == '1';
    facts->link_is_down = strncmp(info_value(info, "master_link_status"), "down", 4) == 0;
    facts->writes_fail = strncmp(info_value(info, "rdb_last_bgsave_status"), "err", 3) == 0 ||
                         strncmp(info_value(info, "aof_last_write_status"), "err", 3) == 0;
    facts->memory = number_of(info, "used_memory");
    facts->memory_most = number_of(info, "maxmemory");
    facts->clients = number_of(info, "connected_clients");
    facts->clients_most = number_of(info, "maxclients");
}

/* Not everybody may read it. */
static void on_fsync(void *arg, const struct redis_reply *reply, const struct err *err)
{
    struct examine_call *call = arg;
    bool is_told = !err && reply->type == REDIS_ARRAY && reply->count == 2 &&
                   reply->items[1]->type == REDIS_TEXT;
    if (is_told) snprintf(call->facts.fsync, sizeof call->facts.fsync, "%s", reply->items[1]->text);
    ping(call);
}

static void ping(struct examine_call *call)
{
    call->sent_us = clock_mono_us();
    broker_send(call->broker, NULL, 1, (const char *[]){ "PING" }, on_pong, call);
}

static int by_length(const void *a, const void *b)
{
    const int64_t *one = a, *other = b;
    return (*one > *other) - (*one < *other);
}

static void on_pong(void *arg, const struct redis_reply *reply, const struct err *err)
{
    struct examine_call *call = arg;
    (void)reply;
    if (err) {
        examine_done(call, err);
        return;
    }
    call->took_us[call->pings++] = clock_mono_us() - call->sent_us;
    if (call->pings < PINGS) {
        ping(call);
        return;
    }
    qsort(call->took_us, PINGS, sizeof *call->took_us, by_length);
    call->facts.latency_us = call->took_us[PINGS / 2];
    examine_done(call, NULL);
}

static void examine_done(struct examine_call *call, const struct err *err)
{
    call->done(call->arg, err ? NULL : &call->facts, err);
    free(call);
}
