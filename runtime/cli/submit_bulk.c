/* submit_bulk.c: see submit_bulk.h.
 *
 *   pump: read -> split into lines -> check at the door -> submit_task ... on_submitted -> settle:
 *   print what is done at the head of the row, in the order of the lines
 *   through an API: ... -> split into lines -> slices_add ... on_answer -> settle
 * At most IN_FLIGHT_MAX lines (and BYTES_MAX of them) are between reading and printing. A catalogue
 * entry is asked for once, and again when it is a few seconds old. */
#include "cli/submit_bulk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "base/map.h"
#include "base/mem.h"
#include "cli/entry.h"
#include "cli/member.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/slice.h"
#include "cli/source.h"
#include "cli/submit_options.h"
#include "cli/submit_slices.h"
#include "lifecycle/submit_answer.h"
#include "lifecycle/error_json.h"

#define IN_FLIGHT_MAX  2000
#define BYTES_MAX      ((size_t)64 << 20)
#define READ_SIZE      ((size_t)64 << 10)
#define LINE_EXTRA     ((size_t)64 << 10) /* what a line may be longer than parameters */
#define FRESH_US       INT64_C(5000000)
#define BROKER_WAIT_US INT64_C(200000)

struct bulk_entry {
    struct catalogue_entry *entry;
    int64_t asked_us;
};

struct bulk_line {
    struct list node;
    struct bulk *bulk;
    int64_t number;
    size_t bytes;
    struct ident id;
    bool is_done;
    struct buf answer; /* JSON, of one that was accepted */
    struct err err;    /* ERR_NONE: accepted */
    size_t field_count;
    struct params_error *fields; /* owned */
};

struct bulk {
    struct app *app;
    struct submitter *submitter; /* or */
    struct slices *slices;       /* through an API */
    struct map *entries;         /* name -> struct bulk_entry */
    char *unknown;               /* the name that was asked for in vain last, or NULL */
    struct err unknown_err;
    struct list row; /* struct bulk_line, in the order of lines */
    size_t in_flight, bytes;

    int descriptor;
    uv_poll_t poll;
    bool is_pollable, is_readable, is_ended, is_poll_closed;
    struct buf input;
    size_t taken; /* of input */
    size_t line_max;
    bool skips_line; /* the rest of one that is too long */

    int64_t line_count, refused, deferred;
    bool has_lost_store;
    struct err err;
    struct buf out;
};

static bool has_own_words(const struct cli_args *args, struct err *err);
static bool bulk_open(struct bulk *bulk, const char *path, struct err *err);
static void bulk_close(struct bulk *bulk);
static bool has_room(const struct bulk *bulk);
static bool read_more(struct bulk *bulk);
static bool take_line(struct bulk *bulk, const char **text, size_t *len);
static void line_begin(struct bulk *bulk, const char *text, size_t len);
static void on_submitted(void *arg, const struct submit_answer *answer, const struct err *err);
static void lose(struct bulk_line *line, const struct err *err);
static void on_answer(void *arg, const json_t *answer, const struct err *err);
static enum err_code code_named(const char *word);
static const char *id_of_answer(const char *json, size_t *len);
static void settle(struct bulk *bulk);
static void print_refused(struct bulk *bulk, const struct bulk_line *line);
static bool find_entry(struct bulk *bulk, const char *name, const struct catalogue_entry **out,
                       struct err *err);

int submit_bulk(struct app *app, const struct cli_args *args)
{
    struct bulk bulk = { .app = app };
    struct err err;
    if (!has_own_words(args, &err) || !source_open(app, &err) ||
        !bulk_open(&bulk, cli_value(args, "bulk"), &err))
        return app_fail(app, &err);
    while (!bulk.is_ended || bulk.in_flight > 0) {
        const char *text;
        size_t len;
        while (has_room(&bulk) && take_line(&bulk, &text, &len)) line_begin(&bulk, text, len);
        bool has_read = !bulk.is_ended && has_room(&bulk) && read_more(&bulk);
        if (bulk.slices && (!has_read || slices_is_full(bulk.slices))) slices_send(bulk.slices);
        loop_turn(&app->loop, !has_read);
        settle(&bulk);
    }
    if (app->broker) app_flush_broker(app);
    bool failed = bulk.err.code != ERR_NONE;
    err = bulk.err;
    if (bulk.deferred)
        output_note("warning: Redis is away; %lld tasks are accepted and handed out later",
                    (long long)bulk.deferred);
    if (bulk.refused)
        output_note("%lld of %lld lines not accepted", (long long)bulk.refused,
                    (long long)bulk.line_count);
    int status = failed ? err_exit_status(err.code) : bulk.refused ? 2 : 0;
    if (failed)
        output_note("stopped at line %lld, what follows is not submitted: %s",
                    (long long)bulk.line_count, err.text);
    bulk_close(&bulk);
    return status;
}

