/* fs.c: ctutor.fs: files, off the loop.
 *
 * bind_fs_x -> fs_begin -> (pool thread) on_work -> on_worked -> push_result, fs_release
 * A run that ends while its job is under way abandons it: the thread is told to stop early, and
 * on_worked frees what nobody waits for. Until then the job holds the run: it may write into the
 * run's own temporary directory, where relative paths begin. */
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bindings/bind.h"
#include "bindings/fs_job.h"
#include "script/codec.h"

#define READ_MAX_DEFAULT ((size_t)16 << 20)
#define READ_MAX_LIMIT   ((size_t)1 << 30)

struct fs_op {
    struct run_wait wait;
    struct run *run; /* held */
    uv_work_t work;
    struct fs_job job;
    char *shown;    /* the path as the task wrote it */
    bool abandoned; /* nobody waits any more */
};

static int fs_begin(lua_State *L, enum fs_verb verb, const char *text, size_t len, size_t max);

static int bind_fs_tempdir(lua_State *L)
{
    struct err err;
    const char *directory = run_tempdir(bind_run(L, "ctutor.fs.tempdir"), &err);
    if (directory == NULL) return bind_fail(L, "EIO", err.text);
    lua_pushstring(L, directory);
    return 1;
}

/* read(path[, max]) */
static int bind_fs_read(lua_State *L)
{
    double max = luaL_optnumber(L, 2, (double)READ_MAX_DEFAULT);
    if (!(max >= 0 && max <= (double)READ_MAX_LIMIT)) {
        return luaL_argerror(L, 2, "a limit is a number of bytes up to 1073741824");
    }
    return fs_begin(L, FS_READ, NULL, 0, (size_t)max);
}

static int bind_fs_write(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    return fs_begin(L, FS_WRITE, text, len, 0);
}

static int bind_fs_append(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    return fs_begin(L, FS_APPEND, text, len, 0);
}

static int bind_fs_list(lua_State *L) { return fs_begin(L, FS_LIST, NULL, 0, 0); }
static int bind_fs_exists(lua_State *L) { return fs_begin(L, FS_EXISTS, NULL, 0, 0); }
static int bind_fs_mkdir(lua_State *L) { return fs_begin(L, FS_MKDIR, NULL, 0, 0); }
static int bind_fs_copy(lua_State *L) { return fs_begin(L, FS_COPY, NULL, 0, 0); }
static int bind_fs_remove(lua_State *L) { return fs_begin(L, FS_REMOVE, NULL, 0, 0); }

int bind_fs_open(lua_State *L)
{
    static const struct bind_function functions[] = {
        { "tempdir", bind_fs_tempdir, false }, { "read", bind_fs_read, true },
        { "write", bind_fs_write, true },      { "append", bind_fs_append, true },
        { "list", bind_fs_list, true },        { "exists", bind_fs_exists, true },
        { "mkdir", bind_fs_mkdir, true },      { "copy", bind_fs_copy, true },
        { "remove", bind_fs_remove, true },
    };
    bind_push_module(L, functions, COUNT_OF(functions));
    return 1;
}

/* ---- one operation ---- */

static void fs_abandon(struct run_wait *wait);
static void on_work(uv_work_t *work);
static void on_worked(uv_work_t *work, int status);
static int push_result(lua_State *L, struct run_wait *wait);

static void fs_free(struct fs_op *op)
{
    fs_job_close(&op->job);
    free(op->shown);
    free(op);
}

/* Slashes at the end go: behind a link they would mean its target. NULL + err: no temporary
 * directory. */
static char *full_path(struct run *run, const char *path, struct err *err)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') len--;
    if (*path == '/') return xstrndup(path, len);
    const char *directory = run_tempdir(run, err);
    return directory != NULL ? xasprintf("%s/%.*s", directory, (int)len, path) : NULL;
}

