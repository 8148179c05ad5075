/* checking.c: both ends of the checker's answer.
 *
 * Past the limit of loading Lua code is interrupted; one C function that does not return cannot be.
 * Then the checker runs itself anew, in place, with the name of that file added to its arguments:
 *
 *   on_loading -> SIGALRM -> on_stuck -> execve -> checker_main -> ... -> all but that file
 *
 * So whoever waits for the answer sees one process that takes longer. */
#include "worker/checking.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "script/checker.h"
#include "script/interrupt.h"
#include "script/vm.h"

/* A file that allocates without bound fails alone, before the machine feels it. */
#define CHECKER_BYTES (INT64_C(2) << 30)
#define STUCK_US      (VM_LOAD_LIMIT_US + 1500000) /* Lua code has long been interrupted */
#define STUCK_MAX     15                           /* files; each costs that long */
#define WORDS         4                            /* before them: __checker -- DIR TIMEOUT_US */

static char *self[1 + WORDS + STUCK_MAX + 1]; /* what on_stuck executes */
static char **self_stuck;                     /* in it: the file being loaded */

static bool memory_file(const struct buf *bytes, int *fd, struct err *err);
static void prepare_anew(size_t argc, const char *const *argv);
static void on_loading(const char *file);
static void on_stuck(int signal_number);
static bool read_all(int fd, struct buf *out);
static bool write_all(int fd, const struct buf *bytes);
static void add_part(struct buf *out, const char *data, size_t len);
static bool take_part(struct buf *in, size_t *at, struct buf *out);

bool checking_start(const char *directory, int64_t default_timeout_us, const struct buf *previous,
                    proc_exit_fn *on_exit, void *arg, struct proc **proc, int *answer,
                    struct err *err)
{
    char *timeout = xasprintf("%lld", (long long)default_timeout_us);
    const char *argv[] = { "ctutor-run", "__checker", "--", directory, timeout, NULL };
    static const char *const armed[] = { FAULTS_VARIABLE "=3", NULL };
    struct proc_options options = PROC_OPTIONS;
    int before = -1;
    *answer = -1;
    bool good = memory_file(previous, &before, err) && memory_file(NULL, answer, err);
    int fds[] = { before, *answer, 2, fault_descriptor() };
    options.argv = argv;
    options.file = "/proc/self/exe";
    options.env = fault_is_armed ? armed : NULL;
    options.fds = fds;
    options.fd_count = fault_is_armed ? 4 : 3;
#ifndef __SANITIZE_ADDRESS__ /* its shadow takes more */
    options.limits.address_space = CHECKER_BYTES;
#endif
    good = good && proc_start(&options, on_exit, arg, proc, err);
    free(timeout);
    if (before >= 0) close(before);
    if (good) return true;
    if (*answer >= 0) close(*answer);
    *answer = -1;
    return false;
}

/* bytes NULL: an empty one */
static bool memory_file(const struct buf *bytes, int *fd, struct err *err)
{
    size_t len = bytes ? bytes->len : 0;
    *fd = memfd_create("ctutor-run", MFD_CLOEXEC);
    if (*fd >= 0 && (len == 0 || (write(*fd, bytes->data, len) == (ssize_t)len &&
                                  lseek(*fd, 0, SEEK_SET) == 0))) {
        return true;
    }
    err_set(err, ERR_IO, "memory for the checker: %s", strerror(errno));
    if (*fd >= 0) close(*fd);
    *fd = -1;
    return false;
}

