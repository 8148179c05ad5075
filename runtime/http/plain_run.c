/* plain_run.c: a task's form out of its schema, and what the form sends:
 *
 *   form -> catalogue entry -> each field by its type -> door_check -> submit_task -> its page */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/api.h"
#include "http/entries.h"
#include "http/form.h"
#include "http/html.h"
#include "lifecycle/submit_answer.h"

#define OPTION "option." /* before the names of fields that are no parameters */

static void on_types(void *arg, const char *json, size_t len, const struct err *err);
static void on_type(void *arg, const char *json, size_t len, const struct err *err);
static void write_form(struct buf *out, const char *name, const json_t *schema);
static void write_field(struct buf *out, const char *name, const json_t *schema, bool required);
static void write_choice(struct buf *out, const json_t *schema, bool required);

void handle_plain_types(struct exchange *exchange)
{
    ledger_catalogue_list(exchange->api->ledger, NULL, on_types, exchange);
}

static void on_types(void *arg, const char *json, size_t len, const struct err *err)
{
    struct exchange *exchange = arg;
    struct buf out = BUF_EMPTY;
    size_t index;
    json_t *type;
    if (err) {
        answer_err(exchange, err);
        return;
    }
    json_t *types = params_load(json, len);
    html_begin(&out, "Run a task");
    buf_add_text(&out, "<ul>");
    json_array_foreach(types, index, type)
    {
        const char *name = json_string_value(json_object_get(type, "name"));
        if (!json_is_object(json_object_get(type, "parameters"))) continue;
        buf_add_text(&out, "<li><a href=\"/plain/run/");
        html_url(&out, name);
        buf_add_text(&out, "\">");
        html_text(&out, name);
        buf_add_text(&out, "</a> ");
        html_text(&out, json_string_value(json_object_get(type, "summary")));
        buf_add_text(&out, "</li>\n");
    }
    buf_add_text(&out, "</ul>");
    html_end(&out);
    json_decref(types);
    answer_page(exchange, 200, &out);
}

void handle_plain_form(struct exchange *exchange)
{
    ledger_catalogue_list(exchange->api->ledger, exchange->word, on_type, exchange);
}

static void on_type(void *arg, const char *json, size_t len, const struct err *err)
{
    struct exchange *exchange = arg;
    json_t *types = err ? NULL : params_load(json, len);
    const json_t *schema = json_object_get(json_array_get(types, 0), "parameters");
    if (err) {
        answer_err(exchange, err);
    } else if (!json_is_object(schema)) {
        answer_status(exchange, 404, "not_found", "there is no task '%.130s'", exchange->word);
    } else {
        struct buf out = BUF_EMPTY;
        html_begin(&out, exchange->word);
        write_form(&out, exchange->word, schema);
        html_end(&out);
        answer_page(exchange, 200, &out);
    }
    json_decref(types);
}

static bool is_required(const json_t *schema, const char *name)
{
    const json_t *item;
    size_t index;
    json_array_foreach(json_object_get(schema, "required"), index, item)
    {
        if (strcmp(json_string_value(item), name) == 0) return true;
    }
    return false;
}

static void write_form(struct buf *out, const char *name, const json_t *schema)
{
    const char *key;
    json_t *property;
    buf_add_text(out, "<form class=\"task\" method=\"post\" action=\"/plain/run/");
    html_url(out, name);
    buf_add_text(out, "\">\n");
    json_object_foreach(json_object_get(schema, "properties"), key, property)
        write_field(out, key, property, is_required(schema, key));
    buf_add_text(out, "<label>Priority<input name=\"" OPTION "priority\" type=\"number\" min=\"0\""
                      " max=\"10\"></label>\n<label>Queue<input name=\"" OPTION
                      "queue\"></label>\n<label>Delay<input name=\"" OPTION "delay\""
                      " placeholder=\"10s, 5m, 2h\"></label>\n<button>Run</button></form>\n");
}

static void write_field(struct buf *out, const char *name, const json_t *schema, bool required)
{
    const char *type = json_string_value(json_object_get(schema, "type"));
    bool is_secret = json_is_true(json_object_get(schema, "writeOnly"));
    bool is_text = type && strcmp(type, "string") == 0;
    char *preset =
        is_secret ? NULL : json_dumps(json_object_get(schema, "default"), JSON_ENCODE_ANY);
    const char *text = json_string_value(json_object_get(schema, "default"));
    buf_add_text(out, "<label>");
    html_text(out, name);
    buf_add_text(out, "<small>");
    html_text(out, type ? type : "JSON");
    buf_add_text(out, required ? ", required. " : ". ");
    html_text(out, json_string_value(json_object_get(schema, "description")));
    buf_add_text(out, "</small>");
    bool is_choice = json_is_array(json_object_get(schema, "enum"));
    buf_add_text(out, is_choice ? "<select name=\"" : "<input name=\"");
    html_text(out, name);
    buf_add_text(out, required ? "\" required" : "\"");
    if (is_choice) {
        write_choice(out, schema, required);
    } else {
        buf_addf(out, " type=\"%s\" autocomplete=\"off\" placeholder=\"",
                 is_secret ? "password" : "text");
        html_text(out, is_text && text && !is_secret ? text : preset);
        buf_add_text(out, "\">");
    }
    buf_add_text(out, "</label>\n");
    free(preset);
}

