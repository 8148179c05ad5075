/* pg_connect.c: from an address to a connection that is set up.
 *
 *   pg_connect -> look_up_next -> on_looked_up (once per name) -> start_handshake
 *              -> on_connecting (once per step) -> set up by one script -> pg_ready
 * Each failure ends in pg_lose, which comes back to pg_connect after the back-off.
 *
 * libpq resolves names with a blocking call, so names are looked up here and handed over as
 * hostaddr; sockets, numbers, and an address that has its own hostaddr are left as they are. The
 * number of the descriptor may be another one after each step of the handshake, or the same one
 * for another socket, so each step gets a fresh poll handle and the old one is closed before. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/pg_private.h"

/* Whoever fell into a black hole must be out of it soon: with the back-off, a server is found again
 * within 5 s of its return. Several hosts share one attempt. */
#define CONNECT_US         INT64_C(3000000)
#define CONNECT_SEVERAL_US INT64_C(5000000)
#define OPTIONS_MAX        64

struct options {
    const char *keys[OPTIONS_MAX + 1], *values[OPTIONS_MAX + 1];
    int count;
};

static const char *find_option(const struct pg *pg, const char *key);
static bool needs_look_up(const char *name);
static void hosts_add(struct pg_hosts *hosts, const char *name, const char *port, const char *addr);
static void hosts_clear(struct pg_hosts *hosts);
static void look_up_next(struct pg *pg);
static void start_handshake(struct pg *pg);

/* Splits the address' hosts and ports if any host is a name. */
void pg_address_init(struct pg *pg, const char *conninfo)
{
    pg->address = PQconninfoParse(conninfo, NULL); /* its message may quote the password */
    if (!pg->address) return;
    const char *addr = find_option(pg, "hostaddr"), *host = find_option(pg, "host");
    const char *port = find_option(pg, "port");
    if (*addr || !*host) return;
    bool any = false, one_port = !strchr(port, ',');
    for (const char *end; host; host = *end ? end + 1 : NULL) {
        end = strchrnul(host, ',');
        const char *port_end = strchrnul(port, ',');
        char *name = xstrndup(host, (size_t)(end - host));
        char *number = xstrndup(port, (size_t)(port_end - port));
        any = any || needs_look_up(name);
        hosts_add(&pg->given, name, *number ? number : "5432", "");
        free(name);
        free(number);
        if (!one_port) port = *port_end ? port_end + 1 : port_end;
    }
    if (!any && pg->given.count == 1) hosts_clear(&pg->given);
}

void pg_address_close(struct pg *pg)
{
    if (pg->address) PQconninfoFree(pg->address);
    hosts_clear(&pg->given);
    hosts_clear(&pg->found);
}

void pg_connect(struct pg *pg)
{
    if (!pg->address) {
        struct err err;
        err_set(&err, ERR_INPUT, "the Postgres address cannot be parsed");
        pg_lose(pg, &err);
        return;
    }
    hosts_clear(&pg->found);
    pg->lookup_at = 0;
    pg_become(pg, PG_RESOLVING);
    look_up_next(pg);
}

static void on_looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *list);

/* A look-up has no deadline of its own: a thread of libuv's pool sits in getaddrinfo until the
 * resolver gives up. Jobs that wait for the connection have theirs. */
static void look_up_next(struct pg *pg)
{
    static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    while (pg->lookup_at < pg->given.count) {
        const struct pg_host *host = &pg->given.items[pg->lookup_at];
        if (needs_look_up(host->name)) {
            int status =
                uv_getaddrinfo(&pg->loop->uv, &pg->lookup, on_looked_up, host->name, NULL, &hints);
            if (status == 0) pg->users++;
            if (status == 0) return;
            err_set(&pg->why, ERR_STORE, "Postgres host %s: %s", host->name, uv_strerror(status));
        } else {
            hosts_add(&pg->found, host->name, host->port, "");
        }
        pg->lookup_at++;
    }
    start_handshake(pg);
}

