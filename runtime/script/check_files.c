/* check_files.c: everything is opened relative to one descriptor of the directory, by the kernel's
 * RESOLVE_BENEATH where it has it (a symlink may point to another place inside), else without
 * following symlinks at all. What is judged is the open file, never its name. */
#include "script/check_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

#define FILE_MAX  (1024 * 1024)
#define DEPTH_MAX 16
#define FILES_MAX 10000

struct names {
    char **items;
    size_t count;
};

static void read_tasks(int root, struct check_files *out, struct err *err);
static void read_lib(int root, const char *path, int depth, struct check_files *out);
static void read_lib_entry(int root, const char *path, int depth, struct check_files *out);
static void add_fault(struct check_files *out, const char *path, const struct err *err);
static void add_lib_file(struct check_files *out, const char *path, char *bytes, size_t len);
static bool list_directory(int descriptor, struct names *names, struct err *err);
static void names_close(struct names *names);
static int compare_names(const void *a, const void *b);
static int compare_files(const void *a, const void *b);
static int open_beneath(int root, const char *path, int flags);
static bool read_file(int root, const char *path, char **bytes, size_t *len, struct err *err);
static bool fail_open(struct err *err);
static bool read_open_file(int descriptor, char **bytes, size_t *len, struct err *err);
static bool is_only_ours(const struct stat *info, struct err *err);
static bool is_lua_name(const char *name);

bool check_files_read(const char *directory, struct check_files *out, struct err *err)
{
    struct stat info;
    *out = (struct check_files){ 0 };
    err_clear(err);
    int root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || fstat(root, &info) != 0)
        err_set(err, errno == ENOENT || errno == ENOTDIR ? ERR_INPUT : ERR_IO, "%s",
                strerror(errno));
    else if (is_only_ours(&info, err))
        read_tasks(root, out, err);
    if (err->code == ERR_NONE) read_lib(root, "lib", 0, out);
    if (root >= 0) close(root);
    if (err->code != ERR_NONE) {
        check_files_close(out);
        return err_wrap(err, "tasks directory %s", directory);
    }
    if (out->lib.count > 1)
        qsort(out->lib.files, out->lib.count, sizeof *out->lib.files, compare_files);
    snapshot_hash_tree(&out->lib);
    return true;
}

static void read_tasks(int root, struct check_files *out, struct err *err)
{
    struct names names = { 0 };
    if (!list_directory(root, &names, err)) return;
    out->tasks = xcalloc(names.count, sizeof *out->tasks);
    for (size_t i = 0; i < names.count; i++) {
        struct err why;
        if (!is_lua_name(names.items[i])) continue;
        struct check_file *file = &out->tasks[out->task_count++];
        file->file = xstrdup(names.items[i]);
        if (!read_file(root, file->file, &file->bytes, &file->len, &why))
            file->error = xasprintf("%s: %s", file->file, why.text);
    }
    names_close(&names);
}

/* An absent lib/ is fine. */
static void read_lib(int root, const char *path, int depth, struct check_files *out)
{
    struct names names = { 0 };
    struct stat info;
    struct err err = { 0 };
    int directory = open_beneath(root, path, O_DIRECTORY);
    if (directory < 0 && depth == 0 && errno == ENOENT) return;
    if (directory < 0 || fstat(directory, &info) != 0)
        fail_open(&err);
    else if (depth > DEPTH_MAX)
        err_set(&err, ERR_INPUT, "nested too deep");
    else if (is_only_ours(&info, &err) && list_directory(directory, &names, &err))
        for (size_t i = 0; i < names.count; i++) {
            char *below = xasprintf("%s/%s", path, names.items[i]);
            read_lib_entry(root, below, depth, out);
            free(below);
        }
    if (err.code != ERR_NONE) add_fault(out, path, &err);
    names_close(&names);
    if (directory >= 0) close(directory);
}

static void read_lib_entry(int root, const char *path, int depth, struct check_files *out)
{
    struct stat info;
    struct err err;
    char *bytes = NULL;
    size_t len;
    if (out->lib.count >= FILES_MAX) return;
    if (fstatat(root, path, &info, 0) == 0 && S_ISDIR(info.st_mode))
        read_lib(root, path, depth + 1, out);
    else if (!is_lua_name(path))
        return; /* a README, data */
    else if (read_file(root, path, &bytes, &len, &err))
        add_lib_file(out, path + strlen("lib/"), bytes, len);
    else
        add_fault(out, path, &err);
}

static void add_fault(struct check_files *out, const char *path, const struct err *err)
{
    out->faults = xrealloc(out->faults, (out->fault_count + 1) * sizeof *out->faults);
    out->faults[out->fault_count++] =
        (struct check_file){ .file = xstrdup(path), .error = xasprintf("%s: %s", path, err->text) };
}

