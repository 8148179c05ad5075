/* up_place.c: see up_place.h. Folders of the servers belong to their user (0700), passwords and
 * run.json to the caller (0600). */
#include "cli/up_place.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/ident.h"
#include "base/mem.h"
#include "config/config.h"
#include "io/tree.h"

#define SOCKET_PATH_MAX 107

static bool find_ctutor(struct place *place, struct err *err);
static bool find_user(struct place *place, struct err *err);
static bool choose_base(struct place *place, struct err *err);
static bool is_plain(const char *path);
static bool is_reachable(const char *path, uid_t uid);
static uint64_t hash_of(const char *text);
static bool lock(struct place *place, struct err *err);
static bool drop_unfinished_cluster(const struct place *place, struct err *err);
static bool make_directory(const char *path, mode_t mode, uid_t uid, gid_t gid, struct err *err);
static bool keep_password(const struct place *place, const char *name, char **out, struct err *err);
static bool write_file(const char *path, const char *text, struct err *err);

bool place_open(struct place *place, struct err *err)
{
    memset(place, 0, sizeof *place);
    place->lock_fd = -1;
    if (!find_user(place, err) || !find_ctutor(place, err) || !lock(place, err) ||
        !choose_base(place, err)) {
        return false;
    }
    place->redis_dir = xasprintf("%s/redis", place->base);
    place->postgres_data = xasprintf("%s/postgres", place->base);
    place->run_dir = xasprintf("%s/run", place->base);
    place->redis_socket = xasprintf("%s/redis.sock", place->run_dir);
    place->first_password = xasprintf("%s/first.password", place->run_dir);
    return drop_unfinished_cluster(place, err) &&
           make_directory(place->redis_dir, 0700, place->uid, place->gid, err) &&
           make_directory(place->postgres_data, 0700, place->uid, place->gid, err) &&
           make_directory(place->run_dir, 0700, place->uid, place->gid, err) &&
           keep_password(place, "redis.password", &place->redis_password, err) &&
           keep_password(place, "postgres.password", &place->postgres_password, err);
}

void place_close(struct place *place)
{
    if (place->lock_fd >= 0) close(place->lock_fd);
    free(place->ctutor);
    free(place->base);
    free(place->redis_dir);
    free(place->postgres_data);
    free(place->run_dir);
    free(place->redis_socket);
    free(place->first_password);
    free(place->redis_password);
    free(place->postgres_password);
}

/* Postgres refuses to run as root, so the servers then run as the user that its package made. */
static bool find_user(struct place *place, struct err *err)
{
    place->uid = (uid_t)-1;
    place->gid = (gid_t)-1;
    if (geteuid() != 0) return true;
    const struct passwd *user = getpwnam("postgres");
    if (!user) {
        return err_set(
            err, ERR_INPUT,
            "Postgres does not run as root and there is no user postgres: install postgresql");
    }
    place->uid = user->pw_uid;
    place->gid = user->pw_gid;
    return true;
}

static bool find_ctutor(struct place *place, struct err *err)
{
    char *top = config_find_ctutor_dir();
    if (!top) top = getcwd(NULL, 0);
    if (!top) return err_set(err, ERR_IO, "the working directory: %s", strerror(errno));
    place->ctutor = xasprintf("%s/.ctutor", strcmp(top, "/") == 0 ? "" : top);
    free(top);
    return make_directory(place->ctutor, geteuid() == 0 ? 0711 : 0700, (uid_t)-1, (gid_t)-1, err);
}

static bool lock(struct place *place, struct err *err)
{
    char *path = xasprintf("%s/up.lock", place->ctutor);
    place->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    bool good = place->lock_fd >= 0 && flock(place->lock_fd, LOCK_EX | LOCK_NB) == 0;
    if (!good && errno == EWOULDBLOCK) {
        err_set(err, ERR_STATE,
                "`ctutor-run up` runs already for %s: stop it first, or use another folder",
                place->ctutor);
    } else if (!good) {
        err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    }
    free(path);
    return good;
}

static bool choose_base(struct place *place, struct err *err)
{
    size_t longest = strlen(place->ctutor) + strlen("/run/.s.PGSQL.5432.lock");
    if (longest < SOCKET_PATH_MAX && is_plain(place->ctutor) &&
        is_reachable(place->ctutor, place->uid)) {
        place->base = xstrdup(place->ctutor);
        return true;
    }
    place->base = xasprintf("/var/tmp/ctutor-run-%d-%016llx", (int)geteuid(),
                            (unsigned long long)hash_of(place->ctutor));
    return make_directory(place->base, geteuid() == 0 ? 0711 : 0700, (uid_t)-1, (gid_t)-1, err);
}

