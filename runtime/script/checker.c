/* checker.c: examine every file, settle who owns which name, and merge with what served before.
 *
 * A file that fails, in whatever way, keeps the task it had together with the lib tree it was
 * checked with. Two files of one name fail both; since a failed file's old task may hold a name,
 * this is repeated until nothing changes. */
#include "script/checker.h"

#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "script/check_files.h"
#include "script/definition.h"
#include "script/digest.h"
#include "script/vm.h"

struct candidate {
    const struct check_file *file;
    struct task_definition definition; /* of a good one, and of one that failed by its name */
    bool has_definition, is_good;
    char *error;
    struct buf warnings; /* JSON array */
};

struct check {
    struct check_files files;
    const struct snapshot *previous; /* or NULL */
    int64_t default_timeout_us;
    const struct check_watch *watch; /* or NULL */
    struct vm *vm;
    struct candidate *candidates; /* one per task file */
    struct check_outcome *out;
    struct jsonw entries, errors, removed, report;
    struct buf entries_text, errors_text, removed_text;
};

static void examine_all(struct check *check);
static bool examine(struct check *check, struct candidate *candidate, struct err *err);
static bool is_stuck(const struct check *check, const char *file);
static void compute_version(const struct check *check, struct candidate *candidate,
                            const bool *used);
static void settle_names(struct check *check);
static bool fail_if_taken(struct check *check, struct candidate *candidate);
static const char *find_rival(const struct check *check, const struct candidate *candidate);
static const struct snapshot_task *find_previous(const struct check *check, const char *file);
static bool has_file(const struct check *check, const char *file);
static bool is_disputed(const struct check *check, const char *name);
static void merge(struct check *check);
static void merge_candidate(struct check *check, struct candidate *candidate);
static void add_task(struct check *check, const struct candidate *candidate);
static void keep_task(struct check *check, const struct snapshot_task *task);
static void merge_gone(struct check *check);
static void add_line(struct check *check, const char *file, const char *name, const char *outcome,
                     const char *error, const struct buf *warnings);
static bool is_served(const struct check *check, const char *name);
static void start_texts(struct check *check);
static void finish_texts(struct check *check);
static void check_close(struct check *check);

bool check_directory(const char *directory, const struct snapshot *previous,
                     const struct script_host *host, int64_t default_timeout_us,
                     const struct check_watch *watch, struct check_outcome *out, struct err *err)
{
    struct check check = {
        .previous = previous, .default_timeout_us = default_timeout_us, .watch = watch, .out = out
    };
    *out = (struct check_outcome){ 0 };
    if (!check_files_read(directory, &check.files, err)) return false;
    check.vm = vm_new(host, &check.files.lib, 1, true, err);
    if (check.vm) {
        check.candidates = xcalloc(check.files.task_count, sizeof *check.candidates);
        examine_all(&check);
        settle_names(&check);
        merge(&check);
    }
    bool is_good = check.vm != NULL;
    check_close(&check);
    return is_good;
}

void check_outcome_close(struct check_outcome *outcome)
{
    snapshot_close(&outcome->snapshot);
    buf_close(&outcome->catalogue);
    buf_close(&outcome->report);
}

static void examine_all(struct check *check)
{
    for (size_t i = 0; i < check->files.task_count; i++) {
        struct candidate *candidate = &check->candidates[i];
        struct err err;
        candidate->file = &check->files.tasks[i];
        buf_add_text(&candidate->warnings, "");
        if (candidate->file->error) {
            candidate->error = xstrdup(candidate->file->error);
        } else {
            candidate->is_good = examine(check, candidate, &err);
            if (!candidate->is_good) candidate->error = xstrdup(err.text);
        }
        if (candidate->warnings.len == 0) buf_add_text(&candidate->warnings, "[]");
    }
    if (check->watch) check->watch->loading(NULL);
}

static bool examine(struct check *check, struct candidate *candidate, struct err *err)
{
    const struct check_file *file = candidate->file;
    struct vm_source source = { file->file, file->bytes, file->len, 0 };
    if (check->watch && is_stuck(check, file->file))
        return err_set(err, ERR_DEADLINE, "%s: stuck in a C function for 2 s while loading",
                       file->file);
    if (check->watch) check->watch->loading(file->file);
    bool *used = xcalloc(check->files.lib.count, sizeof *used);
    bool is_good = vm_analyse(check->vm, &source, used, &candidate->warnings, err) &&
                   vm_load(check->vm, &source, err) &&
                   definition_read(check->vm->L, file->file, check->default_timeout_us,
                                   &candidate->definition, err);
    candidate->has_definition = is_good;
    if (is_good) compute_version(check, candidate, used);
    free(used);
    return is_good;
}