static void on_looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *list)
{
    struct pg *pg = container_of(lookup, struct pg, lookup);
    const struct pg_host *host = &pg->given.items[pg->lookup_at];
    if (status != 0)
        err_set(&pg->why, ERR_STORE, "Postgres host %s: %s", host->name, uv_strerror(status));
    for (const struct addrinfo *info = list; info; info = info->ai_next) {
        char addr[NI_MAXHOST];
        if (getnameinfo(info->ai_addr, info->ai_addrlen, addr, sizeof addr, NULL, 0,
                        NI_NUMERICHOST) == 0)
            hosts_add(&pg->found, host->name, host->port, addr);
    }
    uv_freeaddrinfo(list);
    pg->lookup_at++;
    bool closed = pg->state == PG_CLOSED;
    pg_release(pg);
    if (!closed) look_up_next(pg);
}

static void add_option(struct options *options, const char *key, const char *value)
{
    if (options->count == OPTIONS_MAX) abort(); /* libpq knows about forty */
    options->keys[options->count] = key;
    options->values[options->count++] = value;
}

/* Of two options with the same key libpq takes the later: defaults, the user's, ours. */
static void fill_options(struct pg *pg, struct options *options)
{
    add_option(options, "tcp_user_timeout", "10000"); /* milliseconds */
    add_option(options, "keepalives_idle", "5");
    add_option(options, "keepalives_interval", "2");
    add_option(options, "keepalives_count", "3");
    if (strchr(find_option(pg, "host"), ',') || strchr(find_option(pg, "hostaddr"), ','))
        add_option(options, "target_session_attrs", "read-write");
    for (const PQconninfoOption *option = pg->address; option->keyword; option++) {
        if (option->val) add_option(options, option->keyword, option->val);
    }
    add_option(options, "client_encoding", "UTF8");
    if (pg->application) add_option(options, "application_name", pg->application);
}

/* Three lists of the same length, from first_host round. */
static void join_hosts(const struct pg *pg, struct buf *names, struct buf *addrs, struct buf *ports)
{
    for (size_t i = 0; i < pg->found.count; i++) {
        const struct pg_host *host = &pg->found.items[(pg->first_host + i) % pg->found.count];
        const char *comma = i > 0 ? "," : "";
        buf_addf(names, "%s%s", comma, host->name);
        buf_addf(addrs, "%s%s", comma, host->addr);
        buf_addf(ports, "%s%s", comma, host->port);
    }
}

static void on_notice(void *arg, const PGresult *notice)
{
    (void)arg;
    char sqlstate[6];
    struct err err;
    pg_error_of_result(notice, "Postgres says", &err, sqlstate);
    log_debug("%s", err.text);
}

static void on_connecting(uv_poll_t *handle, int status, int events);

static void start_handshake(struct pg *pg)
{
    if (pg->given.count > 0 && pg->found.count == 0) {
        struct err err = pg->why;
        pg_lose(pg, &err);
        return;
    }
    struct options options = { .count = 0 };
    struct buf names = BUF_EMPTY, addrs = BUF_EMPTY, ports = BUF_EMPTY;
    fill_options(pg, &options);
    join_hosts(pg, &names, &addrs, &ports);
    if (pg->found.count > 0) {
        add_option(&options, "host", buf_text(&names));
        add_option(&options, "hostaddr", buf_text(&addrs));
        add_option(&options, "port", buf_text(&ports));
    }
    pg->conn = PQconnectStartParams(options.keys, options.values, 0);
    buf_close(&names);
    buf_close(&addrs);
    buf_close(&ports);
    if (!pg->conn) abort(); /* no memory */
    PQsetNoticeReceiver(pg->conn, on_notice, NULL);
    pg_become(pg, PG_CONNECTING);
    timer_start(&pg->state_timer, pg->found.count > 1 ? CONNECT_SEVERAL_US : CONNECT_US);
    if (PQstatus(pg->conn) != CONNECTION_BAD) {
        pg_watch(pg, UV_WRITABLE, on_connecting);
        return;
    }
    struct err err;
    pg_error_of_connection(pg->conn, &err);
    pg_lose(pg, &err);
}

