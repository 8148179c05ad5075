/* child.c: see child.h.
 *
 *   child_start -> RUNNING --on_exit--------------> sweep --on_swept--> both outputs at their end,
 * or --> child_close -> on_closed -> done
 *                     \--on_timer, child_abandon--> sweep --on_exit-->  DRAIN_US later
 *
 * A sweep (in the thread pool, it takes milliseconds) kills everything the process started: also
 * after its own normal end, because a daemon that it left behind would hold the pipes open for
 * ever. One sweep is enough: proc_kill_tree looks until nothing is left. What even it cannot find
 * (a daemon in a session of its own with a cleared environment) may hold a pipe no longer than
 * DRAIN_US.
 *
 * child_advance alone decides that a child is over; every callback records its news and calls it.
 */
#include "bindings/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define DRAIN_US   500000
#define READ_CHUNK 65536

struct child {
    struct loop *loop;
    child_done_fn *done; /* NULL: abandoned */
    void *arg;
    pid_t pid;
    char *marker;
    char *input_text;
    size_t max_output;
    int64_t began_us;
    struct child_report report;

    uv_pipe_t input;
    uv_write_t write;
    uv_pipe_t outputs[2];
    struct timer timer; /* first the timeout, after the sweep the end of draining */
    uv_work_t sweep;
    unsigned open_handles;

    unsigned ended_outputs;
    bool exited, sweeping, swept, drained, closing;
};

/* Both ends of the three pipes. */
struct pipes {
    int input[2];
    int outputs[2][2];
};

static void pipes_init(struct pipes *pipes);
static bool pipes_open(struct pipes *pipes, bool with_input);
static void pipes_close(struct pipes *pipes);
static void child_watch(struct child *child, struct pipes *pipes, const struct child_spec *spec);
static void child_sweep(struct child *child);
static void child_advance(struct child *child);
static void child_close(struct child *child);
static void on_exit_seen(void *arg, struct proc *proc, struct proc_exit how);

bool child_start(struct loop *loop, const struct child_spec *spec, child_done_fn *done, void *arg,
                 struct child **out, struct err *err)
{
    struct pipes pipes;
    pipes_init(&pipes);
    struct child *child = xcalloc(1, sizeof *child);
    struct proc *proc = NULL;
    if (spec->input != NULL && (child->input_text = malloc(spec->input_len + 1)) == NULL) {
        err_set(err, ERR_NOMEM, "cannot start %s: %s", spec->options->argv[0], strerror(ENOMEM));
        goto fail;
    }
    if (!pipes_open(&pipes, spec->input != NULL)) {
        err_set(err, ERR_IO, "cannot start %s: %s", spec->options->argv[0], strerror(errno));
        goto fail;
    }
    struct proc_options options = *spec->options;
    int fds[3] = { pipes.input[0], pipes.outputs[0][1], pipes.outputs[1][1] };
    options.fds = fds;
    options.fd_count = COUNT_OF(fds);
    child->began_us = clock_mono_us();
    if (!proc_start(&options, on_exit_seen, child, &proc, err)) goto fail;
    child->loop = loop;
    child->done = done;
    child->arg = arg;
    child->pid = proc_pid(proc);
    child->marker = xstrdup(spec->marker);
    child->max_output = spec->max_output;
    if (spec->input != NULL) memcpy(child->input_text, spec->input, spec->input_len);
    child_watch(child, &pipes, spec);
    pipes_close(&pipes); /* the child's ends; ours belong to libuv now */
    *out = child;
    return true;
fail:
    pipes_close(&pipes);
    free(child->input_text);
    free(child);
    return false;
}

void child_abandon(struct child *child)
{
    child->done = NULL;
    if (!child->exited) kill(-child->pid, SIGKILL); /* most of it, at once; the sweep is thorough */
    child_sweep(child);
    child_advance(child);
}

/* ---- pipes ---- */

static void pipes_init(struct pipes *pipes) { memset(pipes, 0xff, sizeof *pipes); /* -1: none */ }

static bool pipes_open(struct pipes *pipes, bool with_input)
{
    return (!with_input || pipe2(pipes->input, O_CLOEXEC) == 0) &&
           pipe2(pipes->outputs[0], O_CLOEXEC) == 0 && pipe2(pipes->outputs[1], O_CLOEXEC) == 0;
}