static bool is_stuck(const struct check *check, const char *file)
{
    const char *const *stuck = check->watch->stuck;
    while (*stuck && strcmp(*stuck, file) != 0) stuck++;
    return *stuck != NULL;
}

static void compute_version(const struct check *check, struct candidate *candidate,
                            const bool *used)
{
    struct digest digest;
    digest_init(&digest);
    digest_add(&digest, candidate->file->bytes, candidate->file->len);
    for (size_t i = 0; i < check->files.lib.count; i++) {
        const struct snapshot_file *file = &check->files.lib.files[i];
        if (!used[i]) continue;
        digest_add(&digest, file->path, strlen(file->path));
        digest_add(&digest, file->bytes, file->len);
    }
    digest_end_short(&digest, candidate->definition.version);
}

static void settle_names(struct check *check)
{
    bool has_changed;
    do {
        has_changed = false;
        for (size_t i = 0; i < check->files.task_count; i++)
            if (check->candidates[i].is_good && fail_if_taken(check, &check->candidates[i]))
                has_changed = true;
    } while (has_changed);
}

static bool fail_if_taken(struct check *check, struct candidate *candidate)
{
    const char *rival = find_rival(check, candidate);
    if (!rival) return false;
    candidate->is_good = false;
    candidate->error = xasprintf("%s: the name '%s' is also used by %s", candidate->file->file,
                                 candidate->definition.name, rival);
    return true;
}

/* The file of another claim to the same name: one that was examined well, also if it has lost the
 * name in the same quarrel, or the old task of one that failed. */
static const char *find_rival(const struct check *check, const struct candidate *candidate)
{
    const char *name = candidate->definition.name;
    for (size_t i = 0; i < check->files.task_count; i++) {
        const struct candidate *other = &check->candidates[i];
        if (other == candidate) continue;
        if (other->has_definition && strcmp(other->definition.name, name) == 0)
            return other->file->file;
        const struct snapshot_task *old =
            other->is_good ? NULL : find_previous(check, other->file->file);
        if (old && strcmp(old->name, name) == 0) return other->file->file;
    }
    return NULL;
}

static const struct snapshot_task *find_previous(const struct check *check, const char *file)
{
    for (size_t i = 0; check->previous && i < check->previous->task_count; i++)
        if (strcmp(check->previous->tasks[i].file, file) == 0) return &check->previous->tasks[i];
    return NULL;
}

static bool has_file(const struct check *check, const char *file)
{
    for (size_t i = 0; i < check->files.task_count; i++)
        if (strcmp(check->files.tasks[i].file, file) == 0) return true;
    return false;
}

/* Somebody wanted the name, and nobody got it. */
static bool is_disputed(const struct check *check, const char *name)
{
    for (size_t i = 0; i < check->files.task_count; i++) {
        const struct candidate *candidate = &check->candidates[i];
        if (candidate->has_definition && !candidate->is_good &&
            strcmp(candidate->definition.name, name) == 0)
            return true;
    }
    return false;
}

static void merge(struct check *check)
{
    start_texts(check);
    for (size_t i = 0; i < check->files.fault_count; i++)
        add_line(check, check->files.faults[i].file, NULL, "failed", check->files.faults[i].error,
                 NULL);
    for (size_t i = 0; i < check->files.task_count; i++)
        merge_candidate(check, &check->candidates[i]);
    merge_gone(check);
    finish_texts(check);
}

static void merge_candidate(struct check *check, struct candidate *candidate)
{
    const char *file = candidate->file->file;
    const struct snapshot_task *old = find_previous(check, file);
    if (candidate->is_good) {
        const struct task_definition *definition = &candidate->definition;
        bool is_same = old && strcmp(old->version, definition->version) == 0 &&
                       strcmp(old->name, definition->name) == 0;
        add_task(check, candidate);
        definition_write(definition, &check->entries);
        add_line(check, file, definition->name, is_same ? "unchanged" : "loaded", NULL,
                 &candidate->warnings);
        return;
    }
    if (old) keep_task(check, old);
    const char *name = old ? old->name : NULL;
    if (!name && candidate->has_definition) name = candidate->definition.name;
    add_line(check, file, name, old ? "kept" : "failed", candidate->error, &candidate->warnings);
}

