/* fs_job.h: one piece of work with files, done by a pool thread that knows nothing of Lua. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum fs_verb { FS_READ, FS_WRITE, FS_APPEND, FS_LIST, FS_EXISTS, FS_MKDIR, FS_COPY, FS_REMOVE };

struct fs_job {
    enum fs_verb verb;
    char *path;       /* owned */
    char *to;         /* owned; FS_COPY */
    char *bytes;      /* owned; what to write, or what was read */
    size_t len;       /* of bytes */
    size_t max;       /* FS_READ: more is an error */
    atomic_bool stop; /* nobody wants the result any more: end early */
    /* results */
    int error;          /* errno, 0: done */
    const char *reason; /* better words than strerror has, or NULL; static */
    struct buf failed;  /* FS_COPY, FS_REMOVE: where; else empty */
    struct buf names;   /* FS_LIST: sorted, each with its NUL */
    size_t name_count;
    const char *kind; /* FS_EXISTS: "file", "directory", "other", NULL: absent; static */
};

void fs_job_run(struct fs_job *job); /* blocking; any thread */
void fs_job_close(struct fs_job *job);
const char *fs_verb_name(enum fs_verb verb);
