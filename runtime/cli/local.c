/* local.c: see local.h. */
#include "cli/local.h"

#include <jansson.h>
#include <unistd.h>

#include "bindings/bindings.h"
#include "script/interrupt.h"
#include "worker/checking.h"

static bool check_aside(struct app *app, const char *directory, struct check_outcome *out,
                        struct err *err);
static void on_checked(void *arg, struct proc *proc, struct proc_exit how);
static bool outcome_take(struct checked *checked, struct check_outcome *out, struct err *err);

bool local_open(struct app *app, const char *directory, struct local_tasks *out, struct err *err)
{
    *out = (struct local_tasks){
        .host = { .loop = &app->loop, .bindings = binding_table, .binding_count = binding_count }
    };
    out->host.max_result = (size_t)config_int(app->config, SET_MAX_RESULT);
    if (!check_aside(app, directory, &out->outcome, err)) return false;
    interrupt_start(NULL);
    return true;
}

/* By the same process that a worker asks: a file may take it down. */
static bool check_aside(struct app *app, const char *directory, struct check_outcome *out,
                        struct err *err)
{
    struct checked checked = { 0 };
    struct proc *checker = NULL;
    int answer = -1;
    proc_init(&app->loop, false);
    bool good = checking_start(directory, config_duration_us(app->config, SET_TIMEOUT), NULL,
                               on_checked, &checker, &checker, &answer, err);
    while (good && checker) loop_turn(&app->loop, true);
    proc_close();
    loop_turn(&app->loop, false); /* it may be opened again */
    good = good && checked_read(answer, &checked, err) && outcome_take(&checked, out, err);
    if (answer >= 0) close(answer);
    checked_close(&checked);
    return good;
}

static void on_checked(void *arg, struct proc *proc, struct proc_exit how)
{
    struct proc **checker = arg;
    (void)proc, (void)how;
    *checker = NULL;
}

static bool outcome_take(struct checked *checked, struct check_outcome *out, struct err *err)
{
    const struct buf *bytes = &checked->snapshot;
    if (checked->error) return err_set(err, ERR_INPUT, "%s", checked->error);
    if (!snapshot_decode(bytes->data, bytes->len, &out->snapshot, err)) return false;
    out->catalogue = checked->catalogue;
    out->report = checked->report;
    checked->catalogue = checked->report = BUF_EMPTY;
    json_t *catalogue = json_loadb(out->catalogue.data, out->catalogue.len, 0, NULL);
    out->errors = json_array_size(json_object_get(catalogue, "errors"));
    json_decref(catalogue);
    return true;
}

void local_close(struct local_tasks *tasks)
{
    check_outcome_close(&tasks->outcome);
    interrupt_stop();
}