static void add_task(struct check *check, const struct candidate *candidate)
{
    struct snapshot *snapshot = &check->out->snapshot;
    struct snapshot_tree tree;
    snapshot_copy_tree(&check->files.lib, &tree);
    size_t index = snapshot_add_tree(snapshot, &tree);
    struct snapshot_task *task = snapshot_add_task(snapshot);
    task->file = xstrdup(candidate->file->file);
    task->name = xstrdup(candidate->definition.name);
    task->bytes = xmalloc(candidate->file->len + 1);
    memcpy(task->bytes, candidate->file->bytes, candidate->file->len + 1);
    task->len = candidate->file->len;
    task->tree = index;
    memcpy(task->version, candidate->definition.version, sizeof task->version);
}

static void keep_task(struct check *check, const struct snapshot_task *old)
{
    struct snapshot *snapshot = &check->out->snapshot;
    struct snapshot_tree tree;
    snapshot_copy_tree(&check->previous->trees[old->tree], &tree);
    size_t index = snapshot_add_tree(snapshot, &tree);
    struct snapshot_task *task = snapshot_add_task(snapshot);
    *task = *old;
    task->file = xstrdup(old->file);
    task->name = xstrdup(old->name);
    task->bytes = xmalloc(old->len + 1);
    memcpy(task->bytes, old->bytes, old->len + 1);
    task->tree = index;
}

/* Tasks whose file is gone end, unless two others quarrel about the name. */
static void merge_gone(struct check *check)
{
    for (size_t i = 0; check->previous && i < check->previous->task_count; i++) {
        const struct snapshot_task *old = &check->previous->tasks[i];
        bool is_gone = !has_file(check, old->file);
        if (is_gone && is_disputed(check, old->name) && !is_served(check, old->name)) {
            keep_task(check, old);
            add_line(check, old->file, old->name, "kept", NULL, NULL);
        } else if (is_gone) {
            add_line(check, old->file, old->name, "removed", NULL, NULL);
        }
        if (!is_served(check, old->name)) jsonw_text(&check->removed, old->name);
    }
}

static bool is_served(const struct check *check, const char *name)
{
    const struct snapshot *snapshot = &check->out->snapshot;
    for (size_t i = 0; i < snapshot->task_count; i++)
        if (strcmp(snapshot->tasks[i].name, name) == 0) return true;
    return false;
}

static void add_line(struct check *check, const char *file, const char *name, const char *outcome,
                     const char *error, const struct buf *warnings)
{
    struct jsonw *w = &check->report;
    jsonw_object(w);
    jsonw_key_text(w, "file", file);
    jsonw_key_text(w, "name", name);
    jsonw_key_text(w, "outcome", outcome);
    jsonw_key_text(w, "error", error);
    jsonw_key(w, "warnings");
    jsonw_raw(w, warnings ? warnings->data : "[]", warnings ? warnings->len : 2);
    jsonw_object_end(w);
    if (!error) return;
    check->out->errors++;
    jsonw_object(&check->errors);
    jsonw_key_text(&check->errors, "file", file);
    jsonw_key_text(&check->errors, "error", error);
    jsonw_object_end(&check->errors);
}

static void start_texts(struct check *check)
{
    jsonw_init(&check->entries, &check->entries_text);
    jsonw_init(&check->errors, &check->errors_text);
    jsonw_init(&check->removed, &check->removed_text);
    jsonw_init(&check->report, &check->out->report);
    jsonw_array(&check->entries);
    jsonw_array(&check->errors);
    jsonw_array(&check->removed);
    jsonw_array(&check->report);
}

static void finish_texts(struct check *check)
{
    jsonw_array_end(&check->entries);
    jsonw_array_end(&check->errors);
    jsonw_array_end(&check->removed);
    jsonw_array_end(&check->report);
    struct jsonw w;
    jsonw_init(&w, &check->out->catalogue);
    jsonw_object(&w);
    jsonw_key(&w, "entries");
    jsonw_raw(&w, check->entries_text.data, check->entries_text.len);
    jsonw_key(&w, "errors");
    jsonw_raw(&w, check->errors_text.data, check->errors_text.len);
    jsonw_key(&w, "removed");
    jsonw_raw(&w, check->removed_text.data, check->removed_text.len);
    jsonw_object_end(&w);
}

static void check_close(struct check *check)
{
    for (size_t i = 0; check->candidates && i < check->files.task_count; i++) {
        definition_close(&check->candidates[i].definition);
        free(check->candidates[i].error);
        buf_close(&check->candidates[i].warnings);
    }
    free(check->candidates);
    buf_close(&check->entries_text);
    buf_close(&check->errors_text);
    buf_close(&check->removed_text);
    if (check->vm) vm_free(check->vm);
    check_files_close(&check->files);
}