static void close_end(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void pipes_close(struct pipes *pipes)
{
    for (int i = 0; i < 2; i++) {
        close_end(&pipes->input[i]);
        close_end(&pipes->outputs[0][i]);
        close_end(&pipes->outputs[1][i]);
    }
}

/* libuv takes this end. Opening fails only for a descriptor that is no pipe: our bug. */
static void open_pipe(struct child *child, uv_pipe_t *pipe, int *end)
{
    uv_pipe_init(&child->loop->uv, pipe, 0);
    pipe->data = child;
    child->open_handles++;
    if (uv_pipe_open(pipe, *end) != 0) abort();
    *end = -1;
}

/* ---- news of a running child ---- */

static void on_timer(struct timer *timer);
static void on_written(uv_write_t *write, int status);
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
static void on_output(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf);

static void child_watch(struct child *child, struct pipes *pipes, const struct child_spec *spec)
{
    timer_init(child->loop, &child->timer, on_timer);
    child->open_handles = 1;
    if (spec->timeout_us >= 0) timer_start(&child->timer, spec->timeout_us);
    for (int i = 0; i < 2; i++) {
        open_pipe(child, &child->outputs[i], &pipes->outputs[i][0]);
        uv_read_start((uv_stream_t *)&child->outputs[i], on_alloc, on_output);
    }
    if (spec->input == NULL) return;
    open_pipe(child, &child->input, &pipes->input[1]);
    uv_buf_t text = uv_buf_init(child->input_text, (unsigned)spec->input_len);
    if (uv_write(&child->write, (uv_stream_t *)&child->input, &text, 1, on_written) != 0) {
        abort(); /* only for a stream that is not open */
    }
}

static void on_handle_closed(uv_handle_t *handle);

/* Written, or nobody reads it (EPIPE): either way the child sees the end of its input. */
static void on_written(uv_write_t *write, int status)
{
    (void)status;
    uv_handle_t *input = (uv_handle_t *)write->handle;
    if (!uv_is_closing(input)) uv_close(input, on_handle_closed);
}

/* One chunk serves all children: libuv fills it and hands it to on_output before it asks again. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char chunk[READ_CHUNK];
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(chunk, sizeof chunk);
}

static void on_output(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct child *child = stream->data;
    struct buf *kept = &child->report.outputs[(uv_pipe_t *)stream - child->outputs];
    if (got < 0) { /* the end, or an error, which is an end too */
        uv_read_stop(stream);
        child->ended_outputs++;
        child_advance(child);
        return;
    }
    size_t room = child->max_output - kept->len, more = (size_t)got;
    if (more > room) child->report.truncated = true;
    if (child->done != NULL) buf_add(kept, buf->base, more < room ? more : room);
}

static void on_exit_seen(void *arg, struct proc *proc, struct proc_exit how)
{
    (void)proc;
    struct child *child = arg;
    child->exited = true;
    child->report.how = how;
    child->report.seconds = (double)(clock_mono_us() - child->began_us) / 1e6;
    if (!child->sweeping) timer_stop(&child->timer); /* it ended by itself, in time */
    child_sweep(child);
    child_advance(child);
}

static void on_timer(struct timer *timer)
{
    struct child *child = container_of(timer, struct child, timer);
    if (child->swept) {
        child->drained = true;
        child_advance(child);
    } else {
        child->report.timed_out = !child->exited;
        child_sweep(child);
    }
}

/* ---- killing everything it started ---- */

static void on_sweep(uv_work_t *work);
static void on_swept(uv_work_t *work, int status);

static void child_sweep(struct child *child)
{
    if (child->sweeping || child->swept) return;
    child->sweeping = true;
    uv_queue_work(&child->loop->uv, &child->sweep, on_sweep, on_swept);
}

/* The pid may be reaped by now. The kernel hands numbers out in turn, so it is not another's within
 * the moments until this runs. */
static void on_sweep(uv_work_t *work)
{
    const struct child *child = container_of(work, struct child, sweep);
    proc_kill_tree(child->pid, child->marker);
}

static void on_swept(uv_work_t *work, int status)
{
    (void)status;
    struct child *child = container_of(work, struct child, sweep);
    child->swept = true;
    timer_start(&child->timer, DRAIN_US);
    child_advance(child);
}

/* ---- the end ---- */

static void child_advance(struct child *child)
{
    if (child->closing || !child->exited || !child->swept) return;
    bool at_end = child->ended_outputs == 2 || child->drained || child->done == NULL;
    if (at_end) child_close(child);
}

static void on_timer_closed(struct timer *timer);
static void on_closed(struct child *child);

static void child_close(struct child *child)
{
    child->closing = true;
    uv_handle_t *pipes[] = { (uv_handle_t *)&child->outputs[0], (uv_handle_t *)&child->outputs[1],
                             (uv_handle_t *)&child->input };
    size_t count = child->input_text != NULL ? 3 : 2;
    for (size_t i = 0; i < count; i++) {
        if (!uv_is_closing(pipes[i])) uv_close(pipes[i], on_handle_closed);
    }
    timer_close(&child->timer, on_timer_closed);
}

static void on_handle_closed(uv_handle_t *handle) { on_closed(handle->data); }

static void on_timer_closed(struct timer *timer)
{
    on_closed(container_of(timer, struct child, timer));
}

/* The timer is closed last of all kinds, so the count cannot reach 0 before child_close. */
static void on_closed(struct child *child)
{
    if (--child->open_handles > 0) return;
    if (child->done != NULL) child->done(child->arg, &child->report);
    buf_close(&child->report.outputs[0]);
    buf_close(&child->report.outputs[1]);
    free(child->marker);
    free(child->input_text);
    free(child);
}
