/* up_place.h: where `up` keeps its private servers: `.ctutor/` of this folder, or, when the
 * servers' user cannot reach it, a socket's path would be too long, or its letters mean something
 * in settings, a folder of its own under /var/tmp that is named after this folder's path (stable:
 * the data come back). `.ctutor/run.json` tells the other commands. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct place {
    char *ctutor; /* absolute: .../.ctutor */
    char *base;   /* data and sockets lie below; ctutor itself, or elsewhere */
    char *redis_dir, *postgres_data, *run_dir, *redis_socket;
    char *first_password; /* file for initdb, there for as long as the cluster is unfinished */
    char *redis_password, *postgres_password; /* as in the 0600 files of .ctutor */
    uid_t uid;                                /* the servers run as; (uid_t)-1: as the caller */
    gid_t gid;
    int lock_fd; /* held while `up` runs */
};
/* Makes what is missing. ERR_STATE: another `up` runs in this folder. */
MUSTUSE bool place_open(struct place *place, struct err *err);
void place_close(struct place *place);
/* Writes run.json for the groups that are private. */
MUSTUSE bool place_tell(const struct place *place, bool redis, bool postgres, struct err *err);
