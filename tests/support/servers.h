/* servers.h: a Redis and a Postgres of one's own for a test program.
 *
 * Each lives in a fresh directory under /tmp, is reached by a unix socket only, and ends with
 * test_*_stop, at exit, or (parent-death signal) with the test process. What cannot start prints
 * its log and aborts: a test without its server has nothing to say. Single-threaded use. */
#pragma once
#include <sys/types.h>

struct test_redis;    /* opaque */
struct test_postgres; /* opaque */

struct test_redis *test_redis_start(void);                     /* gives; returns once it answers */
const char *test_redis_socket(const struct test_redis *redis); /* path; the same after a restart */
pid_t test_redis_pid(const struct test_redis *redis);          /* 0 while it is down */
/* Sends sig. Waits for the end, unless sig is SIGSTOP or SIGCONT. Does nothing while it is down. */
void test_redis_kill(struct test_redis *redis, int sig);
void test_redis_restart(struct test_redis *redis); /* kills if need be; comes back empty */
void test_redis_stop(struct test_redis *redis);    /* takes; NULL does nothing */

struct test_postgres *test_postgres_start(void); /* gives; holds an empty database "codeability" */
const char *
test_postgres_conninfo(const struct test_postgres *postgres); /* the same after a restart */
const char *test_postgres_socket_dir(const struct test_postgres *postgres);
pid_t test_postgres_pid(const struct test_postgres *postgres);
/* As above. SIGSTOP and SIGCONT go to the server's children too, so that open connections fall
 * silent. */
void test_postgres_kill(struct test_postgres *postgres, int sig);
void test_postgres_restart(struct test_postgres *postgres); /* the data are kept */
void test_postgres_stop(struct test_postgres *postgres);    /* takes; NULL does nothing */
