/* checking.c: both ends of the checker's answer. */
#include "worker/checking.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "script/checker.h"
#include "script/interrupt.h"

static bool read_all(int fd, struct buf *out);
static bool write_all(int fd, const struct buf *bytes);
static void add_part(struct buf *out, const char *data, size_t len);
static bool take_part(struct buf *in, size_t *at, struct buf *out);

int checker_main(const char *directory, int64_t default_timeout_us, const struct binding *bindings,
                 size_t binding_count)
{
    struct buf before = BUF_EMPTY, answer = BUF_EMPTY;
    struct snapshot previous = { 0 };
    struct check_outcome outcome = { 0 };
    struct err err;
    struct loop loop;
    fault_set_role(FAULT_CHECKER);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    prctl(PR_SET_NAME, "ctutor-run");
    log_init(LOG_WARN, false, "checker");
    loop_init(&loop);
    interrupt_start(NULL);
    struct script_host host = { .loop = &loop,
                                .bindings = bindings,
                                .binding_count = binding_count };
    bool known = read_all(0, &before) && before.len &&
                 snapshot_decode(before.data, before.len, &previous, &err);
    (void)fault_here("checker_load");
    bool good = check_directory(directory, known ? &previous : NULL, &host, default_timeout_us,
                                &outcome, &err);
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
