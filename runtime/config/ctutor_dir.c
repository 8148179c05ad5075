/* ctutor_dir.c: a stranger must not lead the caller to his servers by a folder placed further up
 * (/tmp/.ctutor), so folder and file count only if they belong to the caller and nobody else may
 * write them. */
#include "config/ctutor_dir.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "config/config.h"
#include "config/file.h"

static bool is_own(const char *path, mode_t type);
static bool read_fields(struct ctutor_stores *out, json_t *root, const char *dir, struct err *err);

char *config_find_ctutor_dir(void)
{
    char *dir = getcwd(NULL, 0);
    while (dir) {
        char *folder = xasprintf("%s/.ctutor", dir);
        char *file = xasprintf("%s/run.json", folder);
        bool found = is_own(folder, S_IFDIR) && is_own(file, S_IFREG);
        free(folder);
        free(file);
        if (found) break;
        char *slash = strrchr(dir, '/');
        if (!slash || dir[1] == '\0') {
            free(dir);
            return NULL;
        }
        slash[slash == dir ? 1 : 0] = '\0'; /* the root keeps its slash */
    }
    return dir;
}

static bool is_own(const char *path, mode_t type)
{
    struct stat stat;
    return lstat(path, &stat) == 0 && (stat.st_mode & S_IFMT) == type && stat.st_uid == geteuid() &&
           !(stat.st_mode & (S_IWGRP | S_IWOTH));
}

bool ctutor_dir_read(struct ctutor_stores *out, struct err *err)
{
    *out = (struct ctutor_stores){ 0 };
    char *top = config_find_ctutor_dir();
    if (!top) return true;
    char *dir = xasprintf("%s/.ctutor", strcmp(top, "/") == 0 ? "" : top);
    free(top);
    out->path = xasprintf("%s/run.json", dir);
    struct buf text = BUF_EMPTY;
    json_t *root = NULL;
    bool good = file_read(out->path, &text, NULL, err);
    if (good) {
        root = json_loadb(text.data, text.len, 0, NULL);
        good = json_is_object(root) ? read_fields(out, root, dir, err)
                                    : err_set(err, ERR_INPUT, "is not a JSON object");
        if (!good) err_wrap(err, "%s", out->path);
    }
    json_decref(root);
    buf_close(&text);
    free(dir);
    if (!good) ctutor_stores_close(out);
    return good;
}

void ctutor_stores_close(struct ctutor_stores *stores)
{
    free(stores->path);
    free(stores->redis);
    free(stores->redis_password);
    free(stores->postgres);
    free(stores->postgres_password);
    *stores = (struct ctutor_stores){ 0 };
}

static bool read_password(json_t *root, const char *key, const char *dir, char **out,
                          struct err *err)
{
    const char *name = json_string_value(json_object_get(root, key));
    if (!name) return true;
    char *path = *name == '/' ? xstrdup(name) : xasprintf("%s/%s", dir, name);
    bool good = file_read_secret(path, out, err);
    free(path);
    return good;
}

static bool read_fields(struct ctutor_stores *out, json_t *root, const char *dir, struct err *err)
{
    const char *redis = json_string_value(json_object_get(root, "redis"));
    const char *postgres = json_string_value(json_object_get(root, "postgres"));
    if (redis) out->redis = xstrdup(redis);
    if (postgres) out->postgres = xstrdup(postgres);
    return read_password(root, "redis_password_file", dir, &out->redis_password, err) &&
           read_password(root, "postgres_password_file", dir, &out->postgres_password, err);
}
