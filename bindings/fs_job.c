/* fs_job.c: see fs_job.h. Reads and writes only regular files: a fifo that a student's program left
 * under the expected name must not block the thread. Every step that can take long looks at `stop`.
 */
#include "bindings/fs_job.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "bindings/tree.h"

#define CHUNK_SIZE ((size_t)1 << 20)
#define LIST_MAX   100000
#define OPEN_FLAGS (O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

static int job_read(struct fs_job *job);
static int job_write(struct fs_job *job, int flags);
static int job_list(struct fs_job *job);
static int job_exists(struct fs_job *job);
static int job_mkdir(struct fs_job *job);
static int job_walk(struct fs_job *job);

const char *fs_verb_name(enum fs_verb verb)
{
    static const char *const names[] = { "read",   "write", "append", "list",
                                         "exists", "mkdir", "copy",   "remove" };
    return names[verb];
}

void fs_job_run(struct fs_job *job)
{
    switch (job->verb) {
    case FS_READ: job->error = job_read(job); break;
    case FS_WRITE: job->error = job_write(job, O_TRUNC); break;
    case FS_APPEND: job->error = job_write(job, O_APPEND); break;
    case FS_LIST: job->error = job_list(job); break;
    case FS_EXISTS: job->error = job_exists(job); break;
    case FS_MKDIR: job->error = job_mkdir(job); break;
    case FS_COPY:
    case FS_REMOVE: job->error = job_walk(job); break;
    }
}

void fs_job_close(struct fs_job *job)
{
    free(job->path);
    free(job->to);
    free(job->bytes);
    buf_close(&job->failed);
    buf_close(&job->names);
}

static int refuse(struct fs_job *job, int error, const char *reason)
{
    job->reason = reason;
    return error;
}

/* ---- contents of files ---- */

/* Gives a descriptor of a regular file, or -1 with job->error. */
static int open_regular(struct fs_job *job, int flags, struct stat *info)
{
    int fd = open(job->path, flags | OPEN_FLAGS, 0666);
    if (fd < 0) {
        job->error = errno;
        return -1;
    }
    if (fstat(fd, info) != 0) {
        job->error = errno;
    } else if (S_ISDIR(info->st_mode)) {
        job->error = EISDIR;
    } else if (!S_ISREG(info->st_mode)) {
        job->error = refuse(job, EINVAL, "not a regular file");
    } else {
        return fd;
    }
    close(fd);
    return -1;
}

/* Room for one byte more than allowed, so that reading it tells a file that is too long; files in
 * /proc say they are empty, so the size is a hint. */
static int read_all(struct fs_job *job, int fd, size_t room)
{
    for (;;) {
        if (job->len == room || job->bytes == NULL) {
            if (job->bytes != NULL) room = room < job->max / 2 ? room * 2 : job->max + 1;
            char *bytes = realloc(job->bytes, room);
            if (bytes == NULL) return ENOMEM;
            job->bytes = bytes;
        }
        size_t wanted = room - job->len < CHUNK_SIZE ? room - job->len : CHUNK_SIZE;
        ssize_t got = read(fd, job->bytes + job->len, wanted);
        if (got <= 0) return got < 0 ? errno : 0;
        job->len += (size_t)got;
        if (job->len > job->max) return refuse(job, EFBIG, "larger than allowed");
        if (atomic_load(&job->stop)) return ECANCELED;
    }
}

static int job_read(struct fs_job *job)
{
    struct stat info;
    int fd = open_regular(job, O_RDONLY, &info);
    if (fd < 0) return job->error;
    size_t size = info.st_size < 4096 ? 4096 : (size_t)info.st_size + 1;
    int error = (size_t)info.st_size > job->max
                    ? refuse(job, EFBIG, "larger than allowed")
                    : read_all(job, fd, size <= job->max ? size : job->max + 1);
    close(fd);
    return error;
}

static int job_write(struct fs_job *job, int flags)
{
    struct stat info;
    int fd = open_regular(job, O_WRONLY | O_CREAT | flags, &info);
    if (fd < 0) return job->error;
    int error = 0;
    for (size_t done = 0; error == 0 && done < job->len;) {
        size_t rest = job->len - done;
        ssize_t put = write(fd, job->bytes + done, rest < CHUNK_SIZE ? rest : CHUNK_SIZE);
        if (put < 0)
            error = errno;
        else
            done += (size_t)put;
        if (error == 0 && atomic_load(&job->stop)) error = ECANCELED;
    }
    if (close(fd) != 0 && error == 0) error = errno;
    return error;
}

/* ---- directories ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void keep_sorted(struct fs_job *job, char **names, size_t count)
{
    if (count > 0) qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        buf_add(&job->names, names[i], strlen(names[i]) + 1);
        free(names[i]);
    }
    job->name_count = count;
    free(names);
}

static int job_list(struct fs_job *job)
{
    DIR *dir = opendir(job->path);
    if (dir == NULL) return errno;
    char **names = NULL;
    size_t count = 0;
    int error = 0;
    for (struct dirent *entry; error == 0 && (errno = 0, entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (count == LIST_MAX) error = refuse(job, E2BIG, "more than 100000 entries");
        if (atomic_load(&job->stop)) error = ECANCELED;
        if (error != 0) break;
        if ((count & (count - 1)) == 0) { /* a power of two: full */
            names = xrealloc(names, (count > 0 ? count * 2 : 1) * sizeof *names);
        }
        names[count++] = xstrdup(entry->d_name);
    }
    if (error == 0) error = errno;
    closedir(dir);
    keep_sorted(job, names, count);
    return error;
}

static int job_exists(struct fs_job *job)
{
    struct stat info;
    if (stat(job->path, &info) != 0) {
        return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
    }
    job->kind = S_ISREG(info.st_mode) ? "file" : S_ISDIR(info.st_mode) ? "directory" : "other";
    return 0;
}

/* With its parents; it may be there already. */
static int job_mkdir(struct fs_job *job)
{
    for (char *slash = job->path; (slash = strchr(slash + 1, '/')) != NULL;) {
        *slash = '\0';
        /* What cannot be made but is needed shows in the next step. */
        (void)mkdir(job->path, 0777);
        *slash = '/';
    }
    if (mkdir(job->path, 0777) == 0) return 0;
    int error = errno;
    struct stat info;
    bool is_there = error == EEXIST && stat(job->path, &info) == 0 && S_ISDIR(info.st_mode);
    return is_there ? 0 : error;
}

static bool is_root(const char *path)
{
    struct stat info, root;
    return lstat(path, &info) == 0 && stat("/", &root) == 0 && info.st_dev == root.st_dev &&
           info.st_ino == root.st_ino;
}

static int job_walk(struct fs_job *job)
{
    struct tree_walk walk = { .stop = &job->stop };
    if (job->verb == FS_REMOVE && is_root(job->path)) {
        return refuse(job, EPERM, "the root directory stays");
    }
    int error =
        job->verb == FS_COPY ? tree_copy(job->path, job->to, &walk) : tree_remove(job->path, &walk);
    job->reason = walk.reason;
    job->failed = walk.at; /* taken over */
    return error;
}
