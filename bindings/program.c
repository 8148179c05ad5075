/* program.c: see program.h.
 *
 *   program_start -> RUNNING --on_exit--------------> sweep --on_swept--> both outputs at their
 * end, or --> program_close -> on_closed -> done
 *                     \--on_timer, program_abandon--> sweep --on_exit-->  DRAIN_US later
 *
 * A sweep (in the thread pool, it takes milliseconds) kills everything the process started: also
 * after its own normal end, because a daemon that it left behind would hold the pipes open for
 * ever. One sweep is enough: proc_kill_tree looks until nothing is left. What even it cannot find
 * (a daemon in a session of its own with a cleared environment) may hold a pipe no longer than
 * DRAIN_US.
 *
 * program_advance alone decides that a child is over; every callback records its news and calls it.
 */
#include "bindings/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"

#define DRAIN_US   500000
#define READ_CHUNK 65536

struct program {
    struct loop *loop;
    program_done_fn *done;
    void *arg;
    pid_t pid;
    char *marker;
    char *input_text;
    size_t max_output;
    int64_t began_us;
    struct program_report report;

    uv_pipe_t input;
    uv_write_t write;
    uv_pipe_t outputs[2];
    struct timer timer; /* first the timeout, after the sweep the end of draining */
    uv_work_t sweep;
    unsigned open_handles;

    unsigned ended_outputs;
    bool exited, sweeping, swept, drained, abandoned, closing;
};

/* Both ends of the three pipes. */
struct pipes {
    int input[2];
    int outputs[2][2];
};

static void pipes_init(struct pipes *pipes);
static bool pipes_open(struct pipes *pipes, bool with_input);
static void pipes_close(struct pipes *pipes);
static void program_watch(struct program *program, struct pipes *pipes,
                          const struct program_spec *spec);
static void program_sweep(struct program *program);
static void program_advance(struct program *program);
static void program_close(struct program *program);
static void on_exit_seen(void *arg, struct proc *proc, struct proc_exit how);

