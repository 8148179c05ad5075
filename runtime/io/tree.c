/* tree.c: openat/unlinkat walk, so that a path swapped for a link meanwhile leads nowhere else. */
#include "io/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool remove_entry(int parent, const char *name);
static bool remove_inside(int directory);

bool tree_remove_all(const char *path, struct err *err)
{
    if (remove_entry(AT_FDCWD, path)) return true;
    return err_set(err, ERR_IO, "cannot remove %s: %s", path, strerror(errno));
}

static bool remove_entry(int parent, const char *name)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return true;
    if (errno != EISDIR && errno != EPERM && errno != EACCES) return false;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == EACCES && fchmodat(parent, name, 0700, 0) == 0) {
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0) return errno == ENOENT;
    if (fchmod(fd, 0700) != 0 || !remove_inside(fd)) return false;
    return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

/* Takes the descriptor. */
static bool remove_inside(int directory)
{
    DIR *stream = fdopendir(directory);
    bool good = stream != NULL;
    struct dirent *entry;
    while (good && (entry = readdir(stream)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        good = remove_entry(directory, entry->d_name);
    }
    int saved = errno;
    if (stream) closedir(stream);
    errno = saved;
    return good;
}