/* Nothing is said beside the lines: it would be silently left out. */
static bool has_own_words(const struct cli_args *args, struct err *err)
{
    if (args->count > 0)
        return err_set(err, ERR_INPUT, "with --bulk the tasks are named in the lines, not '%.100s'",
                       args->words[0]);
    for (const struct cli_option *option = submit_options; option->name; option++)
        if (strcmp(option->name, "bulk") != 0 && cli_has(args, option->name))
            return err_set(err, ERR_INPUT, "--%s does not go with --bulk: each line says it itself",
                           option->name);
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    container_of(poll, struct bulk, poll)->is_readable = true;
    uv_poll_stop(poll);
}

/* A file cannot be polled, and need not. */
static bool bulk_open(struct bulk *bulk, const char *path, struct err *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    bulk->descriptor = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (bulk->descriptor < 0)
        return err_set(err, ERR_INPUT, "cannot read %.200s: %s", path, strerror(errno));
    int flags = fcntl(bulk->descriptor, F_GETFL);
    bulk->is_pollable = uv_poll_init(&bulk->app->loop.uv, &bulk->poll, bulk->descriptor) == 0;
    fcntl(bulk->descriptor, F_SETFL, flags); /* libuv made it non-blocking, for all who share it */
    bulk->is_poll_closed = !bulk->is_pollable;
    bulk->line_max = (size_t)config_int(bulk->app->config, SET_MAX_PARAMS) + LINE_EXTRA;
    bulk->entries = map_new();
    list_init(&bulk->row);
    if (bulk->app->remote) {
        bulk->slices = slices_new(bulk->app, on_answer);
    } else {
        app_wait_broker(bulk->app, BROKER_WAIT_US);
        bulk->submitter = submitter_new(&bulk->app->loop, bulk->app->ledger, bulk->app->broker);
    }
    return true;
}

static void on_poll_closed(uv_handle_t *handle)
{
    container_of((uv_poll_t *)handle, struct bulk, poll)->is_poll_closed = true;
}

static void bulk_close(struct bulk *bulk)
{
    size_t at = 0, key_len;
    const void *key;
    void *value;
    while (map_next(bulk->entries, &at, &key, &key_len, &value)) {
        struct bulk_entry *known = value;
        catalogue_entry_free(known->entry);
        free(known);
    }
    map_free(bulk->entries);
    free(bulk->unknown);
    if (bulk->submitter) submitter_free(bulk->submitter);
    if (bulk->slices) slices_free(bulk->slices);
    if (bulk->is_pollable) uv_close((uv_handle_t *)&bulk->poll, on_poll_closed);
    while (!bulk->is_poll_closed) loop_turn(&bulk->app->loop, true);
    if (bulk->descriptor != STDIN_FILENO) close(bulk->descriptor);
    buf_close(&bulk->input);
    buf_close(&bulk->out);
}

static bool has_room(const struct bulk *bulk)
{
    return bulk->in_flight < IN_FLIGHT_MAX && bulk->bytes < BYTES_MAX && !bulk->has_lost_store &&
           !(bulk->slices && slices_is_full(bulk->slices));
}

/* What a pipe does not have yet is waited for by the loop: false. */
static bool read_more(struct bulk *bulk)
{
    if (bulk->is_pollable && !bulk->is_readable) {
        uv_poll_start(&bulk->poll, UV_READABLE, on_readable);
        return false;
    }
    buf_drop_front(&bulk->input, bulk->taken);
    bulk->taken = 0;
    ssize_t got = read(bulk->descriptor, buf_reserve(&bulk->input, READ_SIZE), READ_SIZE);
    bulk->is_readable = false;
    if (got > 0) bulk->input.len += (size_t)got;
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (got < 0) err_set(&bulk->err, ERR_INPUT, "the lines cannot be read: %s", strerror(errno));
    if (got <= 0) bulk->is_ended = true;
    if (got == 0 && bulk->input.len) buf_add_char(&bulk->input, '\n');
    if (got == 0 && bulk->input.len) bulk->is_ended = false; /* once more, for the last line */
    return true;
}

