/* tree.c: what lies there may be hostile: every step goes through descriptors, so that a path
 * swapped for a link meanwhile leads nowhere else, and what is deeper than DEPTH_MAX is lifted to
 * the top piece by piece instead of recursed into. */
#include "io/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX  32
#define ROUNDS_MAX 100000 /* lifts; only something that still writes could need more */

struct sweep {
    int root;
    unsigned lifted;
};

static void sweep_directory(struct sweep *sweep, int directory, int depth);
static void sweep_entry(struct sweep *sweep, int directory, const char *name, int depth);
static void lift(struct sweep *sweep, int directory, const char *name);
static int open_directory(int at, const char *name);

bool tree_remove_all(const char *path, struct err *err)
{
    if (unlink(path) == 0 || errno == ENOENT) return true;
    struct sweep sweep = { .root = open_directory(AT_FDCWD, path) };
    unsigned before;
    do { /* lifted directories lie at the top: go over it again */
        before = sweep.lifted;
        if (sweep.root >= 0) sweep_directory(&sweep, dup(sweep.root), 0);
    } while (sweep.lifted != before && sweep.lifted < ROUNDS_MAX);
    if (sweep.root >= 0) close(sweep.root);
    if (rmdir(path) == 0 || errno == ENOENT) return true;
    return err_set(err, ERR_IO, "cannot remove %s: %s", path, strerror(errno));
}

/* Takes the descriptor. */
static void sweep_directory(struct sweep *sweep, int directory, int depth)
{
    DIR *entries = directory >= 0 ? fdopendir(directory) : NULL;
    if (!entries) {
        if (directory >= 0) close(directory);
        return;
    }
    fchmod(directory, 0700);
    rewinddir(entries); /* the descriptor of the top shares its position */
    struct dirent *entry;
    while ((entry = readdir(entries)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            sweep_entry(sweep, dirfd(entries), entry->d_name, depth);
    closedir(entries);
}

static void sweep_entry(struct sweep *sweep, int directory, const char *name, int depth)
{
    if (unlinkat(directory, name, 0) == 0 || unlinkat(directory, name, AT_REMOVEDIR) == 0) return;
    if (depth >= DEPTH_MAX) {
        lift(sweep, directory, name);
        return;
    }
    sweep_directory(sweep, open_directory(directory, name), depth + 1);
    unlinkat(directory, name, AT_REMOVEDIR);
}

static void lift(struct sweep *sweep, int directory, const char *name)
{
    char fresh[64];
    snprintf(fresh, sizeof fresh, ".lifted-%u", sweep->lifted);
    bool is_lifted = renameat(directory, name, sweep->root, fresh) == 0;
    if (is_lifted || errno == ENOTEMPTY || errno == EEXIST) sweep->lifted++; /* or the next name */
}

/* Also one that the subprocess made unreadable. */
static int open_directory(int at, const char *name)
{
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int descriptor = openat(at, name, flags);
    if (descriptor < 0 && errno == EACCES && fchmodat(at, name, 0700, 0) == 0)
        descriptor = openat(at, name, flags);
    return descriptor;
}
