/* up_servers.c: see up_servers.h. Passwords reach the servers by files that only their user may
 * read, never by argv. */
#include "cli/up_servers.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

#define LEFTOVER_MS 15000 /* a server of a killed `up` gets this long to end */

static bool write_for_server(const struct place *place, const char *path, const char *text,
                             struct err *err);
static int open_log(const struct place *place, const char *name);
static bool start_server(const struct place *place, const char *const *argv, const char *log,
                         int death_signal, proc_exit_fn *on_exit, void *arg, struct proc **out,
                         struct err *err);
static char *find_postgres(const char *program);
static bool make_cluster(struct loop *loop, const struct place *place, struct err *err);
static void on_initdb(void *arg, struct proc *proc, struct proc_exit how);
static void end_leftover(const struct place *place, const char *pid_file, int signal);

bool redis_server_start(const struct place *place, proc_exit_fn *on_exit, void *arg,
                        struct proc **out, struct err *err)
{
    char *path = xasprintf("%s/redis.conf", place->redis_dir);
    char *pid_file = xasprintf("%s/redis.pid", place->redis_dir);
    char *text = xasprintf(
        "port 0\nunixsocket %s\nunixsocketperm 700\ndir %s\nrequirepass %s\nappendonly yes\n"
        "appendfsync everysec\nsave \"\"\nmaxmemory-policy noeviction\npidfile %s\n",
        place->redis_socket, place->redis_dir, place->redis_password, pid_file);
    const char *argv[] = { "redis-server", path, NULL };
    end_leftover(place, pid_file, SIGTERM);
    bool good = write_for_server(place, path, text, err) &&
                start_server(place, argv, "redis.log", SIGTERM, on_exit, arg, out, err);
    free(text);
    free(pid_file);
    free(path);
    return good;
}

bool postgres_server_start(struct loop *loop, const struct place *place, proc_exit_fn *on_exit,
                           void *arg, struct proc **out, struct err *err)
{
    char *version = xasprintf("%s/PG_VERSION", place->postgres_data);
    char *pid_file = xasprintf("%s/postmaster.pid", place->postgres_data);
    char *program = find_postgres("postgres");
    end_leftover(place, pid_file, SIGINT);
    bool good = (access(version, F_OK) == 0 || make_cluster(loop, place, err));
    const char *argv[] = { program,
                           "-D",
                           place->postgres_data,
                           "-k",
                           place->run_dir,
                           "-c",
                           "listen_addresses=",
                           "-c",
                           "unix_socket_permissions=0700",
                           "-c",
                           "shared_buffers=128MB",
                           NULL };
    good = good && start_server(place, argv, "postgres.log", SIGINT, on_exit, arg, out, err);
    free(program);
    free(pid_file);
    free(version);
    return good;
}

/* ---- Postgres' first time ---- */

struct initdb {
    bool done, good;
};

static bool make_cluster(struct loop *loop, const struct place *place, struct err *err)
{
    char *program = find_postgres("initdb");
    char *pwfile = xasprintf("--pwfile=%s", place->first_password);
    const char *argv[] = { program,
                           "-D",
                           place->postgres_data,
                           "-U",
                           "ctutor",
                           "--auth=scram-sha-256",
                           pwfile,
                           "--encoding=UTF8",
                           "--locale=C",
                           "--data-checksums",
                           NULL };
    struct initdb initdb = { 0 };
    struct proc *proc;
    bool good = write_for_server(place, place->first_password, place->postgres_password, err) &&
                start_server(place, argv, "initdb.log", SIGTERM, on_initdb, &initdb, &proc, err);
    while (good && !initdb.done) loop_turn(loop, true);
    if (good && !initdb.good) {
        good = err_set(err, ERR_IO, "initdb failed: see %s/initdb.log", place->ctutor);
    }
    if (good) unlink(place->first_password);
    free(pwfile);
    free(program);
    return good;
}

static void on_initdb(void *arg, struct proc *proc, struct proc_exit how)
{
    struct initdb *initdb = arg;
    (void)proc;
    initdb->done = true;
    initdb->good = how.code == 0;
}

/* Debian keeps them out of PATH. */
static char *find_postgres(const char *program)
{
    char *pattern = xasprintf("/usr/lib/postgresql/*/bin/%s", program);
    glob_t found;
    char *path = NULL;
    if (glob(pattern, 0, NULL, &found) == 0) {
        path = xstrdup(found.gl_pathv[found.gl_pathc - 1]); /* the newest version */
        globfree(&found);
    }
    free(pattern);
    return path ? path : xstrdup(program);
}

/* ---- both ---- */

static bool start_server(const struct place *place, const char *const *argv, const char *log,
                         int death_signal, proc_exit_fn *on_exit, void *arg, struct proc **out,
                         struct err *err)
{
    static const char *const env[] = { "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8",
                                       "TZ=UTC", NULL };
    int log_fd = open_log(place, log);
    int fds[] = { -1, log_fd, log_fd };
    struct proc_options options = PROC_OPTIONS;
    options.argv = argv;
    options.env = env;
    options.cwd = "/";
    options.fds = fds;
    options.fd_count = COUNT_OF(fds);
    options.uid = place->uid;
    options.gid = place->gid;
    options.death_signal = death_signal;
    bool good = proc_start(&options, on_exit, arg, out, err);
    if (log_fd >= 0) close(log_fd);
    return good;
}

static int open_log(const struct place *place, const char *name)
{
    char *path = xasprintf("%s/%s", place->ctutor, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    free(path);
    return fd;
}

static bool write_for_server(const struct place *place, const char *path, const char *text,
                             struct err *err)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = fd >= 0 && dprintf(fd, "%s\n", text) > 0 &&
                (place->uid == (uid_t)-1 || fchown(fd, place->uid, place->gid) == 0);
    if (!good) err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return good;
}

/* A server whose `up` was killed was told to end by its parent-death signal; it may still be at it.
 * That the number is still that server's shows in its command line, which names our folder. */
static void end_leftover(const struct place *place, const char *pid_file, int signal)
{
    int pid = 0;
    char cmdline[4096] = "";
    FILE *file = fopen(pid_file, "re");
    if (file && fscanf(file, "%d", &pid) != 1) pid = 0;
    if (file) fclose(file);
    char *path = xasprintf("/proc/%d/cmdline", pid);
    file = pid > 1 ? fopen(path, "re") : NULL;
    size_t len = file ? fread(cmdline, 1, sizeof cmdline, file) : 0;
    if (file) fclose(file);
    free(path);
    int fd = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (fd < 0) return;
    if (memmem(cmdline, len, place->base, strlen(place->base))) {
        struct pollfd end = { .fd = fd, .events = POLLIN };
        syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0);
        poll(&end, 1, LEFTOVER_MS);
    }
    close(fd);
}
