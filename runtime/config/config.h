/* config.h: every setting in ONE table: name, variable, flag, type, default, help. Values come,
 * strongest first, from flags, the environment (also NAME_FILE for secrets), `.env` in the working
 * directory, the nearest `.ctutor/run.json` upwards (stores only), the default. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum setting {
    SET_REDIS_URL,
    SET_REDIS_HOST,
    SET_REDIS_PORT,
    SET_REDIS_PASSWORD,
    SET_REDIS_DB,
    SET_DATABASE_URL,
    SET_POSTGRES_HOST,
    SET_POSTGRES_PORT,
    SET_POSTGRES_USER,
    SET_POSTGRES_PASSWORD,
    SET_POSTGRES_DB,
    SET_API_URL,
    SET_TOKEN,
    SET_TASKS_DIR,
    SET_QUEUES,
    SET_PROCESSES,
    SET_CONCURRENCY,
    SET_ISOLATED,
    SET_LISTEN,
    SET_HOSTS,
    SET_DASHBOARD_USER,
    SET_DASHBOARD_PASSWORD,
    SET_NAMESPACE,
    SET_LOG,
    SET_LOG_FORMAT,
    SET_RESULT_TTL,
    SET_TIMEOUT,
    SET_LEASE,
    SET_GRACE,
    SET_UNKNOWN_GRACE,
    SET_MAX_PARAMS,
    SET_MAX_RESULT,
    SET_MAX_WAITING,
    SET_MEMORY,
    SETTING_COUNT
};

enum setting_type { SETTING_TEXT, SETTING_INT, SETTING_DURATION, SETTING_SIZE, SETTING_CHOICE };
enum setting_origin {
    ORIGIN_DEFAULT,
    ORIGIN_CTUTOR_DIR,
    ORIGIN_DOTENV,
    ORIGIN_ENV,
    ORIGIN_FILE,
    ORIGIN_FLAG
};

struct setting_info {
    const char *variable; /* "REDIS_URL"; with secret also NAME_FILE */
    const char *older;    /* what it was called in the system before; counts too; or NULL */
    const char *flag;     /* "queues" for --queues, or NULL */
    enum setting_type type;
    const char *default_text; /* as a user would write it; NULL: none */
    const char *choices;      /* "error warn info debug", or NULL */
    const char *word; /* also allowed: "forever" and "false" (a duration of -1), "unlimited" (a size
                         of -1), "cores" (their number); or NULL */
    int64_t min, max; /* of ints, sizes and durations (in microseconds) */
    bool secret;      /* masked in `help config`, logs and errors */
    const char *help;
};
extern const struct setting_info setting_table[SETTING_COUNT];

struct config; /* opaque; immutable after config_load and the config_set_flag calls of the command
                  line */

/* Reads environment, .env, .ctutor. Warnings (an ignored .env) go to the log. Every bad value is an
 * error naming variable and remedy. gives */
MUSTUSE bool config_load(struct config **out, struct err *err);
void config_free(struct config *config);
MUSTUSE bool config_set_flag(struct config *config, enum setting which, const char *text,
                             struct err *err);
/* Passing settings to a child process without its environment: a JSON text (holds secrets: pipes
 * only). */
void config_serialize(const struct config *config, struct buf *out);
MUSTUSE bool config_deserialize(const char *json, size_t len, struct config **out, struct err *err);

const char *config_text(const struct config *config,
                        enum setting which);                         /* "" when unset; borrowed */
int64_t config_int(const struct config *config, enum setting which); /* ints and sizes in bytes */
int64_t config_duration_us(const struct config *config,
                           enum setting which); /* -1 for "forever" or "false" */
enum setting_origin config_origin(const struct config *config, enum setting which);
/* Where a value came from, for people: "default", "environment", ".env:3", "file /run/secrets/x",
 * "/srv/app/.ctutor/run.json". borrowed */
const char *config_origin_text(const struct config *config, enum setting which);

/* The stores, worked out from the settings above. */
struct redis_target {
    char *unix_path; /* or NULL, then host and port */
    char *host;
    int port;
    char *password; /* NULL: none */
    char *user;     /* NULL: none */
    int db;
    /* Sentinel: comma-separated "h:p" list and the master's name, or NULL. */
    char *sentinels;
    char *master_name;
};
MUSTUSE bool config_redis_target(const struct config *config, struct redis_target *out,
                                 struct err *err); /* fills owned strings */
void redis_target_close(struct redis_target *target);
/* A libpq conninfo string or URI (holds the password: never log it). gives malloc'd text */
MUSTUSE bool config_postgres_conninfo(const struct config *config, char **out, struct err *err);
/* Names without secrets, for messages: "unix:/x/redis.sock", "localhost:6379"; "host=...
 * dbname=...". gives */
char *config_redis_shown(const struct config *config);
char *config_postgres_shown(const struct config *config);
/* The nearest directory upwards from the working directory that holds .ctutor/run.json owned by the
 * caller, else NULL: the folder above .ctutor, as git names the top of a work tree. gives */
char *config_find_ctutor_dir(void);
/* SET_API_URL and SET_TOKEN are set, both by one source; of either alone nothing is kept. */
bool config_wants_api(const struct config *config);
/* Queue list of SET_QUEUES: NULL-terminated array; free with config_queues_free. Names checked
 * [a-z0-9_.-]{1,64}. */
MUSTUSE bool config_queues(const struct config *config, char ***out, struct err *err);
void config_queues_free(char **queues);
/* SET_LISTEN: "127.0.0.1:8000", "[::1]:8000". gives *address, without brackets; port 0: any */
MUSTUSE bool config_listen(const struct config *config, char **address, int *port, struct err *err);
/* `help config`: each setting with help, default, present value (masked) and origin; or as JSON. */
void config_print(const struct config *config, struct buf *out, bool json);
