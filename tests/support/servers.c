/* Private servers for tests: see servers.h.
 *
 * Both kinds share `struct server`: a directory, a process, a command line and a way to ask whether
 * it answers. All live ones stand in one ring, which the exit handler empties. Postgres refuses to
 * run as root, so then its directory and process go to the user postgres. */
#include "support/servers.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_TRIES 6000 /* times 10 ms: machines that build and test at once are slow */
#define ARGS_MAX    24

struct server {
    struct server *next;
    char dir[32];
    char address[64]; /* socket path, or folder of the socket */
    pid_t pid;        /* 0 while down */
    int stop_signal;
    struct passwd *user; /* runs as, NULL: as the test does */
    const char *argv[ARGS_MAX];
    bool (*answers)(const struct server *server);
};

struct test_redis {
    struct server server;
};
struct test_postgres {
    struct server server;
    char data[48];
    char program[128];
    char conninfo[128];
};

static struct server *all_servers;

static void server_init(struct server *server, const char *prefix);
static void server_run(struct server *server);
static void server_signal(struct server *server, int sig);
static void server_close(struct server *server);
static pid_t spawn(const struct server *server, const char *const *argv);
static bool redis_answers(const struct server *server);
static bool postgres_answers(const struct server *server);
static void postgres_make(struct test_postgres *postgres);
static void die(const struct server *server, const char *what);

struct test_redis *test_redis_start(void)
{
    struct test_redis *redis = calloc(1, sizeof *redis);
    if (!redis) abort();
    struct server *server = &redis->server;
    server_init(server, "ctr");
    snprintf(server->address, sizeof server->address, "%s/s", server->dir);
    const char *argv[] = {
        "redis-server", "--port", "0",     "--unixsocket", server->address,          "--save", "",
        "--appendonly", "no",     "--dir", server->dir,    "--enable-debug-command", "yes",    NULL
    };
    memcpy(server->argv, argv, sizeof argv);
    server->stop_signal = SIGKILL;
    server->answers = redis_answers;
    server_run(server);
    return redis;
}

const char *test_redis_socket(const struct test_redis *redis) { return redis->server.address; }

pid_t test_redis_pid(const struct test_redis *redis) { return redis->server.pid; }

void test_redis_kill(struct test_redis *redis, int sig) { server_signal(&redis->server, sig); }

void test_redis_restart(struct test_redis *redis)
{
    server_signal(&redis->server, SIGKILL);
    unlink(redis->server.address);
    server_run(&redis->server);
}

void test_redis_stop(struct test_redis *redis)
{
    if (redis) server_close(&redis->server);
}

struct test_postgres *test_postgres_start(void)
{
    struct test_postgres *postgres = calloc(1, sizeof *postgres);
    if (!postgres) abort();
    struct server *server = &postgres->server;
    server_init(server, "ctp");
    postgres_make(postgres);
    snprintf(server->address, sizeof server->address, "%s", server->dir);
    snprintf(postgres->conninfo, sizeof postgres->conninfo,
             "host=%s user=postgres dbname=codeability", server->dir);
    const char *argv[] = { postgres->program,   "-D", postgres->data, "-k", server->dir, "-c",
                           "listen_addresses=", "-c", "fsync=off",    NULL };
    memcpy(server->argv, argv, sizeof argv);
    server->stop_signal = SIGQUIT;
    server->answers = postgres_answers;
    server_run(server);
    return postgres;
}

const char *test_postgres_conninfo(const struct test_postgres *postgres)
{
    return postgres->conninfo;
}

const char *test_postgres_socket_dir(const struct test_postgres *postgres)
{
    return postgres->server.address;
}

pid_t test_postgres_pid(const struct test_postgres *postgres) { return postgres->server.pid; }

void test_postgres_kill(struct test_postgres *postgres, int sig)
{
    server_signal(&postgres->server, sig);
}

void test_postgres_restart(struct test_postgres *postgres)
{
    server_signal(&postgres->server, SIGQUIT);
    server_run(&postgres->server);
}

void test_postgres_stop(struct test_postgres *postgres)
{
    if (postgres) server_close(&postgres->server);
}

static void stop_all(void)
{
    while (all_servers) server_close(all_servers);
}

static void server_init(struct server *server, const char *prefix)
{
    static bool armed;
    if (!armed) atexit(stop_all);
    armed = true;
    snprintf(server->dir, sizeof server->dir, "/tmp/%s-XXXXXX", prefix);
    if (!mkdtemp(server->dir)) abort();
    server->next = all_servers;
    all_servers = server;
}

static void pause_briefly(void) { nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL); }

/* A Postgres that follows a killed one may find its shared memory still in use: it is started
 * again until it stays. */
static void server_run(struct server *server)
{
    for (int i = 0; i < READY_TRIES; i++) {
        if (server->pid && waitpid(server->pid, NULL, WNOHANG) == server->pid) server->pid = 0;
        if (!server->pid && i > 0 && i % 10 != 0) goto wait;
        if (!server->pid) server->pid = spawn(server, server->argv);
        if (server->answers(server)) return;
    wait:
        pause_briefly();
    }
    die(server, "does not answer");
}

