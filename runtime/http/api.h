/* api.h: the REST API: what a request goes through.
 *
 *   head:   route_find -> access_check -> its body may come
 *   handle: route->handle -> answer_*          (now, or when the ledger has answered)
 *
 * A handler answers its exchange exactly once; with that the exchange is gone. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "base/map.h"
#include "broker/broker.h"
#include "config/config.h"
#include "http/grants.h"
#include "http/hosts.h"
#include "http/server.h"
#include "ledger/ledger.h"
#include "lifecycle/submit.h"
#include "loop/loop.h"
#include "task/params.h"

struct api {
    struct loop *loop;
    const struct config *config;
    struct ledger *ledger; /* what is answered from an index: reads of one task, operations */
    struct ledger *lists;  /* what may take long: it must not hold up the others */
    struct ledger *inserts;
    struct broker *broker;
    struct submitter *submitter;
    struct http_server *server;
    struct entries *entries; /* entries.h */
    struct waits *waits;     /* waits.h */
    struct served *served;   /* served.h */
    struct reloads *reloads; /* reload.h */
    struct grants *grants;
    struct logins *logins; /* login.h */
    struct hosts hosts;
    struct streams *streams; /* sse.h */
    struct follows *follows; /* follow.h */
    struct events *events;   /* events.h */
    bool is_leaving;
};

struct route;
struct exchange {
    struct api *api;
    struct http_request *request;
    const struct route *route;
    char *word;          /* what stands for {id} or {name} in the path; NULL: nothing */
    struct ident id;     /* {id}, parsed */
    struct grant *grant; /* who asks; NULL: anybody, where the route lets him */
};

/* ---- routes.c ---- */
enum body_kind {
    BODY_NONE,
    BODY_SMALL, /* 1 MiB */
    BODY_TASK,  /* the parameters' limit and what else a submission holds */
    BODY_BULK,  /* 64 MiB */
    BODY_FORM   /* what an HTML form of ours sends: as large as BODY_TASK */
};
struct route_param {
    const char *name, *type; /* "integer" "string" "strings" "boolean" "duration" "time" */
    const char *help;
};
struct route {
    const char *method, *path; /* "GET", "/api/tasks/{id}" */
    enum scope scope;
    enum body_kind body;
    void (*handle)(struct exchange *exchange);
    const char *summary;
    const struct route_param *query; /* ends with name NULL; NULL: none, and none is taken */
    bool minds_limits; /* shows and does nothing beyond the tasks of a limited token */
};
extern const struct route route_table[]; /* ends with method NULL */
/* NULL: err is ERR_NOT_FOUND; or ERR_INPUT and allow lists the methods that the path has. *word is
 * owned by the caller. */
const struct route *route_find(const char *method, const char *path, char **word, char allow[64],
                               struct err *err);

/* ---- api.c: the handlers of the server ---- */
extern const struct http_handlers api_handlers; /* with arg NULL: set it to the api */

/* ---- answer.c ---- */
void answer_json(struct exchange *exchange, int status, struct buf *takes_json);
void answer_text(struct exchange *exchange, int status, const char *json, size_t len); /* copies */
void answer_bytes(struct exchange *exchange, int status, const char *type, struct buf *takes_body);
void answer_shared(struct exchange *exchange, int status, struct http_bytes *json);
/* {detail, code}, with the status that belongs to err->code; NULL fields: none */
void answer_err(struct exchange *exchange, const struct err *err);
void answer_fields(struct exchange *exchange, const struct err *err,
                   const struct params_error *fields, size_t count);
/* {detail, code[, errors]} alone, of one among many. */
void answer_error_json(struct buf *out, const struct err *err, const struct params_error *fields,
                       size_t count);
