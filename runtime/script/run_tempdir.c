/* run_tempdir.c: a run's own directory, and its removal on a thread of libuv's pool. What lies
 * there may be a million files or a mount that hangs: a run waits for a while, then it goes on
 * alone. */
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
    struct run *run; /* NULL: it no longer waits */
    char *path;
    void (*done)(struct run *run);
    bool is_spared; /* by a fault: as if it could not be removed */
    bool is_gone;
    struct err err; /* why not */
};

static size_t removals; /* of this process, under way */

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
    removal->path = xstrdup(run->tempdir);
    removal->done = done;
    run->removal = removal;
    removals++;
    if (fault_here("tempdir_remove")) {
        err_set(&removal->err, ERR_IO, "cannot remove %s: the fault that was ordered",
                removal->path);
        removal->is_spared = true;
    }
    uv_queue_work(&run->generation->host->loop->uv, &removal->work, remove_on_thread, on_removed);
}

void run_tempdir_leave(struct run *run)
{
    struct removal *removal = run->removal;
    log_warn("task %s: %s is not removed yet, which goes on: its run ends", run->name,
             removal->path);
    run->removal = NULL;
    removal->run = NULL;
    removal->done(run);
}

bool run_has_removals(void) { return removals > 0; }

static void remove_on_thread(uv_work_t *work)
{
    struct removal *removal = container_of(work, struct removal, work);
    removal->is_gone = !removal->is_spared && tree_remove_all(removal->path, &removal->err);
}

static void on_removed(uv_work_t *work, int status)
{
    struct removal *removal = container_of(work, struct removal, work);
    (void)status; /* nobody cancels it */
    if (!removal->is_gone) log_warn("%s", removal->err.text);
    struct run *run = removal->run;
    removals--;
    if (run) {
        run->removal = NULL;
        removal->done(run);
    }
    free(removal->path);
    free(removal);
}
