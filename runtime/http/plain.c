/* plain.c: lists and tasks as pages that need no script. What the ledger answers in JSON, as
 * HTML. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/api.h"
#include "http/html.h"
#include "http/selection.h"

#define PAGE_ROWS 50

struct listing {
    struct exchange *exchange;
    int64_t offset;
};

static void on_list(void *arg, const char *json, size_t len, const struct err *err);
static void write_filter(struct buf *out, const struct exchange *exchange);
static void write_rows(struct buf *out, const json_t *tasks);
static void write_pages(struct buf *out, const struct listing *listing, const json_t *list);
static void on_task(void *arg, const char *json, size_t len, const struct err *err);
static void write_fact(struct buf *out, const char *name, const json_t *value);
static void write_json(struct buf *out, const char *title, const json_t *value);

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* ---- the list ---- */

void handle_plain_list(struct exchange *exchange)
{
    struct selection selection;
    struct listing *listing;
    int64_t offset = 0;
    if (!query_int(exchange, "offset", 0, 1000000000, &offset) ||
        !selection_from_query(exchange, &selection))
        return;
    listing = xcalloc(1, sizeof *listing);
    *listing = (struct listing){ exchange, offset };
    selection.filter.limit = PAGE_ROWS;
    selection.filter.offset = offset;
    ledger_list(exchange->api->lists, &selection.filter, on_list, listing);
    selection_close(&selection);
}

static void on_list(void *arg, const char *json, size_t len, const struct err *err)
{
    struct listing *listing = arg;
    struct exchange *exchange = listing->exchange;
    if (err) {
        answer_err(exchange, err);
    } else {
        struct buf out = BUF_EMPTY;
        json_t *list = params_load(json, len);
        html_begin(&out, "Tasks");
        write_filter(&out, exchange);
        write_rows(&out, json_object_get(list, "tasks"));
        write_pages(&out, listing, list);
        html_end(&out);
        json_decref(list);
        answer_page(exchange, 200, &out);
    }
    free(listing);
}

static const char *const asked[] = { "status", "name", "queue", "tag", "since", "text" };

static void write_filter(struct buf *out, const struct exchange *exchange)
{
    buf_add_text(out, "<form class=\"filter\" action=\"/plain\">");
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        buf_addf(out, "<label>%s<input name=\"%s\" value=\"", asked[i], asked[i]);
        html_text(out, http_query(exchange->request, asked[i]));
        buf_add_text(out, "\"></label>");
    }
    buf_add_text(out, "<button>Show</button></form>\n");
}

static void write_rows(struct buf *out, const json_t *tasks)
{
    static const char *const cells[] = { "status", "queue", "created_at", "finished_at" };
    const json_t *task;
    size_t index;
    buf_add_text(out, "<table><thead><tr><th>Task</th><th>Status</th><th>Queue</th>"
                      "<th>Submitted</th><th>Finished</th></tr></thead><tbody>\n");
    json_array_foreach((json_t *)(uintptr_t)tasks, index, task)
    {
        buf_add_text(out, "<tr><td><a href=\"/plain/tasks/");
        html_url(out, text_of(task, "task_id"));
        buf_add_text(out, "\">");
        html_text(out, text_of(task, "task_name"));
        buf_add_text(out, "</a></td>");
        for (size_t i = 0; i < COUNT_OF(cells); i++) {
            buf_add_text(out, "<td>");
            html_text(out, text_of(task, cells[i]));
            buf_add_text(out, "</td>");
        }
        buf_add_text(out, "</tr>\n");
    }
    buf_add_text(out, "</tbody></table>\n");
}

static void write_page_link(struct buf *out, const struct exchange *exchange, int64_t offset,
                            const char *word)
{
    buf_add_text(out, " <a href=\"/plain?");
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        const char *value = http_query(exchange->request, asked[i]);
        if (!value || !*value) continue;
        buf_addf(out, "%s=", asked[i]);
        html_url(out, value);
        buf_add_text(out, "&amp;");
    }
    buf_addf(out, "offset=%lld\">%s</a>", (long long)offset, word);
}

static void write_pages(struct buf *out, const struct listing *listing, const json_t *list)
{
    int64_t total = json_integer_value(json_object_get(list, "total"));
    buf_addf(out, "<p>%lld%s tasks", (long long)total,
             json_is_true(json_object_get(list, "total_capped")) ? " and more" : "");
    if (listing->offset > 0)
        write_page_link(out, listing->exchange,
                        listing->offset > PAGE_ROWS ? listing->offset - PAGE_ROWS : 0, "newer");
    if (json_is_true(json_object_get(list, "has_more")))
        write_page_link(out, listing->exchange, listing->offset + PAGE_ROWS, "older");
    buf_add_text(out, "</p>\n");
}

/* ---- one task ---- */

void handle_plain_task(struct exchange *exchange)
{
    ledger_result(exchange->api->ledger, &exchange->id, on_task, exchange);
}

static void on_task(void *arg, const char *json, size_t len, const struct err *err)
{
    static const char *const facts[] = { "status",     "task_id",     "queue",    "priority",
                                         "attempt",    "failures",    "progress", "created_at",
                                         "started_at", "finished_at", "worker",   "task_version" };
    struct exchange *exchange = arg;
    if (err || len == 0) {
        answer_from_ledger(exchange, json, len, err);
        return;
    }
    struct buf out = BUF_EMPTY;
    json_t *task = params_load(json, len);
    html_begin(&out, text_of(task, "task_name"));
    buf_add_text(&out, "<dl>");
    for (size_t i = 0; i < COUNT_OF(facts); i++)
        write_fact(&out, facts[i], json_object_get(task, facts[i]));
    buf_add_text(&out, "</dl>\n");
    write_json(&out, "Parameters", json_object_get(task, "parameters"));
    if (json_is_true(json_object_get(task, "result_available")))
        write_json(&out, "Result", json_object_get(task, "result"));
    if (json_array_size(json_object_get(task, "errors")) > 0)
        write_json(&out, "Errors", json_object_get(task, "errors"));
    buf_add_text(&out, "<p><a href=\"/plain/run/");
    html_url(&out, text_of(task, "task_name"));
    buf_add_text(&out, "\">Run another</a></p>\n");
    html_end(&out);
    json_decref(task);
    answer_page(exchange, 200, &out);
}

static void write_fact(struct buf *out, const char *name, const json_t *value)
{
    if (!value || json_is_null(value)) return;
    char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
    buf_addf(out, "<dt>%s</dt><dd>", name);
    html_text(out, text ? text : json_string_value(value));
    buf_add_text(out, "</dd>\n");
    free(text);
}

static void write_json(struct buf *out, const char *title, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_INDENT(2));
    buf_addf(out, "<h2>%s</h2><pre>", title);
    html_text(out, text);
    buf_add_text(out, "</pre>\n");
    free(text);
}