/* 422 that names one field. */
void answer_field(struct exchange *exchange, const char *field, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void answer_no_task(struct exchange *exchange); /* 404 */
void answer_go(struct exchange *exchange);      /* a page that leads to / */
/* Bytes that live as long as the program; its other headers are the caller's. type NULL: no body.
 */
void answer_static(struct exchange *exchange, int status, const char *type, const void *body,
                   size_t len);
void answer_file(struct exchange *exchange, int status, const char *type, struct buf *takes_body);
/* A page of html.h. */
void answer_page(struct exchange *exchange, int status, struct buf *takes_html);
void answer_redirect(struct exchange *exchange, const char *to);
void answer_status(struct exchange *exchange, int status, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
void answer_nothing(struct exchange *exchange); /* 204 */
/* 200 without end. */
struct http_stream *answer_stream(struct exchange *exchange, const char *type,
                                  const struct http_stream_hooks *hooks);
/* What the client has left: nothing is said to it. */
void exchange_drop(struct exchange *exchange);
/* A ledger_json_fn whose arg is the exchange: 200 with what came; "" is a 404. */
void answer_from_ledger(void *arg, const char *json, size_t len, const struct err *err);

/* ---- of a request ---- */
/* Its body as a JSON object or array. false: it has been answered. gives */
MUSTUSE bool body_json(struct exchange *exchange, json_type type, json_t **out);
/* 422 naming the first key that is none of these (ends with NULL). false: it has been answered. */
MUSTUSE bool body_has_only(struct exchange *exchange, const json_t *body, const char *const *names);
/* 200 with those of the catalogue (as ledger_catalogue_list answers it) that who asks may submit.
 * system.c */
void answer_types(struct exchange *exchange, const char *json, size_t len, const struct err *err,
                  void (*write)(struct buf *out, const json_t *types));

/* ---- handlers, by file ---- */
void handle_submit(struct exchange *exchange);      /* submit.c */
void handle_submit_bulk(struct exchange *exchange); /* bulk.c */
void handle_list(struct exchange *exchange);        /* tasks.c */
void handle_info(struct exchange *exchange);
void handle_logs(struct exchange *exchange);
void handle_result(struct exchange *exchange);      /* waits.c */
void handle_task_events(struct exchange *exchange); /* follow.c */
void handle_events(struct exchange *exchange);      /* events.c */
void handle_cancel(struct exchange *exchange);      /* operate.c */
void handle_retry(struct exchange *exchange);
void handle_delete(struct exchange *exchange);
void handle_cancel_many(struct exchange *exchange);
void handle_retry_many(struct exchange *exchange);
void handle_delete_many(struct exchange *exchange);
void handle_types(struct exchange *exchange); /* system.c */
void handle_type(struct exchange *exchange);
void handle_workers(struct exchange *exchange);
void handle_queues(struct exchange *exchange);
void handle_workers_status(struct exchange *exchange); /* legacy.c */
void handle_pause(struct exchange *exchange);
void handle_resume(struct exchange *exchange);
void handle_reload(struct exchange *exchange); /* reload.c */
void handle_stats(struct exchange *exchange);  /* metrics.c */
void handle_metrics(struct exchange *exchange);
void handle_openapi(struct exchange *exchange); /* openapi.c */
void handle_tokens(struct exchange *exchange);  /* tokens.c */
void handle_token_create(struct exchange *exchange);
void handle_token_revoke(struct exchange *exchange);
void handle_audit(struct exchange *exchange);
void handle_login(struct exchange *exchange); /* login.c */
void handle_login_link(struct exchange *exchange);
void handle_logout(struct exchange *exchange);
void handle_session(struct exchange *exchange);
void handle_dashboard(struct exchange *exchange); /* dashboard.c */
void handle_asset(struct exchange *exchange);
void handle_plain_list(struct exchange *exchange); /* plain.c */
void handle_plain_task(struct exchange *exchange);
void handle_plain_types(struct exchange *exchange); /* plain_run.c */
void handle_plain_form(struct exchange *exchange);
void handle_plain_run(struct exchange *exchange);
void handle_plain_login(struct exchange *exchange); /* plain_login.c */
void handle_plain_login_sent(struct exchange *exchange);
void handle_healthz(struct exchange *exchange); /* health.c */
void handle_readyz(struct exchange *exchange);