bool program_start(struct loop *loop, const struct program_spec *spec, program_done_fn *done,
                   void *arg, struct program **out, struct err *err)
{
    struct pipes pipes;
    pipes_init(&pipes);
    struct program *program = xcalloc(1, sizeof *program);
    struct proc *proc = NULL;
    if (spec->input != NULL && (program->input_text = malloc(spec->input_len + 1)) == NULL) {
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
    program->began_us = clock_mono_us();
    if (!proc_start(&options, on_exit_seen, program, &proc, err)) goto fail;
    program->loop = loop;
    program->done = done;
    program->arg = arg;
    program->pid = proc_pid(proc);
    program->marker = xstrdup(spec->marker);
    program->max_output = spec->max_output;
    if (spec->input != NULL) memcpy(program->input_text, spec->input, spec->input_len);
    program_watch(program, &pipes, spec);
    pipes_close(&pipes); /* the child's ends; ours belong to libuv now */
    *out = program;
    return true;
fail:
    pipes_close(&pipes);
    free(program->input_text);
    free(program);
    return false;
}

void program_abandon(struct program *program)
{
    program->abandoned = true;
    if (!program->exited)
        kill(-program->pid, SIGKILL); /* most of it, at once; the sweep is thorough */
    program_sweep(program);
    program_advance(program);
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
static void open_pipe(struct program *program, uv_pipe_t *pipe, int *end)
{
    uv_pipe_init(&program->loop->uv, pipe, 0);
    pipe->data = program;
    program->open_handles++;
    if (uv_pipe_open(pipe, *end) != 0) abort();
    *end = -1;
}

/* ---- news of a running child ---- */

static void on_timer(struct timer *timer);
static void on_written(uv_write_t *write, int status);
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
static void on_output(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf);

static void program_watch(struct program *program, struct pipes *pipes,
                          const struct program_spec *spec)
{
    timer_init(program->loop, &program->timer, on_timer);
    program->open_handles = 1;
    if (spec->timeout_us >= 0) timer_start(&program->timer, spec->timeout_us);
    for (int i = 0; i < 2; i++) {
        open_pipe(program, &program->outputs[i], &pipes->outputs[i][0]);
        uv_read_start((uv_stream_t *)&program->outputs[i], on_alloc, on_output);
    }
    if (spec->input == NULL) return;
    open_pipe(program, &program->input, &pipes->input[1]);
    uv_buf_t text = uv_buf_init(program->input_text, (unsigned)spec->input_len);
    if (uv_write(&program->write, (uv_stream_t *)&program->input, &text, 1, on_written) != 0) {
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
    struct program *program = stream->data;
    struct buf *kept = &program->report.outputs[(uv_pipe_t *)stream - program->outputs];
    if (got < 0) { /* the end, or an error, which is an end too */
        uv_read_stop(stream);
        program->ended_outputs++;
        program_advance(program);
        return;
    }
    size_t room = program->max_output - kept->len, more = (size_t)got;
    if (more > room) program->report.truncated = true;
    if (!program->abandoned && !buf_try_add(kept, buf->base, more < room ? more : room)) {
        program->report.truncated = true;
    }
}

static void on_exit_seen(void *arg, struct proc *proc, struct proc_exit how)
{
    (void)proc;
    struct program *program = arg;
    program->exited = true;
    program->report.how = how;
    program->report.seconds = (double)(clock_mono_us() - program->began_us) / 1e6;
    if (!program->sweeping) timer_stop(&program->timer); /* it ended by itself, in time */
    program_sweep(program);
    program_advance(program);
}

static void on_timer(struct timer *timer)
{
    struct program *program = container_of(timer, struct program, timer);
    if (program->swept) {
        program->drained = true;
        program_advance(program);
    } else {
        program->report.timed_out = !program->exited;
        program_sweep(program);
    }
}

/* ---- killing everything it started ---- */

static void on_sweep(uv_work_t *work);
static void on_swept(uv_work_t *work, int status);

static void program_sweep(struct program *program)
{
    if (program->sweeping || program->swept) return;
    program->sweeping = true;
    (void)fault_here("subprocess_kill");
    uv_queue_work(&program->loop->uv, &program->sweep, on_sweep, on_swept);
}

/* The pid may be reaped by now. The kernel hands numbers out in turn, so it is not another's within
 * the moments until this runs. */
static void on_sweep(uv_work_t *work)
{
    const struct program *program = container_of(work, struct program, sweep);
    proc_kill_tree(program->pid, program->marker);
}

static void on_swept(uv_work_t *work, int status)
{
    (void)status;
    struct program *program = container_of(work, struct program, sweep);
    program->swept = true;
    timer_start(&program->timer, DRAIN_US);
    program_advance(program);
}

/* ---- the end ---- */

static void program_advance(struct program *program)
{
    if (program->closing || !program->exited || !program->swept) return;
    bool at_end = program->ended_outputs == 2 || program->drained || program->abandoned;
    if (at_end) program_close(program);
}

static void on_timer_closed(struct timer *timer);
static void on_closed(struct program *program);

static void program_close(struct program *program)
{
    program->closing = true;
    uv_handle_t *pipes[] = { (uv_handle_t *)&program->outputs[0],
                             (uv_handle_t *)&program->outputs[1], (uv_handle_t *)&program->input };
    size_t count = program->input_text != NULL ? 3 : 2;
    for (size_t i = 0; i < count; i++) {
        if (!uv_is_closing(pipes[i])) uv_close(pipes[i], on_handle_closed);
    }
    timer_close(&program->timer, on_timer_closed);
}

static void on_handle_closed(uv_handle_t *handle) { on_closed(handle->data); }

static void on_timer_closed(struct timer *timer)
{
    on_closed(container_of(timer, struct program, timer));
}

/* The timer is closed last of all kinds, so the count cannot reach 0 before program_close. */
static void on_closed(struct program *program)
{
    if (--program->open_handles > 0) return;
    program->done(program->arg, &program->report);
    buf_close(&program->report.outputs[0]);
    buf_close(&program->report.outputs[1]);
    free(program->marker);
    free(program->input_text);
    free(program);
}
