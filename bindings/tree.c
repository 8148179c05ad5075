/* tree.c: see tree.h. Both walks are recursions over open directories, at most DEPTH_MAX deep, so
 * that a hostile tree costs neither stack nor descriptors. On failure walk->at keeps the path of
 * what failed; on the way back from success it is cut again. */
#include "bindings/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX      100
#define CHUNK_SIZE     65536
#define OPEN_DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
/* A fifo must not block the thread, a terminal not become ours. */
#define OPEN_FILE (O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

static int remove_entry(int parent, const char *name, struct tree_walk *walk);

/* A name inside of an open directory (or a path, with AT_FDCWD). */
struct place {
    int parent;
    const char *name;
};

static int copy_entry(struct place from, struct place to, struct tree_walk *walk);

int tree_remove(const char *path, struct tree_walk *walk)
{
    buf_add_text(&walk->at, path);
    return remove_entry(AT_FDCWD, path, walk);
}

int tree_copy(const char *from, const char *to, struct tree_walk *walk)
{
    buf_add_text(&walk->at, from);
    return copy_entry((struct place){ AT_FDCWD, from }, (struct place){ AT_FDCWD, to }, walk);
}

/* ---- the walk itself ---- */

static bool is_stopped(const struct tree_walk *walk)
{
    return walk->stop != NULL && atomic_load(walk->stop);
}

static int walk_refuse(struct tree_walk *walk, int error, const char *reason)
{
    walk->reason = reason;
    return error;
}

/* Calls visit for every name in the directory; takes fd. The first error ends it. */
static int walk_directory(int fd, struct tree_walk *walk,
                          int (*visit)(int fd, const char *name, struct tree_walk *walk, void *arg),
                          void *arg)
{
    if (walk->depth >= DEPTH_MAX) {
        close(fd);
        return walk_refuse(walk, ELOOP, "deeper than 100 directories");
    }
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int error = errno;
        close(fd);
        return error;
    }
    int error = 0;
    walk->depth++;
    for (struct dirent *entry; error == 0 && (errno = 0, entry = readdir(dir)) != NULL;) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        size_t length = walk->at.len;
        buf_addf(&walk->at, "/%s", name);
        error = is_stopped(walk) ? ECANCELED : visit(dirfd(dir), name, walk, arg);
        if (error == 0) walk->at.data[walk->at.len = length] = '\0';
    }
    if (error == 0) error = errno; /* readdir's own */
    walk->depth--;
    closedir(dir);
    return error;
}

/* ---- removing ---- */

static int visit_removed(int fd, const char *name, struct tree_walk *walk, void *arg);

/* What is about to go may lack the permissions that emptying it takes: a build left it read-only.
 */
static int open_doomed(int parent, const char *name)
{
    int fd = openat(parent, name, OPEN_DIRECTORY);
    if (fd < 0 && errno == EACCES && fchmodat(parent, name, 0700, AT_SYMLINK_NOFOLLOW) == 0) {
        fd = openat(parent, name, OPEN_DIRECTORY);
    }
    struct stat info;
    if (fd >= 0 && fstat(fd, &info) == 0 && (info.st_mode & 0300) != 0300) {
        (void)fchmod(fd, 0700); /* when it is not ours, the unlink below says so */
    }
    return fd;
}

static int remove_entry(int parent, const char *name, struct tree_walk *walk)
{
    if (unlinkat(parent, name, 0) == 0) return 0;
    if (errno != EISDIR) return errno;
    int fd = open_doomed(parent, name);
    if (fd < 0) return errno;
    int error = walk_directory(fd, walk, visit_removed, NULL);
    if (error != 0) return error;
    return unlinkat(parent, name, AT_REMOVEDIR) == 0 ? 0 : errno;
}

static int visit_removed(int fd, const char *name, struct tree_walk *walk, void *arg)
{
    (void)arg;
    return remove_entry(fd, name, walk);
}

/* ---- copying ---- */

static int copy_file(struct place from, struct place to, struct tree_walk *walk);
static int copy_link(struct place from, struct place to);
static int copy_directory(struct place from, struct place to, struct tree_walk *walk);