static void signal_children(pid_t parent, int sig)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *file = fopen(path, "re");
    if (!file) return;
    int child;
    while (fscanf(file, "%d", &child) == 1) kill(child, sig);
    fclose(file);
}

static void server_signal(struct server *server, int sig)
{
    if (!server->pid) return;
    bool goes_on = sig == SIGSTOP || sig == SIGCONT;
    if (server->answers == postgres_answers) signal_children(server->pid, goes_on ? sig : SIGCONT);
    kill(server->pid, sig);
    if (goes_on) return;
    kill(server->pid, SIGCONT); /* a stopped process takes only SIGKILL */
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info, (void)type, (void)at;
    return remove(path);
}

/* The server is the first member of what test_*_start gave. */
static void server_close(struct server *server)
{
    server_signal(server, server->stop_signal);
    nftw(server->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    for (struct server **at = &all_servers; *at; at = &(*at)->next) {
        if (*at != server) continue;
        *at = server->next;
        break;
    }
    free(server);
}

static void become(const struct passwd *user)
{
    if (setgroups(0, NULL) || setgid(user->pw_gid) || setuid(user->pw_uid)) _exit(126);
}

static pid_t spawn(const struct server *server, const char *const *argv)
{
    char log[48];
    snprintf(log, sizeof log, "%s/log", server->dir);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) abort();
    if (pid > 0) return pid;
    if (server->user) become(server->user);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* after setuid, which clears it */
    if (getppid() != parent || chdir(server->dir)) _exit(126);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int in = open("/dev/null", O_RDONLY);
    if (out < 0 || in < 0) _exit(126);
    dup2(in, 0), dup2(out, 1), dup2(out, 2);
    close_range(3, ~0U, 0);
    setpgid(0, 0); /* ^C at the test ends it by our exit handler or death */
    setenv("LC_ALL", "C", 1);
    execvp(argv[0], (char *const *)argv);
    _exit(127);
}

static bool redis_answers(const struct server *server)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", server->address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char reply[7];
    bool ok = fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof address) &&
              write(fd, "PING\r\n", 6) == 6 && read(fd, reply, 7) == 7 && reply[1] == 'P';
    if (fd >= 0) close(fd);
    return ok;
}

/* The first connection makes the database; later ones, after a restart, find it. */
static bool postgres_answers(const struct server *server)
{
    char conninfo[128];
    snprintf(conninfo, sizeof conninfo, "host=%s user=postgres dbname=postgres", server->address);
    PGconn *conn = PQconnectdb(conninfo);
    bool ok = PQstatus(conn) == CONNECTION_OK;
    if (ok) {
        PGresult *made = PQexec(conn, "CREATE DATABASE codeability");
        const char *state = PQresultErrorField(made, PG_DIAG_SQLSTATE);
        ok = PQresultStatus(made) == PGRES_COMMAND_OK || (state && !strcmp(state, "42P04"));
        PQclear(made);
    }
    PQfinish(conn);
    return ok;
}

static void find_postgres_programs(char *out, size_t size)
{
    glob_t found;
    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found)) {
        fprintf(stderr, "no Postgres server is installed under /usr/lib/postgresql\n");
        abort();
    }
    const char *last = found.gl_pathv[found.gl_pathc - 1];
    snprintf(out, size, "%.*s", (int)(strrchr(last, '/') - last), last);
    globfree(&found);
}

static void postgres_make(struct test_postgres *postgres)
{
    struct server *server = &postgres->server;
    if (geteuid() == 0) {
        server->user = getpwnam("postgres");
        if (!server->user) die(server, "needs the user postgres");
        if (chown(server->dir, server->user->pw_uid, server->user->pw_gid)) abort();
    }
    char programs[96], initdb[128];
    find_postgres_programs(programs, sizeof programs);
    snprintf(initdb, sizeof initdb, "%s/initdb", programs);
    snprintf(postgres->program, sizeof postgres->program, "%s/postgres", programs);
    snprintf(postgres->data, sizeof postgres->data, "%s/data", server->dir);
    const char *argv[] = { initdb,
                           "-D",
                           postgres->data,
                           "-U",
                           "postgres",
                           "--auth-local=trust",
                           "--encoding=UTF8",
                           "--locale=C",
                           "--no-sync",
                           NULL };
    int status;
    pid_t pid = spawn(server, argv);
    if (waitpid(pid, &status, 0) != pid || status) die(server, "initdb failed");
}

static void die(const struct server *server, const char *what)
{
    char log[48], line[512];
    snprintf(log, sizeof log, "%s/log", server->dir);
    fprintf(stderr, "test server in %s: %s\n", server->dir, what);
    FILE *file = fopen(log, "re");
    while (file && fgets(line, sizeof line, file)) fputs(line, stderr);
    abort();
}