/* Borrowed until more is read. false: there is no whole line. */
static bool take_line(struct bulk *bulk, const char **text, size_t *len)
{
    while (bulk->taken < bulk->input.len) {
        const char *start = bulk->input.data + bulk->taken;
        size_t left = bulk->input.len - bulk->taken;
        const char *end = memchr(start, '\n', left);
        bool is_long = !end && left > bulk->line_max;
        if (!end && !is_long && !bulk->skips_line) return false;
        *text = start;
        *len = end ? (size_t)(end - start) : left;
        bulk->taken += *len + (end ? 1 : 0);
        bool was_skipped = bulk->skips_line;
        bulk->skips_line = !end;
        if (was_skipped) continue;
        bulk->line_count++;
        if (strspn(*text, " \t\r") < *len) return true;
    }
    return false;
}

static void refuse(struct bulk_line *line, const struct err *err, const struct door_errors *errors)
{
    line->err = *err;
    line->is_done = true;
    if (!errors || !errors->count) return;
    line->field_count = errors->count;
    line->fields = xcalloc(errors->count, sizeof *line->fields);
    memcpy(line->fields, errors->at, errors->count * sizeof *line->fields);
}

/* gives a box, or NULL: the line is refused */
static struct submission_box *check(struct bulk *bulk, struct bulk_line *line, const json_t *body,
                                    const char *name)
{
    struct err err;
    struct door_errors errors;
    struct submission_box *box = NULL;
    const struct catalogue_entry *entry = NULL;
    errors.count = 0;
    if (!find_entry(bulk, name, &entry, &err)) {
        if (err.code == ERR_STORE) bulk->has_lost_store = true;
        if (err.code == ERR_STORE) bulk->err = err;
    } else if (door_check(entry, body, config_int(bulk->app->config, SET_MAX_PARAMS), app_actor(),
                          &box, &errors, &err)) {
        return box;
    }
    refuse(line, &err, &errors);
    return NULL;
}

static void line_begin(struct bulk *bulk, const char *text, size_t len)
{
    struct err err;
    json_t *body = NULL;
    struct submission_box *box = NULL;
    struct bulk_line *line = xcalloc(1, sizeof *line);
    *line = (struct bulk_line){ .bulk = bulk, .number = bulk->line_count, .bytes = len };
    list_push_back(&bulk->row, &line->node);
    bulk->in_flight++;
    bulk->bytes += len;
    bool good = len <= bulk->line_max || err_set(&err, ERR_TOO_LARGE, "the line is too long");
    good = good && params_parse_body(text, len, "the line", &body, &err);
    if (good && !json_is_object(body)) good = err_set(&err, ERR_INPUT, "it is no JSON object");
    const char *name = json_string_value(json_object_get(body, "task_name"));
    if (good && !name) good = err_set(&err, ERR_INPUT, "it has no task_name");
    if (!good)
        refuse(line, &err, NULL);
    else if (bulk->slices)
        slices_add(bulk->slices, line, text, len, body, &line->id);
    else
        box = check(bulk, line, body, name);
    json_decref(body);
    if (!box) return;
    line->id = box->submission.id;
    submit_task(bulk->submitter, box, on_submitted, line);
}

static void on_submitted(void *arg, const struct submit_answer *answer, const struct err *err)
{
    struct bulk_line *line = arg;
    struct bulk *bulk = line->bulk;
    line->is_done = true;
    if (answer && answer->verdict == INSERT_NEW && answer->deferred) bulk->deferred++;
    if (err && err->code == ERR_STORE)
        lose(line, err);
    else if (submit_answer_is_good(answer, err, &line->id,
                                   config_int(bulk->app->config, SET_MAX_WAITING), &line->err))
        submit_answer_json(&line->answer, answer, NULL);
}