static void write_choice(struct buf *out, const json_t *schema, bool required)
{
    const json_t *value;
    size_t index;
    buf_add_char(out, '>');
    if (!required) buf_add_text(out, "<option value=\"\">by default</option>");
    json_array_foreach(json_object_get(schema, "enum"), index, value)
    {
        char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
        buf_add_text(out, "<option>");
        html_text(out, text ? text : json_string_value(value));
        buf_add_text(out, "</option>");
        free(text);
    }
    buf_add_text(out, "</select>");
}

/* ---- what it sends ---- */

struct sending {
    struct exchange *exchange;
    json_t *body;
    struct ident id;
};

struct reading {
    const struct catalogue_entry *entry;
    json_t *body, *parameters;
    struct buf problems; /* a list of HTML */
};

static void on_entry(void *arg, const struct catalogue_entry *entry, const struct err *err);
static bool take_field(void *arg, const char *name, const char *value);
static void add_problem(struct buf *out, const char *field, const char *message);
static void answer_refused(struct exchange *exchange, struct buf *takes_problems);
static void on_submitted(void *arg, const struct submit_answer *answer, const struct err *err);

void handle_plain_run(struct exchange *exchange)
{
    struct sending *sending = xcalloc(1, sizeof *sending);
    sending->exchange = exchange;
    entries_find(exchange->api->entries, exchange->word, on_entry, sending);
}

static void on_entry(void *arg, const struct catalogue_entry *entry, const struct err *err)
{
    struct sending *sending = arg;
    struct exchange *exchange = sending->exchange;
    struct submission_box *box = NULL;
    struct door_errors errors = { 0 };
    size_t len;
    if (err) {
        answer_err(exchange, err);
        free(sending);
        return;
    }
    struct reading reading = { entry, json_object(), json_object(), BUF_EMPTY };
    const char *text = http_body(exchange->request, &len);
    json_object_set_new(reading.body, "task_name", json_string(exchange->word));
    json_object_set_new(reading.body, "parameters", reading.parameters);
    if (!form_each(text, len, take_field, &reading))
        add_problem(&reading.problems, "", "the form is not valid");
    bool good = reading.problems.len == 0 &&
                door_check(entry, reading.body, config_int(exchange->api->config, SET_MAX_PARAMS),
                           exchange->grant->actor, &box, &errors, NULL);
    for (size_t i = 0; i < errors.count; i++)
        add_problem(&reading.problems, errors.at[i].field, errors.at[i].message);
    json_decref(reading.body);
    if (good) {
        sending->id = box->submission.id;
        buf_close(&reading.problems);
        submit_task(exchange->api->submitter, box, on_submitted, sending);
    } else {
        answer_refused(exchange, &reading.problems);
        free(sending);
    }
}

/* A list or an object cannot be written but as JSON; a text may begin like one. */
static bool take_json_or_text(const struct reading *reading, const char *name, const char *value,
                              json_t **json, struct err *err)
{
    struct err ignored;
    return params_convert_text(reading->entry->schema, name, value, json, &ignored) ||
           params_parse(value, strlen(value), name, json, err);
}

/* Empty: not given. */
static bool take_field(void *arg, const char *name, const char *value)
{
    struct reading *reading = arg;
    size_t prefix = strlen(OPTION);
    json_t *json = NULL;
    struct err err;
    if (!*value) return true;
    if (strcmp(name, OPTION "priority") == 0) {
        char *end;
        long priority = strtol(value, &end, 10);
        json_object_set_new(reading->body, "priority",
                            *end ? json_string(value) : json_integer(priority));
    } else if (strcmp(name, OPTION "queue") == 0 || strcmp(name, OPTION "delay") == 0) {
        json_object_set_new(reading->body, name + prefix, json_string(value));
    } else if (*value == '[' || *value == '{'
                   ? take_json_or_text(reading, name, value, &json, &err)
                   : params_convert_text(reading->entry->schema, name, value, &json, &err)) {
        json_object_set_new(reading->parameters, name, json);
    } else {
        add_problem(&reading->problems, name, err.text);
    }
    return true;
}

static void add_problem(struct buf *out, const char *field, const char *message)
{
    buf_add_text(out, "<li><b>");
    html_text(out, field);
    buf_add_text(out, "</b> ");
    html_text(out, message);
    buf_add_text(out, "</li>\n");
}

static void answer_refused(struct exchange *exchange, struct buf *takes_problems)
{
    struct buf out = BUF_EMPTY;
    html_begin(&out, "That cannot be run");
    buf_add_text(&out, "<ul>");
    buf_add(&out, buf_text(takes_problems), takes_problems->len);
    buf_add_text(&out, "</ul><p>Go back to change it.</p>");
    html_end(&out);
    buf_close(takes_problems);
    answer_page(exchange, 422, &out);
}

static void on_submitted(void *arg, const struct submit_answer *answer, const struct err *err)
{
    struct sending *sending = arg;
    struct exchange *exchange = sending->exchange;
    char location[sizeof "/plain/tasks/" + IDENT_TEXT_SIZE] = "/plain/tasks/";
    struct err wrong;
    if (submit_answer_is_good(answer, err, &sending->id,
                              config_int(exchange->api->config, SET_MAX_WAITING), &wrong)) {
        ident_text(&answer->id, location + strlen(location));
        answer_redirect(exchange, location);
    } else {
        answer_err(exchange, &wrong);
    }
    free(sending);
}
