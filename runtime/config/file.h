/* file.h: small files read whole. */
#pragma once
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"

/* Reads a regular file of at most 64 KiB without NUL bytes, following links. `stat`, if given, is
 * that of the file read. */
MUSTUSE bool file_read(const char *path, struct buf *out, struct stat *stat, struct err *err);
/* The same without the line end behind the text: a secret. gives */
MUSTUSE bool file_read_secret(const char *path, char **out, struct err *err);