static void lose(struct bulk_line *line, const struct err *err)
{
    char id[IDENT_TEXT_SIZE];
    ident_text(&line->id, id);
    err_set(&line->err, ERR_STORE, "not known whether it was accepted: its id would be %s", id);
    line->bulk->err = *err;
    line->bulk->has_lost_store = true;
}

/* Of an API: as of POST /api/tasks/submit/bulk, an object for each line. */
static void on_answer(void *arg, const json_t *answer, const struct err *err)
{
    struct bulk_line *line = arg;
    struct err wrong;
    line->is_done = true;
    if (!err && !*member_text(answer, "task_id")) {
        err_set(&wrong, code_named(member_text(answer, "code")), "%s",
                member_text(answer, "detail"));
        err = &wrong;
    }
    if (err && err->code == ERR_STORE) {
        lose(line, err);
    } else if (err) {
        struct door_errors errors;
        errors.count = 0;
        source_read_fields(answer, &errors);
        refuse(line, err, &errors);
    } else {
        char *text = json_dumps(answer, JSON_COMPACT);
        buf_add_text(&line->answer, text);
        free(text);
        if (strcmp(member_text(answer, "dispatch"), "deferred") == 0) line->bulk->deferred++;
    }
}

static enum err_code code_named(const char *word)
{
    for (enum err_code code = ERR_INPUT; code < ERR_INTERNAL; code++)
        if (strcmp(app_error_code(code), word) == 0) return code;
    return ERR_INTERNAL;
}

/* The id in an answer. */
static const char *id_of_answer(const char *json, size_t *len)
{
    const char *quoted = slice_member(json, *len, "task_id", len);
    *len = quoted ? *len - 2 : 0;
    return quoted ? quoted + 1 : "";
}

/* Prints in order; what is behind a line that is under way waits. */
static void settle(struct bulk *bulk)
{
    while (!list_is_empty(&bulk->row)) {
        struct bulk_line *line = container_of(bulk->row.next, struct bulk_line, node);
        if (!line->is_done) break;
        list_del(&line->node);
        size_t len = line->answer.len;
        const char *id = buf_text(&line->answer);
        if (!bulk->app->json && len) id = id_of_answer(id, &len);
        if (line->err.code != ERR_NONE)
            print_refused(bulk, line);
        else
            buf_add(&bulk->out, id, len);
        if (line->err.code == ERR_NONE) buf_add_char(&bulk->out, '\n');
        buf_close(&line->answer);
        bulk->in_flight--;
        bulk->bytes -= line->bytes;
        free(line->fields);
        free(line);
    }
    bool has_news = bulk->out.len > 0;
    output_text(&bulk->out);
    if (has_news) fflush(stdout); /* who feeds us through a pipe may wait for the id */
    if (bulk->has_lost_store) bulk->is_ended = true;
}

static void print_refused(struct bulk *bulk, const struct bulk_line *line)
{
    bulk->refused++;
    output_plain_note("line %lld: %s", (long long)line->number, line->err.text);
    if (!bulk->app->json) return;
    error_json(&bulk->out, line->err.text, app_error_code(line->err.code), line->fields,
               line->field_count);
    buf_add_char(&bulk->out, '\n');
}

/* Turns the loop while it asks. */
static bool find_entry(struct bulk *bulk, const char *name, const struct catalogue_entry **out,
                       struct err *err)
{
    size_t len = strlen(name);
    struct bulk_entry *known = map_find(bulk->entries, name, len);
    if (known && clock_boot_us() - known->asked_us < FRESH_US) {
        *out = known->entry;
        return true;
    }
    *err = bulk->unknown_err;
    if (bulk->unknown && strcmp(bulk->unknown, name) == 0) return false;
    struct catalogue_entry *entry = NULL;
    if (!entry_find(bulk->app, name, &entry, err)) {
        free(bulk->unknown);
        bulk->unknown = xstrdup(name);
        bulk->unknown_err = *err;
        return false;
    }
    if (!known) {
        known = xcalloc(1, sizeof *known);
        map_put(bulk->entries, name, len, known);
    }
    catalogue_entry_free(known->entry);
    *known = (struct bulk_entry){ entry, clock_boot_us() };
    *out = entry;
    return true;
}
