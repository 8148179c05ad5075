/* run_tempdir.c: a run's own directory, and its removal on a thread of libuv's pool.
 *
 * What subprocesses left in it is hostile: nothing is followed, every step goes through
 * descriptors, and a tree deeper than DEPTH_MAX is lifted to the top piece by piece instead of
 * recursed into. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "script/run_state.h"

#define DEPTH_MAX  32
#define ROUNDS_MAX 100000 /* lifts; only something that still writes could need more */

struct removal {
    uv_work_t work;
    struct run *run;
    void (*done)(struct run *run);
    int error; /* errno, 0: gone */
};

struct sweep {
    int root;
    unsigned lifted;
};

static void remove_on_thread(uv_work_t *work);
static void on_removed(uv_work_t *work, int status);
static void sweep_directory(struct sweep *sweep, int directory, int depth);
static void sweep_entry(struct sweep *sweep, int directory, const char *name, int depth);
static void lift(struct sweep *sweep, int directory, const char *name);
static int open_directory(int at, const char *name);

const char *run_tempdir(struct run *run, struct err *err)
{
    char claim[IDENT_TEXT_SIZE];
    const char *base = run->generation->host->run_directory;
    if (run->tempdir) return run->tempdir;
    if (!base) {
        err_set(err, ERR_IO, "there is no directory for temporary files");
        return NULL;
    }
    ident_text(&run->claim, claim);
    char *path = xasprintf("%s/%s", base, claim);
    if (mkdir(path, 0700) != 0) {
        err_set(err, ERR_IO, "cannot make %s: %s", path, strerror(errno));
        free(path);
        return NULL;
    }
    run->tempdir = path;
    return path;
}

void run_tempdir_remove(struct run *run, void (*done)(struct run *run))
{
    struct removal *removal = xcalloc(1, sizeof *removal);
    removal->run = run;
    removal->done = done;
    uv_queue_work(&run->generation->host->loop->uv, &removal->work, remove_on_thread, on_removed);
}

static void remove_on_thread(uv_work_t *work)
{
    struct removal *removal = container_of(work, struct removal, work);
    const char *path = removal->run->tempdir;
    struct sweep sweep = { .root = open_directory(AT_FDCWD, path) };
    unsigned before;
    do { /* lifted directories lie at the top: go over it again */
        before = sweep.lifted;
        if (sweep.root >= 0) sweep_directory(&sweep, dup(sweep.root), 0);
    } while (sweep.lifted != before && sweep.lifted < ROUNDS_MAX);
    if (sweep.root >= 0) close(sweep.root);
    removal->error = rmdir(path) == 0 ? 0 : errno;
}

static void on_removed(uv_work_t *work, int status)
{
    struct removal *removal = container_of(work, struct removal, work);
    (void)status; /* nobody cancels it */
    if (removal->error != 0)
        log_warn("cannot remove %s: %s", removal->run->tempdir, strerror(removal->error));
    removal->done(removal->run);
    free(removal);
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
