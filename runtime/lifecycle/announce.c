/* announce.c: see announce.h. One buffer, published at the end of the turn. */
#include "lifecycle/announce.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/jsonw.h"
#include "base/mem.h"

#include <stdlib.h>

struct announcer {
    struct loop *loop;
    struct broker *broker;
    struct buf lines;
    struct defer defer;
};

static void on_turn_end(struct defer *defer);
static void line_begin(struct announcer *announcer, struct jsonw *json, const struct ident *id,
                       const char *event);
static void line_end(struct announcer *announcer, struct jsonw *json, int64_t at_us);

struct announcer *announcer_new(struct loop *loop, struct broker *broker)
{
    struct announcer *announcer = xcalloc(1, sizeof *announcer);
    announcer->loop = loop;
    announcer->broker = broker;
    loop_defer_init(&announcer->defer, on_turn_end);
    return announcer;
}

void announcer_free(struct announcer *announcer)
{
    if (!announcer) return;
    loop_defer_cancel(&announcer->defer);
    buf_close(&announcer->lines);
    free(announcer);
}

void announce_status(struct announcer *announcer, const struct ident *id, enum task_status status,
                     int32_t attempt)
{
    struct jsonw json;
    line_begin(announcer, &json, id, "status");
    jsonw_key_text(&json, "status", task_status_text(status));
    jsonw_key_int(&json, "attempt", attempt);
    line_end(announcer, &json, clock_wall_us());
}

void announce_progress(struct announcer *announcer, const struct ident *id, double percent,
                       const char *metadata_json)
{
    struct jsonw json;
    line_begin(announcer, &json, id, "progress");
    jsonw_key(&json, "percentage");
    jsonw_number(&json, percent);
    jsonw_key(&json, "metadata");
    if (metadata_json) {
        jsonw_raw(&json, metadata_json, strlen(metadata_json));
    } else {
        jsonw_null(&json);
    }
    line_end(announcer, &json, clock_wall_us());
}

void announce_log(struct announcer *announcer, const struct ident *id, int32_t attempt,
                  const char *level, const char *text, size_t len, int64_t at_us)
{
    struct jsonw json;
    line_begin(announcer, &json, id, "log");
    jsonw_key_int(&json, "attempt", attempt);
    jsonw_key_text(&json, "level", level);
    jsonw_key(&json, "text");
    jsonw_text_len(&json, text, len);
    line_end(announcer, &json, at_us);
}

static void line_begin(struct announcer *announcer, struct jsonw *json, const struct ident *id,
                       const char *event)
{
    char text[IDENT_TEXT_SIZE];
    ident_text(id, text);
    jsonw_init(json, &announcer->lines);
    jsonw_object(json);
    jsonw_key_text(json, "id", text);
    jsonw_key_text(json, "event", event);
}

static void line_end(struct announcer *announcer, struct jsonw *json, int64_t at_us)
{
    jsonw_key(json, "at");
    jsonw_time(json, at_us);
    jsonw_object_end(json);
    buf_add_char(&announcer->lines, '\n');
    loop_defer(announcer->loop, &announcer->defer);
}

static void on_turn_end(struct defer *defer)
{
    struct announcer *announcer = container_of(defer, struct announcer, defer);
    if (announcer->broker && broker_is_up(announcer->broker)) {
        broker_publish_events(announcer->broker, announcer->lines.data, announcer->lines.len);
    }
    buf_clear(&announcer->lines);
}
