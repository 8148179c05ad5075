/* ctutor_dir.h: .ctutor/run.json, which a running `ctutor-run up` leaves for the commands below its
 * folder:
 * {"redis": URL, "redis_password_file": PATH, "postgres": CONNINFO, "postgres_password_file":
 * PATH}; a relative path counts from .ctutor. */
#pragma once
#include "base/err.h"

struct ctutor_stores {
    char *path; /* of run.json; NULL: there is none, and nothing else is set */
    char *redis, *redis_password, *postgres, *postgres_password; /* or NULL */
};

/* Looks upwards from the working directory. None to be found is no error. */
MUSTUSE bool ctutor_dir_read(struct ctutor_stores *out, struct err *err);
void ctutor_stores_close(struct ctutor_stores *stores);