int checker_main(size_t argc, const char *const *argv, const struct binding *bindings,
                 size_t binding_count)
{
    struct buf before = BUF_EMPTY, answer = BUF_EMPTY;
    struct snapshot previous = { 0 };
    struct check_outcome outcome = { 0 };
    struct err err;
    struct loop loop;
    fault_set_role(FAULT_CHECKER);
    prepare_anew(argc, argv);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    prctl(PR_SET_NAME, "ctutor-run");
    log_init(LOG_WARN, false, "checker");
    loop_init(&loop);
    interrupt_start(NULL);
    struct script_host host = { .loop = &loop,
                                .bindings = bindings,
                                .binding_count = binding_count };
    struct check_watch watch = { argv + 2, on_loading };
    bool known = lseek(0, 0, SEEK_SET) == 0 && read_all(0, &before) && before.len &&
                 snapshot_decode(before.data, before.len, &previous, &err);
    (void)fault_here("checker_load");
    bool good = check_directory(argv[0], known ? &previous : NULL, &host,
                                strtoll(argv[1], NULL, 10), &watch, &outcome, &err);
    struct buf snapshot = BUF_EMPTY;
    if (good) snapshot_encode(&outcome.snapshot, &snapshot);
    add_part(&answer, good ? "" : err.text, good ? 0 : strlen(err.text));
    add_part(&answer, snapshot.data, snapshot.len);
    add_part(&answer, outcome.catalogue.data, outcome.catalogue.len);
    add_part(&answer, outcome.report.data, outcome.report.len);
    (void)fault_here("checker_answer");
    bool written = write_all(1, &answer);
    buf_close(&snapshot);
    buf_close(&answer);
    buf_close(&before);
    check_outcome_close(&outcome);
    if (known) snapshot_close(&previous);
    interrupt_stop();
    loop_close(&loop);
    return written ? 0 : 1;
}

static void prepare_anew(size_t argc, const char *const *argv)
{
    size_t at = 0;
    self[at++] = xstrdup("ctutor-run");
    self[at++] = xstrdup("__checker");
    self[at++] = xstrdup("--");
    for (size_t i = 0; i < argc && at + 1 < COUNT_OF(self); i++) self[at++] = xstrdup(argv[i]);
    self_stuck = &self[at];
}

/* One more than STUCK_MAX is not run anew: SIGALRM then ends the process. */
static void on_loading(const char *file)
{
    struct itimerval never = { 0 };
    struct itimerval limit = { .it_value = { STUCK_US / 1000000, STUCK_US % 1000000 } };
    bool has_room = self_stuck + 1 < self + COUNT_OF(self);
    struct sigaction action = { .sa_handler = has_room ? on_stuck : SIG_DFL,
                                .sa_flags = SA_NODEFER };
    setitimer(ITIMER_REAL, &never, NULL);
    if (!file) return;
    free(*self_stuck);
    *self_stuck = xstrdup(file);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &limit, NULL);
}

/* In place of whatever C function this found. The signals of interrupt.c must not meet the new
 * program before it has handlers for them; SA_NODEFER leaves it SIGALRM. */
static void on_stuck(int signal_number)
{
    (void)signal_number;
    signal(SIGUSR1, SIG_IGN);
    signal(SIGPROF, SIG_IGN);
    execv("/proc/self/exe", self);
    _exit(1);
}

bool checked_read(int fd, struct checked *out, struct err *err)
{
    struct buf all = BUF_EMPTY, text = BUF_EMPTY;
    size_t at = 0;
    memset(out, 0, sizeof *out);
    lseek(fd, 0, SEEK_SET);
    bool good = read_all(fd, &all) && take_part(&all, &at, &text) &&
                take_part(&all, &at, &out->snapshot) && take_part(&all, &at, &out->catalogue) &&
                take_part(&all, &at, &out->report);
    if (good && text.len) out->error = buf_take(&text);
    buf_close(&text);
    buf_close(&all);
    if (good) return true;
    checked_close(out);
    return err_set(err, ERR_INTERNAL, "the checker died before it had looked at every file");
}

void checked_close(struct checked *checked)
{
    buf_close(&checked->snapshot);
    buf_close(&checked->catalogue);
    buf_close(&checked->report);
    free(checked->error);
    checked->error = NULL;
}

static void add_part(struct buf *out, const char *data, size_t len)
{
    uint32_t length = (uint32_t)len;
    buf_add(out, &length, sizeof length);
    if (len) buf_add(out, data, len);
}

static bool take_part(struct buf *in, size_t *at, struct buf *out)
{
    uint32_t len;
    if (in->len - *at < sizeof len) return false;
    memcpy(&len, in->data + *at, sizeof len);
    *at += sizeof len;
    if (in->len - *at < len) return false;
    if (len) buf_add(out, in->data + *at, len);
    *at += len;
    return true;
}

static bool read_all(int fd, struct buf *out)
{
    for (;;) {
        ssize_t count = read(fd, buf_reserve(out, 65536), 65536);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return count == 0;
        out->len += (size_t)count;
    }
}

static bool write_all(int fd, const struct buf *bytes)
{
    for (size_t at = 0; at < bytes->len;) {
        ssize_t count = write(fd, bytes->data + at, bytes->len - at);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        at += (size_t)count;
    }
    return true;
}
