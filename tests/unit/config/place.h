/* place.h: a fresh working directory and an environment without any setting, for the tests of
 * config/. In the header, because each test program is one file. */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"

static char place_path[64];

static inline void place_clear_environment(void)
{
    for (int i = 0; i < SETTING_COUNT; i++) {
        char file_name[80];
        snprintf(file_name, sizeof file_name, "%s_FILE", setting_table[i].variable);
        unsetenv(setting_table[i].variable);
        unsetenv(file_name);
    }
}

static inline int place_setup(void **state)
{
    (void)state;
    place_clear_environment();
    strcpy(place_path, "/tmp/ctutor-config-XXXXXX");
    return mkdtemp(place_path) && chdir(place_path) == 0 ? 0 : -1;
}

static inline int place_remove(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int place_teardown(void **state)
{
    (void)state;
    place_clear_environment();
    if (chdir("/") != 0) return -1;
    return nftw(place_path, place_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void place_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

static inline struct config *place_load(void)
{
    struct config *config = NULL;
    struct err err = { 0 };
    if (!config_load(&config, &err)) fail_msg("%s", err.text);
    return config;
}

/* Loading must fail with a message that holds every one of the given pieces (up to NULL). */
static inline void place_expect_error(const char *const *pieces)
{
    struct config *config = NULL;
    struct err err = { 0 };
    assert_false(config_load(&config, &err));
    assert_int_not_equal(err.code, ERR_NONE);
    for (; *pieces; pieces++)
        if (!strstr(err.text, *pieces)) fail_msg("'%s' is not in: %s", *pieces, err.text);
}
#define PLACE_EXPECT_ERROR(...) place_expect_error((const char *const[]){ __VA_ARGS__, NULL })