/* A status below zero (the host refused) is for libpq to find out: it then tries the next one. */
static void on_connecting(uv_poll_t *handle, int status, int events)
{
    (void)status, (void)events;
    struct pg *pg = handle->data;
    struct err err;
    pg_watch(pg, 0, NULL);
    switch (PQconnectPoll(pg->conn)) {
    case PGRES_POLLING_READING: pg_watch(pg, UV_READABLE, on_connecting); return;
    case PGRES_POLLING_WRITING: pg_watch(pg, UV_WRITABLE, on_connecting); return;
    case PGRES_POLLING_ACTIVE: return; /* not in use any more */
    case PGRES_POLLING_OK: pg_set_up(pg); return;
    case PGRES_POLLING_FAILED:
        pg_error_of_connection(pg->conn, &err);
        pg_lose(pg, &err);
        return;
    }
}

static void add_identifier(struct buf *sql, PGconn *conn, const char *name)
{
    char *quoted = PQescapeIdentifier(conn, name, strlen(name));
    if (!quoted) abort(); /* no memory: our names are valid UTF-8 */
    buf_add_text(sql, quoted);
    PQfreemem(quoted);
}

char *pg_setup_sql(struct pg *pg)
{
    struct buf sql = BUF_EMPTY;
    buf_addf(&sql,
             "set statement_timeout = %lld; set lock_timeout = '10s';"
             "set idle_in_transaction_session_timeout = '30s'; set timezone = 'UTC';"
             "set synchronous_commit = on; set default_transaction_isolation = 'read committed';",
             (long long)(pg->statement_timeout_us / 1000));
    if (pg->index_plan)
        buf_add_text(&sql, "set enable_seqscan = off; set enable_bitmapscan = off;"
                           "set enable_hashjoin = off; set enable_mergejoin = off; set jit = off;"
                           "set plan_cache_mode = force_generic_plan;");
    if (pg->namespace) {
        buf_add_text(&sql, "set search_path = ");
        add_identifier(&sql, pg->conn, pg->namespace);
        buf_add_char(&sql, ';');
    }
    for (size_t i = 0; i < pg->channel_count; i++) {
        char *listen = pg_listen_sql(pg, pg->channels[i]);
        buf_addf(&sql, "%s;", listen);
        free(listen);
    }
    return buf_take(&sql);
}

char *pg_listen_sql(struct pg *pg, const char *channel)
{
    struct buf sql = BUF_EMPTY;
    buf_add_text(&sql, "listen ");
    add_identifier(&sql, pg->conn, channel);
    return buf_take(&sql);
}

/* "" when it is not given; libpq's environment variables count for host and port. */
static const char *find_option(const struct pg *pg, const char *key)
{
    static const struct {
        const char *key, *variable;
    } variables[] = { { "host", "PGHOST" }, { "hostaddr", "PGHOSTADDR" }, { "port", "PGPORT" } };
    for (const PQconninfoOption *option = pg->address; option->keyword; option++) {
        if (option->val && !strcmp(option->keyword, key)) return option->val;
    }
    for (size_t i = 0; i < COUNT_OF(variables); i++) {
        const char *value = strcmp(variables[i].key, key) ? NULL : getenv(variables[i].variable);
        if (value) return value;
    }
    return "";
}

static bool needs_look_up(const char *name)
{
    struct in_addr addr;
    bool is_socket = *name == '/' || *name == '@' || *name == '\0';
    bool is_number = strchr(name, ':') || inet_pton(AF_INET, name, &addr) == 1;
    return !is_socket && !is_number;
}

static void hosts_add(struct pg_hosts *hosts, const char *name, const char *port, const char *addr)
{
    hosts->items = xrealloc(hosts->items, (hosts->count + 1) * sizeof *hosts->items);
    hosts->items[hosts->count++] =
        (struct pg_host){ .name = xstrdup(name), .port = xstrdup(port), .addr = xstrdup(addr) };
}

static void hosts_clear(struct pg_hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++) {
        free(hosts->items[i].name);
        free(hosts->items[i].port);
        free(hosts->items[i].addr);
    }
    free(hosts->items);
    *hosts = (struct pg_hosts){ 0 };
}
