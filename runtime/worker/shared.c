/* shared.c: see shared.h. */
#include "worker/shared.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool shared_make(int *fd, struct shared **out, struct err *err)
{
    *fd = memfd_create("ctutor-run", MFD_CLOEXEC);
    if (*fd < 0 || ftruncate(*fd, (off_t)sizeof(struct shared)) != 0) {
        if (*fd >= 0) close(*fd);
        return err_set(err, ERR_IO, "cannot make shared memory: %s", strerror(errno));
    }
    if (shared_map(*fd, out, err)) return true;
    close(*fd);
    return false;
}

bool shared_map(int fd, struct shared **out, struct err *err)
{
    void *memory = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        return err_set(err, ERR_IO, "cannot map shared memory: %s", strerror(errno));
    }
    *out = memory;
    return true;
}

void shared_unmap(struct shared *shared)
{
    if (shared) munmap(shared, sizeof *shared);
}
