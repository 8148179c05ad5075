/* pg_private.h: what the pg*.c files share.
 *
 *   pg.c          the life of the connection: states, back-off, losing it, silence, deadlines
 *   pg_connect.c  from the address to a connection that is set up: names, hosts, handshake
 *   pg_job.c      jobs: queued, sent, answered, ended
 *   pg_error.c    what the server's SQLSTATE means to us
 *   pg_params.c   binary parameters;  pg_rows.c  binary rows
 *
 * A job moves waiting -> sent -> ended, or waiting -> ended, and leaves `ended` by its one
 * completion. Completions call foreign code, which may call pg_free: whoever runs pg_complete or a
 * hook looks at pg->state or pg->conn again before going on. The memory stays until libuv has
 * closed the handles. */
#pragma once
#include <libpq-fe.h>

#include "base/list.h"
#include "base/map.h"
#include "io/pg.h"

/*   DOWN -pg_connect-> RESOLVING -> CONNECTING -> SETTING_UP -pg_ready-> UP
 *    ^---------------------------- pg_lose ----------------------------|
 *   any -pg_free-> CLOSED */
enum pg_state {
    PG_DOWN,       /* no connection; the state timer holds the back-off */
    PG_RESOLVING,  /* host names are being looked up; no connection */
    PG_CONNECTING, /* libpq's handshake; the state timer holds the deadline */
    PG_SETTING_UP, /* the set-up script is running, under the same deadline */
    PG_UP,         /* pipeline mode; the state timer watches for silence */
    PG_CLOSED
};

enum pg_job_kind {
    PG_JOB_STATEMENT,
    PG_JOB_SCRIPT, /* simple protocol, out of pipeline mode, with nothing else in flight */
    PG_JOB_PLAIN   /* one unprepared statement without parameters: LISTEN, the probe */
};

struct pg_job {
    struct list node; /* in pg->waiting, pg->sent or pg->ended */
    enum pg_job_kind kind;
    const struct pg_statement *statement; /* STATEMENT; borrowed, static */
    struct pg_params params;              /* STATEMENT */
    char *sql;                            /* SCRIPT, PLAIN; owned */
    int64_t deadline_us;                  /* on clock_boot_us */
    pg_done_fn *done;                     /* NULL: a job of our own */
    void *arg;
    bool awaits_prepare; /* the next result is that of its PQsendPrepare */
    bool unknown;
    PGresult *result; /* the answer so far; it counts only once the sync has come */
    struct err *err;  /* owned; the first one stays */
    char sqlstate[6];
};

struct pg_host {
    char *name; /* owned */
    char *port; /* owned; "" is libpq's default */
    char *addr; /* owned; "" where libpq needs none */
};
struct pg_hosts {
    struct pg_host *items; /* owned */
    size_t count;
};

struct pg_rows {
    PGresult *result;
};

struct pg {
    struct loop *loop;
    struct pg_hooks hooks;
    char *namespace, *application; /* owned; NULL: not given */
    bool index_plan;
    int64_t statement_timeout_us;

    enum pg_state state;
    struct timer state_timer;    /* its meaning goes with the state */
    struct timer deadline_timer; /* for the earliest deadline known; may fire for nothing */
    int64_t next_deadline_us;    /* INT64_MAX: the timer is not armed */
    int users;                   /* timers and look-ups that still need this memory */
    unsigned failures;           /* connections in a row that failed or did not last */
    bool has_complained;         /* until one has lasted */
    struct err why;              /* the last loss; also why it is doomed */

    PQconninfoOption *address; /* owned; NULL: cannot be parsed */
    struct pg_hosts given;     /* host names to look up; none: libpq gets the address as it is */
    struct pg_hosts found;     /* what they resolved to in this attempt */
    uv_getaddrinfo_t lookup;   /* of given.items[lookup_at] while RESOLVING */
    size_t lookup_at;
    size_t first_host; /* turns after a time-out, so that a silent host is not met for ever */

    PGconn *conn;         /* NULL while there is none */
    uv_poll_t *poll;      /* owned until closed; freed by its close callback */
    bool is_writing;      /* libpq holds bytes that the socket did not take */
    struct map *prepared; /* statements, by address, that this connection has prepared */
    bool doomed;          /* send nothing more; lose the connection when all is answered */
    int64_t up_since_us, heard_us;

    struct defer work; /* sends what waits, completes what has ended */
    struct list waiting, sent, ended;
    size_t open_jobs; /* given by callers and not yet completed */
    char **channels;  /* owned */
    size_t channel_count;
};

/* pg.c */
void pg_become(struct pg *pg, enum pg_state state);
void pg_lose(struct pg *pg, const struct err *why);
void pg_set_up(struct pg *pg);
void pg_ready(struct pg *pg);
void pg_release(struct pg *pg); /* one user less; the last one frees */
/* Watches the connection's socket with a new handle; events 0: no more. */
void pg_watch(struct pg *pg, int events, uv_poll_cb on_socket);
/* Gives libpq's bytes to the socket, now and whenever it takes more. May lose the connection. */
void pg_flush(struct pg *pg);
void pg_watch_deadline(struct pg *pg, int64_t deadline_us);

/* pg_connect.c */
void pg_address_init(struct pg *pg, const char *conninfo);
void pg_address_close(struct pg *pg);
void pg_connect(struct pg *pg);
char *pg_setup_sql(struct pg *pg);                       /* gives; needs a connection */
char *pg_listen_sql(struct pg *pg, const char *channel); /* likewise */

/* pg_job.c */
struct pg_job *pg_job_new(enum pg_job_kind kind, char *take_sql, int64_t deadline_us);
void pg_job_queue(struct pg *pg, struct pg_job *job);
void pg_jobs_send(struct pg *pg);
/* Sends it now, on a connection that is idle and not in pipeline mode; it is the only one sent. */
void pg_script_start(struct pg *pg, struct pg_job *job);
/* Takes the answers that have come; runs completions; may lose the connection. */
void pg_jobs_read(struct pg *pg);
/* To `ended`, with this error unless it has one already (NULL: as it is). */
void pg_job_end(struct pg *pg, struct pg_job *job, const struct err *err, bool unknown);
void pg_jobs_end(struct pg *pg, struct list *jobs, const struct err *err, bool unknown);
void pg_complete(struct pg *pg);
const char *pg_job_name(const struct pg_job *job);

/* pg_error.c */
/* Fills err and sqlstate from an error result. `what` names the statement. */
void pg_error_of_result(const PGresult *result, const char *what, struct err *err,
                        char sqlstate[6]);
/* The connection's own message on one line. */
void pg_error_of_connection(const PGconn *conn, struct err *err);
bool pg_error_ends_connection(const PGresult *result);
bool pg_error_dooms_connection(const char *sqlstate);
