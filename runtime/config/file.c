/* file.c: the open does not block on a named pipe, and what is not a regular file is refused. */
#include "config/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX 65536

static bool read_all(int fd, const char *path, struct buf *out, struct err *err);

bool file_read(const char *path, struct buf *out, struct stat *stat, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return err_set(err, ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    struct stat own;
    bool good = fstat(fd, &own) == 0 && S_ISREG(own.st_mode);
    if (!good) err_set(err, ERR_IO, "'%s' is not a regular file", path);
    if (stat) *stat = own;
    good = good && read_all(fd, path, out, err);
    close(fd);
    return good;
}

static bool read_all(int fd, const char *path, struct buf *out, struct err *err)
{
    buf_clear(out);
    for (;;) {
        char *room = buf_reserve(out, 4096);
        ssize_t count = read(fd, room, 4096);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return err_set(err, ERR_IO, "cannot read '%s': %s", path, strerror(errno));
        if (count == 0) break;
        out->len += (size_t)count;
        if (out->len > FILE_MAX)
            return err_set(err, ERR_INPUT, "'%s' is larger than %d bytes", path, FILE_MAX);
    }
    buf_reserve(out, 0); /* the NUL behind it */
    if (memchr(out->data, '\0', out->len))
        return err_set(err, ERR_INPUT, "'%s' holds NUL bytes", path);
    return true;
}

bool file_read_secret(const char *path, char **out, struct err *err)
{
    struct buf text = BUF_EMPTY;
    if (!file_read(path, &text, NULL, err)) {
        buf_close(&text);
        return false;
    }
    while (text.len > 0 && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.data[--text.len] = '\0';
    *out = buf_take(&text);
    return true;
}
