/* run_tempdir.c: a run's own directory, and its removal on a thread of libuv's pool. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/tree.h"
#include "script/run_state.h"

struct removal {
    uv_work_t work;
    struct run *run;
    void (*done)(struct run *run);
    bool is_spared; /* by a fault: as if it could not be removed */
    bool is_gone;
    struct err err; /* why not */
};

static void remove_on_thread(uv_work_t *work);
static void on_removed(uv_work_t *work, int status);

const char *run_tempdir(struct run *run, struct err *err)
{
    char claim[IDENT_TEXT_SIZE];
    const char *base = run->generation->host->run_directory;
    if (run->tempdir) return run->tempdir;
    if (!base) {
        err_set(err, ERR_IO, "there is no directory for temporary files");
        return NULL;
    }
    ident_text(&run->claim, claim);
    char *path = xasprintf("%s/%s", base, claim);
    if (mkdir(path, 0700) != 0) {
        err_set(err, ERR_IO, "cannot make %s: %s", path, strerror(errno));
        free(path);
        return NULL;
    }
    run->tempdir = path;
    return path;
}

void run_tempdir_remove(struct run *run, void (*done)(struct run *run))
{
    struct removal *removal = xcalloc(1, sizeof *removal);
    removal->run = run;
    removal->done = done;
    if (fault_here("tempdir_remove")) {
        err_set(&removal->err, ERR_IO, "cannot remove %s: the fault that was ordered",
                run->tempdir);
        removal->is_spared = true;
    }
    uv_queue_work(&run->generation->host->loop->uv, &removal->work, remove_on_thread, on_removed);
}

static void remove_on_thread(uv_work_t *work)
{
    struct removal *removal = container_of(work, struct removal, work);
    removal->is_gone = !removal->is_spared && tree_remove_all(removal->run->tempdir, &removal->err);
}

static void on_removed(uv_work_t *work, int status)
{
    struct removal *removal = container_of(work, struct removal, work);
    (void)status; /* nobody cancels it */
    if (!removal->is_gone) log_warn("%s", removal->err.text);
    removal->done(removal->run);
    free(removal);
}
