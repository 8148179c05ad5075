/* wait_tell.c: see wait_tell.h. */
#include "cli/wait_tell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "cli/member.h"
#include "cli/progress.h"

#define BAR_EVERY_US INT64_C(100000)

static void tell(struct telling *telling, const struct buf *line, bool is_progress);

void telling_init(struct telling *telling, struct app *app, const struct wait_options *options,
                  const struct ident *id)
{
    *telling = (struct telling){
        .app = app, .options = options, .begin_us = clock_boot_us(), .percent = -1
    };
    telling->has_bar = app->terminal_err && !(app->json && app->terminal_out);
    ident_text(id, telling->id_text);
}

void telling_close(struct telling *telling)
{
    if (telling->has_bar) progress_hide();
    json_decref(telling->metadata);
    telling->metadata = NULL;
}

static void line_begin(struct telling *telling, struct jsonw *w, struct buf *line,
                       const char *event)
{
    jsonw_init(w, line);
    jsonw_object(w);
    jsonw_key_text(w, "id", telling->id_text);
    jsonw_key_text(w, "event", event);
}

/* at: when it happened; "": since when is not known. */
static void add_at(struct jsonw *w, const char *at)
{
    jsonw_key(w, "at");
    if (*at)
        jsonw_text(w, at);
    else
        jsonw_time(w, clock_wall_us());
}

void tell_status(struct telling *telling, enum task_status status, int64_t attempt, const char *at)
{
    struct buf line = BUF_EMPTY;
    struct jsonw w;
    if (telling->is_told && status == telling->status && attempt == telling->attempt) return;
    telling->is_told = true;
    telling->status = status;
    telling->attempt = attempt;
    line_begin(telling, &w, &line, "status");
    jsonw_key_text(&w, "status", task_status_text(status));
    jsonw_key_int(&w, "attempt", attempt);
    add_at(&w, at);
    jsonw_object_end(&w);
    tell(telling, &line, false);
    buf_close(&line);
}

void tell_progress(struct telling *telling, const json_t *progress, const char *at)
{
    struct buf line = BUF_EMPTY;
    struct jsonw w;
    json_t *percent = json_object_get(progress, "percentage");
    json_t *metadata = json_object_get(progress, "metadata");
    bool is_same = json_number_value(percent) == telling->percent &&
                   (metadata == telling->metadata || json_equal(metadata, telling->metadata));
    bool is_older = strcmp(at, telling->progress_at) < 0; /* the ledger's, than an event */
    if (!json_is_number(percent) || is_same || is_older) return;
    snprintf(telling->progress_at, sizeof telling->progress_at, "%s", at);
    json_decref(telling->metadata);
    telling->metadata = json_incref(metadata);
    telling->percent = json_number_value(percent);
    char *text = json_dumps(metadata, JSON_COMPACT | JSON_ENCODE_ANY);
    line_begin(telling, &w, &line, "progress");
    jsonw_key(&w, "percentage");
    jsonw_number(&w, telling->percent);
    jsonw_key(&w, "metadata");
    jsonw_raw(&w, text ? text : "null", text ? strlen(text) : 4);
    add_at(&w, at);
    jsonw_object_end(&w);
    tell(telling, &line, true);
    free(text);
    buf_close(&line);
}

void tell_log(struct telling *telling, const json_t *log)
{
    struct buf line = BUF_EMPTY;
    struct jsonw w;
    const json_t *text = json_object_get(log, "text");
    line_begin(telling, &w, &line, "log");
    jsonw_key_int(&w, "attempt", member_int(log, "attempt"));
    jsonw_key_text(&w, "level", json_string_value(json_object_get(log, "level")));
    jsonw_key(&w, "text");
    jsonw_text_len(&w, json_string_value(text), json_string_length(text));
    jsonw_key_text(&w, "at", json_string_value(json_object_get(log, "at")));
    jsonw_object_end(&w);
    tell(telling, &line, false);
    buf_close(&line);
}

static void tell(struct telling *telling, const struct buf *line, bool is_progress)
{
    if (!telling->options->news) return;
    json_t *event = params_load(line->data, line->len);
    if (telling->has_bar && telling->app->terminal_out && !is_progress) {
        progress_hide();
        telling->shown_us = 0; /* soon again, below what is printed now */
    }
    telling->options->news(telling->options->arg, line->data, event);
    json_decref(event);
}

void tell_bar(struct telling *telling)
{
    struct buf metadata = BUF_EMPTY;
    if (!telling->has_bar || clock_boot_us() - telling->shown_us < BAR_EVERY_US) return;
    telling->shown_us = clock_boot_us();
    progress_metadata(&metadata, telling->metadata);
    struct progress_view view = { .status = telling->is_told ? task_status_text(telling->status)
                                                             : "asking",
                                  .percent = telling->percent,
                                  .metadata = buf_text(&metadata),
                                  .elapsed_us = clock_boot_us() - telling->begin_us };
    progress_show(&view);
    buf_close(&metadata);
}