static int copy_entry(struct place from, struct place to, struct tree_walk *walk)
{
    struct stat info;
    if (fstatat(from.parent, from.name, &info, AT_SYMLINK_NOFOLLOW) != 0) return errno;
    if (S_ISREG(info.st_mode)) return copy_file(from, to, walk);
    if (S_ISLNK(info.st_mode)) return copy_link(from, to);
    if (S_ISDIR(info.st_mode)) return copy_directory(from, to, walk);
    return walk_refuse(walk, EINVAL, "neither a file nor a directory nor a link");
}

static int copy_bytes(int in, int out, const struct tree_walk *walk)
{
    char chunk[CHUNK_SIZE];
    for (;;) {
        if (is_stopped(walk)) return ECANCELED;
        ssize_t got = read(in, chunk, sizeof chunk);
        if (got <= 0) return got < 0 ? errno : 0;
        for (ssize_t done = 0; done < got;) {
            ssize_t put = write(out, chunk + done, (size_t)(got - done));
            if (put < 0) return errno;
            done += put;
        }
    }
}

/* The target is cut only once it is known not to be the source itself. */
static int copy_opened(int in, const struct stat *source, struct place to, struct tree_walk *walk)
{
    struct stat target;
    int out = openat(to.parent, to.name, O_WRONLY | O_CREAT | OPEN_FILE, source->st_mode & 0777);
    if (out < 0) return errno;
    int error = 0;
    if (fstat(out, &target) != 0) {
        error = errno;
    } else if (!S_ISREG(target.st_mode)) {
        error = walk_refuse(walk, EINVAL, "the target is not a file");
    } else if (target.st_dev == source->st_dev && target.st_ino == source->st_ino) {
        error = walk_refuse(walk, EINVAL, "source and target are the same file");
    } else if (ftruncate(out, 0) != 0) {
        error = errno;
    } else {
        error = copy_bytes(in, out, walk);
    }
    if (close(out) != 0 && error == 0) error = errno;
    return error;
}

static int copy_file(struct place from, struct place to, struct tree_walk *walk)
{
    struct stat source;
    int in = openat(from.parent, from.name, O_RDONLY | OPEN_FILE);
    if (in < 0) return errno;
    int error = fstat(in, &source) != 0 ? errno : copy_opened(in, &source, to, walk);
    close(in);
    return error;
}

static int copy_link(struct place from, struct place to)
{
    char target[4096];
    ssize_t len = readlinkat(from.parent, from.name, target, sizeof target);
    if (len < 0) return errno;
    if ((size_t)len == sizeof target) return ENAMETOOLONG;
    target[len] = '\0';
    return symlinkat(target, to.parent, to.name) == 0 ? 0 : errno;
}

static int visit_copied(int fd, const char *name, struct tree_walk *walk, void *arg)
{
    return copy_entry((struct place){ fd, name }, (struct place){ *(int *)arg, name }, walk);
}

/* Takes in. A tree copied into itself would grow for ever: the walk stops when it meets its own
 * target. */
static int copy_into(int in, int out, struct tree_walk *walk)
{
    struct stat source, target;
    if (fstat(in, &source) != 0 || fstat(out, &target) != 0) {
        int error = errno;
        close(in);
        return error;
    }
    if (walk->target_inode == 0) {
        walk->target_device = target.st_dev;
        walk->target_inode = target.st_ino;
    }
    if (source.st_dev == walk->target_device && source.st_ino == walk->target_inode) {
        close(in);
        return walk_refuse(walk, EINVAL, "a directory cannot be copied into itself");
    }
    int error = walk_directory(in, walk, visit_copied, &out);
    return error;
}

static int copy_directory(struct place from, struct place to, struct tree_walk *walk)
{
    struct stat source;
    int in = openat(from.parent, from.name, OPEN_DIRECTORY);
    if (in < 0) return errno;
    /* A directory without write permission gets its mode only once it is filled. */
    bool made = mkdirat(to.parent, to.name, 0700) == 0;
    int out = made || errno == EEXIST ? openat(to.parent, to.name, OPEN_DIRECTORY) : -1;
    if (out < 0 || fstat(in, &source) != 0) {
        int error = errno;
        if (out >= 0) close(out);
        close(in);
        return error;
    }
    int error = copy_into(in, out, walk);
    if (error == 0 && made && fchmod(out, source.st_mode & 0777) != 0) error = errno;
    close(out);
    return error;
}
