/* check_files.h: the bytes of a tasks directory, read without following anything out of it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "script/snapshot.h"

struct check_file {
    char *file;  /* "grade.lua", "lib/json5.lua" */
    char *bytes; /* NULL: error says why not */
    size_t len;
    char *error;
};

struct check_files {
    struct check_file *tasks; /* sorted by name */
    size_t task_count;
    struct check_file *faults; /* what of lib/ was refused */
    size_t fault_count;
    struct snapshot_tree lib; /* sorted by path, hash filled */
};

/* Error: the directory cannot be read, or others may write to it. */
MUSTUSE bool check_files_read(const char *directory, struct check_files *out, struct err *err);
void check_files_close(struct check_files *files);
