/* fuzz_url.c: REDIS_URL and DATABASE_URL. What is accepted is complete and within bounds; a
 * password in it is in no message and no form for the eye; libpq reads our connection strings as
 * meant. */
#include "config/postgres_url.h"
#include "config/redis_url.h"
#include "fuzz/fuzz.h"

#define SECRET "S3CR3T"

static void check_redis(const char *url, bool is_planted);
static void check_postgres(const char *url, bool is_planted);

/* The input is tried as it stands, and behind a password. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const redis[] = { "redis://:" SECRET "@", "redis+sentinel://u:" SECRET "@" };
    char *rest = fuzz_text(data, size);
    check_redis(rest, false);
    check_postgres(rest, false);
    bool is_rest_clean = !strstr(rest, SECRET);
    for (size_t i = 0; is_rest_clean && i < COUNT_OF(redis); i++) {
        char *url = xasprintf("%s%s", redis[i], rest);
        check_redis(url, true);
        free(url);
    }
    char *url = xasprintf("postgresql://u:" SECRET "@%s", rest);
    if (is_rest_clean) check_postgres(url, true);
    free(url);
    free(rest);
    return 0;
}

static void check_redis(const char *url, bool is_planted)
{
    struct redis_target target;
    struct err err;
    if (!redis_url_parse(url, &target, &err)) {
        require_refusal(&err);
        require(!is_planted || !strstr(err.text, SECRET));
        return;
    }
    require(!target.unix_path + !target.host + !target.sentinels == 2);
    require(target.db >= -1 && target.db <= 65535);
    if (target.host) require(target.port >= 1 && target.port <= 65535);
    if (target.sentinels) require(target.master_name && *target.master_name);
    char *shown = redis_url_masked(&target);
    require(!is_planted || (target.password && strncmp(target.password, SECRET, 6) == 0));
    require(!is_planted || !strstr(shown, SECRET));
    free(shown);
    redis_target_close(&target);
}

static void check_postgres(const char *url, bool is_planted)
{
    struct err err;
    char *full = NULL, *again = NULL, *masked = NULL, *place = NULL;
    if (!postgres_url_convert(url, "other", POSTGRES_URL_FULL, &full, &err)) {
        require_refusal(&err);
        require(!is_planted || !strstr(err.text, SECRET));
        return;
    }
    require(postgres_url_convert(full, NULL, POSTGRES_URL_FULL, &again, &err));
    require(strcmp(full, again) == 0);
    require(postgres_url_convert(url, "other", POSTGRES_URL_MASKED, &masked, &err));
    require(postgres_url_convert(url, "other", POSTGRES_URL_PLACE, &place, &err));
    require(!is_planted || (!strstr(masked, SECRET) && !strstr(place, SECRET)));
    free(full);
    free(again);
    free(masked);
    free(place);
}
