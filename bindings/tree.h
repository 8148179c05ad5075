/* tree.h: copies and removes files and whole directories without ever following a symbolic link.
 *
 * Works with descriptors relative to each directory, so that swapping a directory for a link
 * meanwhile leads nowhere. Blocking: pool threads. */
#pragma once
#include <stdatomic.h>
#include <sys/types.h>

#include "base/buf.h"

/* One walk. The caller sets `stop` (may be NULL), zeroes the rest and closes `at`. */
struct tree_walk {
    const atomic_bool *stop; /* becomes true: give up with ECANCELED */
    struct buf at;           /* out: where it failed */
    const char *reason;      /* out: better words than strerror has, or NULL; static */
    /* private */
    int depth;
    dev_t target_device; /* of the copy's top directory, */
    ino_t target_inode;  /* 0 until there is one */
};

/* 0 or an errno. Paths have no slash at their end. */
int tree_remove(const char *path, struct tree_walk *walk);
/* A file, a link (copied as a link) or a directory, which is merged into an existing one. Owner and
 * times are not kept, permissions are. */
int tree_copy(const char *from, const char *to, struct tree_walk *walk);
