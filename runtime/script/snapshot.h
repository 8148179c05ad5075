/* snapshot.h: the bytes of every file of tasks.d at one moment, as the checker read and approved
 * them. A generation is built from it, never from disk.
 *
 * A task that failed to load keeps its last good file together with the lib tree it was checked
 * with, so a snapshot holds one lib tree per distinct set. Encoded as length-prefixed bytes for
 * pipes. Immutable after making. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct snapshot_file {
    char *path; /* "lib/json5.lua", relative to the tree: "json5.lua" */
    char *bytes;
    size_t len;
};
struct snapshot_tree {
    struct snapshot_file *files;
    size_t count;
    char hash[65];
};
struct snapshot_task {
    char *file; /* "grade.lua" */
    char *name; /* as the file said it, or the file's name */
    char *bytes;
    size_t len;
    size_t tree;      /* index into trees */
    char version[17]; /* first 16 hex digits of SHA-256 over the file and the lib files it used */
};
struct snapshot {
    struct snapshot_tree *trees;
    size_t tree_count;
    struct snapshot_task *tasks;
    size_t task_count;
};
void snapshot_close(struct snapshot *snapshot);
void snapshot_encode(const struct snapshot *snapshot, struct buf *out);
MUSTUSE bool snapshot_decode(const char *bytes, size_t len, struct snapshot *out, struct err *err);

/* For those who make one (the checker). */
void snapshot_hash_tree(struct snapshot_tree *tree); /* fills hash; files are sorted by path */
void snapshot_copy_tree(const struct snapshot_tree *from, struct snapshot_tree *to);
void snapshot_close_tree(struct snapshot_tree *tree);
/* Takes the tree (empties *tree): the index of an equal one, or of itself, now in the snapshot. */
size_t snapshot_add_tree(struct snapshot *snapshot, struct snapshot_tree *tree);
struct snapshot_task *
snapshot_add_task(struct snapshot *snapshot); /* a zeroed one to fill in; borrowed until the next */
