/* app.h: the composition root, the only place that knows everything: one table of commands, the
 * settings, the stores, output for people and programs. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "broker/broker.h"
#include "config/config.h"
#include "ledger/ledger.h"
#include "lifecycle/await.h"
#include "loop/loop.h"
#include "task/params.h"

/* What the stores say while a command waits. Set before they are opened; each may be NULL. */
struct app_news {
    void *arg;
    void (*control)(void *arg);                             /* NOTIFY of ledger_listen */
    void (*event)(void *arg, const char *line, size_t len); /* a line of BROKER_EVENTS */
    void (*wake)(void *arg, const char *queue);             /* of BROKER_WAKE */
};

struct app {
    struct config *config;
    struct loop loop;      /* initialised before a command runs */
    struct ledger *ledger; /* after app_open_ledger */
    struct broker *broker; /* after app_open_broker */
    struct remote *remote; /* source.h; NULL: the stores themselves */
    bool json;             /* --json */
    bool colour;           /* stdout is a terminal and NO_COLOR is not set */
    bool terminal_err;     /* stderr is a terminal: progress bars */
    bool terminal_out;     /* stdout is a terminal: nothing wider than it */
    struct app_news news;
    /* private */
    struct timer deadline;
    bool is_late;
    struct err ledger_why; /* why Postgres was lost last */
};

/* One option of a command; the same row gives parsing, help and completion. */
struct cli_option {
    const char *name;     /* "queue" for --queue */
    const char *argument; /* "Q", "[D]" (optional, only if the next word is a duration), or NULL for
                             a flag */
    const char *help;
    bool repeated;
};
struct cli_values; /* parsed options: cli_value(values, "queue"), cli_has, cli_count/cli_at for
                      repeated ones */
struct cli_args {
    struct cli_values *values;
    int count; /* words left */
    char **words;
};

struct command {
    const char *name;                 /* "submit", "worker start", "tasks show" */
    const char *usage;                /* "NAME [key=value ...]" */
    const char *summary;              /* one line */
    const char *details;              /* paragraphs and examples for help; may be NULL */
    const struct cli_option *options; /* ends with name NULL; --json and --help are everywhere */
    int (*run)(struct app *app, const struct cli_args *args);
    bool hidden;
    bool offline; /* works without settings: app.config may be NULL */
};
/* Each file of cli/ defines its commands; main.c lists them in help order. */

const char *
cli_value(const struct cli_args *args,
          const char *name); /* NULL when absent; the last of several; "" for a bare [D] */
bool cli_has(const struct cli_args *args, const char *name);
size_t cli_count(const struct cli_args *args, const char *name);
const char *cli_at(const struct cli_args *args, const char *name, size_t i);

/* Of main.c: app_init before all else, app_close at the end (what was opened, then the loop). */
void app_init(struct app *app);
/* Turns the loop until is_true says so, at_most_us at the most; gives its last word. */
bool app_wait_until(struct app *app, bool (*is_true)(const struct app *app), int64_t at_most_us);
/* For commands that ask or tell something and go: Redis starts connecting, Postgres answers, the
 * schema is there and ours. Quiet: connection troubles are the command's to tell, not the log's. */
MUSTUSE bool app_open_stores(struct app *app, struct err *err);
/* What app_open_stores does first. */
MUSTUSE bool app_use_stores(struct app *app, struct err *err);
/* false: the settings name a REST API, and this is for a machine that reaches the stores. */
MUSTUSE bool app_refuse_api(const struct app *app, struct err *err);
/* The schema is there, and of this program's version. */
MUSTUSE bool app_check_schema(struct app *app, struct err *err);
/* Gives Redis up to at_most_us to come up. */
bool app_wait_broker(struct app *app, int64_t at_most_us);
/* The same for commands that cannot do without it. ERR_STORE says why it does not come. */
MUSTUSE bool app_need_broker(struct app *app, int64_t at_most_us, struct err *err);
/* Waits until Redis has taken all that was sent to it so far. */
void app_flush_broker(struct app *app);
/* Open and wait until it answers, 5 s at most. false: ERR_STORE names host and remedy. */
MUSTUSE bool app_open_ledger(struct app *app, struct err *err);
/* Starts connecting; a Redis that is away is not an error here. */
MUSTUSE bool app_open_broker(struct app *app, struct err *err);
void app_close(struct app *app);
/* Who runs this program, as the ledger notes it: "cli:USER@host". */
const char *app_actor(void);
/* Prints "ctutor-run: text" to stderr (and {"detail","code"} to stdout with --json); returns the
 * exit status. */
int app_fail(struct app *app, const struct err *err);
const char *app_error_code(enum err_code code); /* the "code" of that JSON */
/* With fields: one line each instead of the text, and "errors" in the JSON. */
int app_fail_fields(struct app *app, const struct err *err, const struct params_error *fields,
                    size_t count);
