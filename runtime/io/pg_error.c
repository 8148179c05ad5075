/* pg_error.c: what the server's SQLSTATE means to us. The first prefix that fits decides. */
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "io/pg_private.h"

static const struct {
    const char *prefix;
    enum err_code code;
    bool dooms; /* this server is of no use for now: reconnect, perhaps elsewhere */
} classes[] = {
    { "08", ERR_STORE, true },        /* connection */
    { "22", ERR_DATA, false },        /* data */
    { "23505", ERR_CONFLICT, false }, /* unique */
    { "23", ERR_DATA, false },        /* other constraints */
    { "25006", ERR_STORE, true },     /* read only: a standby */
    { "40001", ERR_RETRY, false },    /* serialisation */
    { "40P01", ERR_RETRY, false },    /* deadlock */
    { "53", ERR_STORE, false },       /* disk full, too many connections, memory */
    { "54", ERR_DATA, false },        /* a limit of the server */
    { "55P03", ERR_STORE, false },    /* lock timeout */
    { "57014", ERR_STORE, false },    /* statement timeout */
    { "57P", ERR_STORE, true },       /* shutting down, starting */
    { "58", ERR_STORE, false },       /* the server's disk */
};

static size_t find_class(const char *sqlstate);
static void set_line(struct err *err, enum err_code code, const char *what, const char *text);

void pg_error_of_result(const PGresult *result, const char *what, struct err *err, char sqlstate[6])
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    memset(sqlstate, 0, 6);
    if (state) memcpy(sqlstate, state, strnlen(state, 5));
    size_t class = find_class(sqlstate);
    enum err_code code = class < COUNT_OF(classes) ? classes[class].code : ERR_INTERNAL;
    set_line(err, code, what, text ? text : PQresultErrorMessage(result));
}

void pg_error_of_connection(const PGconn *conn, struct err *err)
{
    set_line(err, ERR_STORE, "Postgres", PQerrorMessage(conn));
}

bool pg_error_ends_connection(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return !severity || !strcmp(severity, "FATAL") || !strcmp(severity, "PANIC");
}

bool pg_error_dooms_connection(const char *sqlstate)
{
    size_t class = find_class(sqlstate);
    return class < COUNT_OF(classes) && classes[class].dooms;
}

static size_t find_class(const char *sqlstate)
{
    size_t i = 0;
    while (i < COUNT_OF(classes) &&
           strncmp(sqlstate, classes[i].prefix, strlen(classes[i].prefix)) != 0)
        i++;
    return i;
}

/* libpq's messages have several lines, one per host tried, and end with a line feed. */
static void set_line(struct err *err, enum err_code code, const char *what, const char *text)
{
    struct buf line = BUF_EMPTY;
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, "\n");
        size_t blank = strspn(at, "\t ");
        if (len > blank) {
            if (line.len > 0) buf_add_text(&line, "; ");
            utf8_add_clean(&line, at + blank, len - blank, sizeof err->text);
        }
        at += len + (at[len] == '\n');
    }
    err_set(err, code, "%s: %s", what, buf_text(&line));
    buf_close(&line);
}