/* Without what redis.conf, a list of Postgres or a URL would take for something else. */
static bool is_plain(const char *path)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=~";
    return path[strspn(path, plain)] == '\0';
}

/* May somebody else walk down to it? */
static bool is_reachable(const char *path, uid_t uid)
{
    if (uid == (uid_t)-1) return true;
    char *part = xstrdup(path);
    bool reachable = true;
    for (char *slash = part + strlen(part); reachable && slash && slash != part;
         slash = strrchr(part, '/')) {
        struct stat about;
        *slash = '\0';
        reachable = stat(part, &about) == 0 && ((about.st_mode & S_IXOTH) ||
                                                (about.st_uid == uid && (about.st_mode & S_IXUSR)));
    }
    free(part);
    return reachable;
}

static uint64_t hash_of(const char *text)
{
    uint64_t hash =
        UINT64_C(14695981039346656037); /* FNV-1a: to tell paths apart, not to keep secrets */
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return hash;
}

/* Of an initdb that was killed. */
static bool drop_unfinished_cluster(const struct place *place, struct err *err)
{
    return access(place->first_password, F_OK) != 0 || tree_remove_all(place->postgres_data, err);
}

/* Makes it, or insists that what is there is ours: /var/tmp belongs to everybody. */
static bool make_directory(const char *path, mode_t mode, uid_t uid, gid_t gid, struct err *err)
{
    struct stat about;
    uid_t owner = uid == (uid_t)-1 ? geteuid() : uid;
    bool made = mkdir(path, mode) == 0;
    if (made && (chmod(path, mode) != 0 || (uid != (uid_t)-1 && chown(path, uid, gid) != 0))) {
        return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    }
    if (!made && errno != EEXIST) {
        return err_set(err, ERR_IO, "cannot make %s: %s", path, strerror(errno));
    }
    if (lstat(path, &about) != 0 || !S_ISDIR(about.st_mode) || about.st_uid != owner ||
        (about.st_mode & 022)) {
        return err_set(err, ERR_INPUT, "%s must be a directory of %s that nobody else may write",
                       path, uid == (uid_t)-1 ? "yours" : "the servers' user");
    }
    return true;
}

static bool keep_password(const struct place *place, const char *name, char **out, struct err *err)
{
    char *path = xasprintf("%s/%s", place->ctutor, name);
    char line[64] = "";
    FILE *file = fopen(path, "re");
    bool good = file && fscanf(file, "%63s", line) == 1;
    if (file) fclose(file);
    if (!good) {
        struct ident half[2] = { ident_random(), ident_random() };
        for (size_t i = 0; i < sizeof half && i * 2 < sizeof line - 2; i++) {
            snprintf(line + 2 * i, 3, "%02x", ((unsigned char *)half)[i]);
        }
        good = write_file(path, line, err);
    }
    if (good) *out = xstrdup(line);
    free(path);
    return good;
}

bool place_tell(const struct place *place, bool redis, bool postgres, struct err *err)
{
    char *path = xasprintf("%s/run.json", place->ctutor);
    json_t *root = json_pack("{s:s}", "base", place->base);
    if (redis) {
        char *url = xasprintf("unix://%s", place->redis_socket);
        json_object_set_new(root, "redis", json_string(url));
        json_object_set_new(root, "redis_password_file", json_string("redis.password"));
        free(url);
    }
    if (postgres) {
        char *conninfo = xasprintf("host='%s' user=ctutor dbname=postgres", place->run_dir);
        json_object_set_new(root, "postgres", json_string(conninfo));
        json_object_set_new(root, "postgres_password_file", json_string("postgres.password"));
        free(conninfo);
    }
    char *text = json_dumps(root, JSON_INDENT(2));
    bool good = write_file(path, text, err);
    free(text);
    json_decref(root);
    free(path);
    return good;
}

static bool write_file(const char *path, const char *text, struct err *err)
{
    char *fresh = xasprintf("%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good = fd >= 0 && dprintf(fd, "%s\n", text) > 0 && fsync(fd) == 0;
    if (fd >= 0) close(fd);
    good = good && rename(fresh, path) == 0;
    if (!good) err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    free(fresh);
    return good;
}