static void add_lib_file(struct check_files *out, const char *path, char *bytes, size_t len)
{
    struct snapshot_tree *lib = &out->lib;
    lib->files = xrealloc(lib->files, (lib->count + 1) * sizeof *lib->files);
    lib->files[lib->count++] =
        (struct snapshot_file){ .path = xstrdup(path), .bytes = bytes, .len = len };
}

/* Sorted, without dot files. */
static bool list_directory(int descriptor, struct names *names, struct err *err)
{
    int own = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = own >= 0 ? fdopendir(own) : NULL;
    if (!entries) {
        err_set(err, ERR_IO, "%s", strerror(errno));
        if (own >= 0) close(own);
        return false;
    }
    struct dirent *entry;
    while (names->count < FILES_MAX && (entry = readdir(entries))) {
        if (entry->d_name[0] == '.') continue;
        names->items = xrealloc(names->items, (names->count + 1) * sizeof *names->items);
        names->items[names->count++] = xstrdup(entry->d_name);
    }
    closedir(entries);
    if (names->count > 1) qsort(names->items, names->count, sizeof *names->items, compare_names);
    return true;
}

static void names_close(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) free(names->items[i]);
    free(names->items);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int compare_files(const void *a, const void *b)
{
    const struct snapshot_file *left = a, *right = b;
    return strcmp(left->path, right->path);
}

/* O_NONBLOCK: a fifo must not hold us up; it is refused once it is open. */
static int open_beneath(int root, const char *path, int flags)
{
    flags |= O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    struct open_how how = { .flags = (unsigned)flags,
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    int descriptor = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    if (descriptor < 0 && (errno == ENOSYS || errno == EPERM))
        descriptor = openat(root, path, flags | O_NOFOLLOW);
    return descriptor;
}

static bool read_file(int root, const char *path, char **bytes, size_t *len, struct err *err)
{
    int descriptor = open_beneath(root, path, 0);
    if (descriptor < 0) return fail_open(err);
    bool is_good = read_open_file(descriptor, bytes, len, err);
    close(descriptor);
    return is_good;
}

static bool fail_open(struct err *err)
{
    if (errno == EXDEV || errno == ELOOP)
        return err_set(err, ERR_INPUT, "is a symbolic link out of the tasks directory");
    return err_set(err, ERR_IO, "%s", strerror(errno));
}

static bool read_open_file(int descriptor, char **bytes, size_t *len, struct err *err)
{
    struct stat info;
    if (fstat(descriptor, &info) != 0) return err_set(err, ERR_IO, "%s", strerror(errno));
    if (!S_ISREG(info.st_mode)) return err_set(err, ERR_INPUT, "is not a regular file");
    if (!is_only_ours(&info, err)) return false;
    if (info.st_size > FILE_MAX) return err_set(err, ERR_INPUT, "is larger than 1 MiB");
    size_t room = FILE_MAX + 1, at = 0;
    char *text = xmalloc(room + 1);
    ssize_t count;
    while (at < room && (count = read(descriptor, text + at, room - at)) != 0) {
        if (count > 0)
            at += (size_t)count;
        else if (errno != EINTR)
            break;
    }
    text[at] = '\0';
    bool is_good = true;
    if (at > FILE_MAX)
        is_good = err_set(err, ERR_INPUT, "is larger than 1 MiB");
    else if (text[0] == '\x1b')
        is_good = err_set(err, ERR_INPUT, "is bytecode; only Lua text is loaded");
    *bytes = is_good ? xrealloc(text, at + 1) : NULL;
    if (!is_good) free(text);
    *len = at;
    return is_good;
}

static bool is_only_ours(const struct stat *info, struct err *err)
{
    if (!(info->st_mode & (S_IWGRP | S_IWOTH))) return true;
    return err_set(err, ERR_INPUT, "group or others may write to it (chmod go-w)");
}

static bool is_lua_name(const char *name)
{
    size_t len = strlen(name);
    return len > 4 && strcmp(name + len - 4, ".lua") == 0;
}

void check_files_close(struct check_files *files)
{
    for (size_t i = 0; i < files->task_count; i++) {
        free(files->tasks[i].file);
        free(files->tasks[i].bytes);
        free(files->tasks[i].error);
    }
    for (size_t i = 0; i < files->fault_count; i++) {
        free(files->faults[i].file);
        free(files->faults[i].error);
    }
    free(files->tasks);
    free(files->faults);
    snapshot_close_tree(&files->lib);
    *files = (struct check_files){ 0 };
}
