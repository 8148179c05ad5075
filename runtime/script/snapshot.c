/* snapshot.c: the encoding is a magic, then counts and length-prefixed bytes in the order of the
 * structs. Decoding trusts nothing: every length is held against what is left, every index against
 * its count. */
#include "script/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/digest.h"

static const char magic[8] = "CTSNAP1";

struct source {
    const unsigned char *at, *end;
    bool is_broken;
};

static void add_bytes(struct buf *out, const char *bytes, size_t len);
static void add_text(struct buf *out, const char *text);
static void read_tree(struct source *source, struct snapshot_tree *tree);
static void read_task(struct source *source, struct snapshot_task *task, size_t tree_count);
static size_t read_count(struct source *source, size_t least);
static char *read_bytes(struct source *source, size_t *len);
static char *read_text(struct source *source);
static void read_fixed(struct source *source, char *out, size_t size);
static char *copy_bytes(const char *bytes, size_t len);

void snapshot_close(struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->tree_count; i++) snapshot_close_tree(&snapshot->trees[i]);
    for (size_t i = 0; i < snapshot->task_count; i++) {
        free(snapshot->tasks[i].file);
        free(snapshot->tasks[i].name);
        free(snapshot->tasks[i].bytes);
    }
    free(snapshot->trees);
    free(snapshot->tasks);
    *snapshot = (struct snapshot){ 0 };
}

void snapshot_encode(const struct snapshot *snapshot, struct buf *out)
{
    buf_add(out, magic, sizeof magic);
    buf_add_u32be(out, (uint32_t)snapshot->tree_count);
    for (size_t i = 0; i < snapshot->tree_count; i++) {
        const struct snapshot_tree *tree = &snapshot->trees[i];
        add_text(out, tree->hash);
        buf_add_u32be(out, (uint32_t)tree->count);
        for (size_t f = 0; f < tree->count; f++) {
            add_text(out, tree->files[f].path);
            add_bytes(out, tree->files[f].bytes, tree->files[f].len);
        }
    }
    buf_add_u32be(out, (uint32_t)snapshot->task_count);
    for (size_t i = 0; i < snapshot->task_count; i++) {
        const struct snapshot_task *task = &snapshot->tasks[i];
        add_text(out, task->file);
        add_text(out, task->name);
        add_text(out, task->version);
        buf_add_u32be(out, (uint32_t)task->tree);
        add_bytes(out, task->bytes, task->len);
    }
}

static void add_bytes(struct buf *out, const char *bytes, size_t len)
{
    buf_add_u32be(out, (uint32_t)len);
    buf_add(out, bytes, len);
}

static void add_text(struct buf *out, const char *text) { add_bytes(out, text, strlen(text)); }

bool snapshot_decode(const char *bytes, size_t len, struct snapshot *out, struct err *err)
{
    struct source source = { (const unsigned char *)bytes, (const unsigned char *)bytes + len,
                             len < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0 };
    *out = (struct snapshot){ 0 };
    if (!source.is_broken) source.at += sizeof magic;
    out->tree_count = read_count(&source, 8);
    out->trees = xcalloc(out->tree_count, sizeof *out->trees);
    for (size_t i = 0; i < out->tree_count; i++) read_tree(&source, &out->trees[i]);
    out->task_count = read_count(&source, 20);
    out->tasks = xcalloc(out->task_count, sizeof *out->tasks);
    for (size_t i = 0; i < out->task_count; i++)
        read_task(&source, &out->tasks[i], out->tree_count);
    if (!source.is_broken && source.at == source.end) return true;
    snapshot_close(out);
    return err_set(err, ERR_DATA, "the snapshot of the task files is damaged");
}

