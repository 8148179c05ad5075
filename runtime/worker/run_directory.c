/* run_directory.c: the folder below which one runner's temporary directories lie.
 *
 * Its supervisor holds a lock on it for life, so the kernel says who is gone, whatever the ledger
 * knows: the next supervisor that comes or goes on this machine kills what is left running under
 * that incarnation's marker and removes the folder. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/tree.h"
#include "worker/supervisor_private.h"

static bool is_still_there(const char *path, int fd);
static void sweep_one(const char *base, const char *name, const struct ident *incarnation,
                      struct supervisor *supervisor);

/* A sweeper may take the folder between its making and our lock: then it is made again. */
bool run_directory_make(const char *path, int *fd, struct err *err)
{
    for (int tries = 0; tries < 10; tries++) {
        if (mkdir(path, 0700) != 0 && errno != EEXIST) break;
        *fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (*fd < 0) continue;
        if (flock(*fd, LOCK_EX) == 0 && is_still_there(path, *fd)) return true;
        close(*fd);
    }
    *fd = -1;
    return err_set(err, ERR_IO, "cannot make %s: %s", path, strerror(errno));
}

static bool is_still_there(const char *path, int fd)
{
    struct stat named, held;
    return lstat(path, &named) == 0 && fstat(fd, &held) == 0 && named.st_ino == held.st_ino;
}

void run_directories_sweep(const char *base, struct supervisor *supervisor)
{
    DIR *stream = opendir(base);
    struct dirent *entry;
    struct ident incarnation;
    if (!stream) return;
    while ((entry = readdir(stream)) != NULL) {
        if (ident_parse(entry->d_name, &incarnation))
            sweep_one(base, entry->d_name, &incarnation, supervisor);
    }
    closedir(stream);
}

static void sweep_one(const char *base, const char *name, const struct ident *incarnation,
                      struct supervisor *supervisor)
{
    struct err err;
    char *path = xasprintf("%s/%s", base, name);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        char *marker = xasprintf("CTUTOR_WORKER=%s", name);
        proc_kill_tree(0, marker);
        free(marker);
        if (supervisor) { /* its loop must go on turning, whatever lies there */
            death_write(supervisor, incarnation, NULL, DEATH_LOST, path);
            path = NULL;
        } else if (!tree_remove_all(path, &err)) {
            log_warn("%s", err.text);
        }
    }
    if (fd >= 0) close(fd);
    free(path);
}