static bool fs_fill(struct fs_op *op, struct run *run, const char *to, const char *text,
                    struct err *err)
{
    struct fs_job *job = &op->job;
    job->path = full_path(run, op->shown, err);
    if (job->path == NULL) return false;
    if (to != NULL && (job->to = full_path(run, to, err)) == NULL) return false;
    if (text == NULL) return true;
    job->bytes = malloc(job->len + 1);
    if (job->bytes == NULL) return err_set(err, ERR_NOMEM, "not enough memory for the text");
    memcpy(job->bytes, text, job->len);
    return true;
}

/* All that can raise comes before the operation exists; run_wait abandons it when it raises. */
static int fs_begin(lua_State *L, enum fs_verb verb, const char *text, size_t len, size_t max)
{
    struct err err;
    lua_settop(L, 2); /* an argument left out must not be the name pushed next */
    lua_pushfstring(L, "ctutor.fs.%s", fs_verb_name(verb));
    struct run *run = bind_run(L, lua_tostring(L, -1));
    const char *path = bind_check_path(L, 1);
    const char *to = verb == FS_COPY ? bind_check_path(L, 2) : NULL;
    struct fs_op *op = xcalloc(1, sizeof *op);
    op->wait.abandon = fs_abandon;
    op->shown = xstrdup(path);
    op->job.verb = verb;
    op->job.len = len;
    op->job.max = max;
    if (!fs_fill(op, run, to, text, &err)) {
        fs_free(op);
        return bind_fail(L, err.code == ERR_NOMEM ? "ENOMEM" : "EIO", err.text);
    }
    op->run = run;
    run_hold(run);
    uv_queue_work(&run_host(run)->loop->uv, &op->work, on_work, on_worked);
    return run_wait(L, &op->wait);
}

static void fs_abandon(struct run_wait *wait)
{
    struct fs_op *op = container_of(wait, struct fs_op, wait);
    op->abandoned = true;
    atomic_store(&op->job.stop, true);
    uv_cancel((uv_req_t *)&op->work); /* if no thread has it yet; on_worked comes in any case */
}

static void on_work(uv_work_t *work) { fs_job_run(&container_of(work, struct fs_op, work)->job); }

static void fs_release(struct run_wait *wait) { fs_free(container_of(wait, struct fs_op, wait)); }

static void on_worked(uv_work_t *work, int status)
{
    (void)status; /* cancelled only when abandoned */
    struct fs_op *op = container_of(work, struct fs_op, work);
    run_let_go(op->run);
    if (op->abandoned) {
        fs_free(op);
    } else {
        run_wake(&op->wait, push_result, fs_release);
    }
}

/* ---- what the task gets ---- */

static int push_failure(lua_State *L, const struct fs_op *op)
{
    const struct fs_job *job = &op->job;
    const char *where = op->shown;
    const char *why = job->reason != NULL ? job->reason : strerror(job->error);
    /* Below the path that was given, the inner name is worth telling. */
    if (job->failed.len > strlen(job->path)) where = buf_text(&job->failed);
    lua_pushnil(L);
    lua_pushfstring(L, "%s %s: %s", fs_verb_name(job->verb), where, why);
    lua_pushstring(L, bind_errno_name(job->error));
    return 3;
}

static int push_names(lua_State *L, const struct fs_job *job)
{
    const char *name = buf_text(&job->names);
    lua_createtable(L, (int)job->name_count, 0);
    codec_mark_array(L, lua_gettop(L));
    for (size_t i = 0; i < job->name_count; i++, name += strlen(name) + 1) {
        lua_pushstring(L, name);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static int push_result(lua_State *L, struct run_wait *wait)
{
    const struct fs_op *op = container_of(wait, struct fs_op, wait);
    const struct fs_job *job = &op->job;
    if (job->error != 0) return push_failure(L, op);
    if (job->verb == FS_LIST) return push_names(L, job);
    if (job->verb == FS_READ) {
        lua_pushlstring(L, job->len > 0 ? job->bytes : "", job->len);
        return 1;
    }
    lua_pushboolean(L, job->verb != FS_EXISTS || job->kind != NULL);
    if (job->kind == NULL) return 1;
    lua_pushstring(L, job->kind);
    return 2;
}