static void read_tree(struct source *source, struct snapshot_tree *tree)
{
    read_fixed(source, tree->hash, sizeof tree->hash);
    tree->count = read_count(source, 8);
    tree->files = xcalloc(tree->count, sizeof *tree->files);
    for (size_t i = 0; i < tree->count; i++) {
        tree->files[i].path = read_text(source);
        tree->files[i].bytes = read_bytes(source, &tree->files[i].len);
    }
}

static void read_task(struct source *source, struct snapshot_task *task, size_t tree_count)
{
    task->file = read_text(source);
    task->name = read_text(source);
    read_fixed(source, task->version, sizeof task->version);
    task->tree = read_count(source, 0);
    task->bytes = read_bytes(source, &task->len);
    if (task->tree >= tree_count) source->is_broken = true;
}

/* least: bytes that each of them takes up at least; bounds what a broken count makes us allocate.
 */
static size_t read_count(struct source *source, size_t least)
{
    if (source->is_broken || source->end - source->at < 4) {
        source->is_broken = true;
        return 0;
    }
    const unsigned char *at = source->at;
    size_t count = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
    source->at += 4;
    if (count * least <= (size_t)(source->end - source->at)) return count;
    source->is_broken = true;
    return 0;
}

/* Gives memory also when broken, so that no pointer of the struct is NULL. */
static char *read_bytes(struct source *source, size_t *len)
{
    *len = read_count(source, 1);
    char *bytes = copy_bytes((const char *)source->at, *len);
    source->at += *len;
    return bytes;
}

static char *read_text(struct source *source)
{
    size_t len;
    char *text = read_bytes(source, &len);
    if (strlen(text) != len) source->is_broken = true;
    return text;
}

static void read_fixed(struct source *source, char *out, size_t size)
{
    char *text = read_text(source);
    if (strlen(text) == size - 1)
        memcpy(out, text, size);
    else
        source->is_broken = true;
    free(text);
}

void snapshot_hash_tree(struct snapshot_tree *tree)
{
    struct digest digest;
    digest_init(&digest);
    for (size_t i = 0; i < tree->count; i++) {
        digest_add(&digest, tree->files[i].path, strlen(tree->files[i].path));
        digest_add(&digest, tree->files[i].bytes, tree->files[i].len);
    }
    digest_end(&digest, tree->hash);
}

void snapshot_copy_tree(const struct snapshot_tree *from, struct snapshot_tree *to)
{
    *to = *from;
    to->files = xcalloc(from->count, sizeof *to->files);
    for (size_t i = 0; i < from->count; i++) {
        to->files[i].path = xstrdup(from->files[i].path);
        to->files[i].bytes = copy_bytes(from->files[i].bytes, from->files[i].len);
        to->files[i].len = from->files[i].len;
    }
}

void snapshot_close_tree(struct snapshot_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        free(tree->files[i].path);
        free(tree->files[i].bytes);
    }
    free(tree->files);
    *tree = (struct snapshot_tree){ 0 };
}

size_t snapshot_add_tree(struct snapshot *snapshot, struct snapshot_tree *tree)
{
    for (size_t i = 0; i < snapshot->tree_count; i++) {
        if (strcmp(snapshot->trees[i].hash, tree->hash) != 0) continue;
        snapshot_close_tree(tree);
        return i;
    }
    size_t index = snapshot->tree_count++;
    snapshot->trees = xrealloc(snapshot->trees, snapshot->tree_count * sizeof *snapshot->trees);
    snapshot->trees[index] = *tree;
    *tree = (struct snapshot_tree){ 0 };
    return index;
}

struct snapshot_task *snapshot_add_task(struct snapshot *snapshot)
{
    size_t index = snapshot->task_count++;
    snapshot->tasks = xrealloc(snapshot->tasks, snapshot->task_count * sizeof *snapshot->tasks);
    snapshot->tasks[index] = (struct snapshot_task){ 0 };
    return &snapshot->tasks[index];
}

static char *copy_bytes(const char *bytes, size_t len)
{
    char *copy = xmalloc(len + 1);
    if (len > 0) memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}
