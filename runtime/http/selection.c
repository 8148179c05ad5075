/* selection.c: see selection.h. Both spellings become (field, value) pairs first. */
#include "http/selection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"

struct reading {
    struct selection *out;
    size_t fields[8]; /* places in texts + 1, in the order of `names`; 0: absent */
    size_t tags[FILTER_TAGS_MAX];
    char field[64]; /* the first that is wrong */
    struct err err;
};

enum { STATUS, NAME, QUEUE, WORKER, SINCE, UNTIL, TEXT, PARENT };
static const char *const names[] = { "status", "name",  "queue", "worker",
                                     "since",  "until", "text",  "parent" };

static bool take(void *arg, const char *field, const char *value);
static bool take_json(struct reading *reading, const char *key, const json_t *value);
static bool wrong(struct reading *reading, const char *field, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
static bool finish(struct exchange *exchange, struct reading *reading);
static bool check_statuses(struct reading *reading, char *statuses);
static bool read_moment(struct reading *reading, int which, int64_t *wall_us);
static bool read_parent(struct reading *reading);

bool selection_from_query(struct exchange *exchange, struct selection *out)
{
    struct reading reading = { .out = out };
    *out = (struct selection){ 0 };
    http_each_query(exchange->request, take, &reading);
    return finish(exchange, &reading);
}

bool selection_from_json(struct exchange *exchange, const json_t *object, struct selection *out)
{
    struct reading reading = { .out = out };
    const char *key;
    json_t *value;
    *out = (struct selection){ 0 };
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (!take_json(&reading, key, value)) break;
    }
    return finish(exchange, &reading);
}

/* false: enough was wrong. Other fields of a query are somebody else's. */
static bool take(void *arg, const char *field, const char *value)
{
    struct reading *reading = arg;
    struct selection *out = reading->out;
    size_t place = out->texts.len + 1;
    if (!utf8_is_valid(value, strlen(value))) return wrong(reading, field, "is not valid UTF-8");
    if (strcmp(field, "tag") == 0) {
        if (out->filter.tag_count == FILTER_TAGS_MAX)
            return wrong(reading, field, "%d at the most", FILTER_TAGS_MAX);
        reading->tags[out->filter.tag_count++] = place;
    } else {
        size_t which = 0;
        while (which < COUNT_OF(names) && strcmp(field, names[which]) != 0) which++;
        if (which == COUNT_OF(names)) return true;
        reading->fields[which] = place;
    }
    out->is_any = true;
    buf_add(&out->texts, value, strlen(value) + 1);
    return true;
}

/* status and tag may be arrays of texts. */
static bool take_json(struct reading *reading, const char *key, const json_t *value)
{
    bool is_status = strcmp(key, "status") == 0, is_tag = strcmp(key, "tag") == 0,
         is_known = is_tag;
    struct buf joined = BUF_EMPTY;
    size_t index;
    json_t *item;
    bool good = true;
    for (size_t i = 0; i < COUNT_OF(names); i++) is_known = is_known || strcmp(key, names[i]) == 0;
    if (!is_known) return wrong(reading, key, "is no condition of a filter");
    if (json_is_null(value)) return true;
    if (json_is_string(value)) return take(reading, key, json_string_value(value));
    if (!json_is_array(value) || (!is_status && !is_tag))
        return wrong(reading, key, "must be text%s",
                     is_status || is_tag ? " or a list of texts" : "");
    json_array_foreach(value, index, item)
    {
        const char *text = json_string_value(item);
        if (!text) good = wrong(reading, key, "must be text or a list of texts");
        if (good && is_tag) good = take(reading, key, text);
        if (good && is_status) buf_addf(&joined, "%s%s", joined.len ? "," : "", text);
    }
    if (good && is_status) good = take(reading, key, buf_text(&joined));
    buf_close(&joined);
    return good;
}

static bool wrong(struct reading *reading, const char *field, const char *fmt, ...)
{
    va_list args;
    char text[200];
    if (reading->field[0]) return false;
    strncat(reading->field, *field ? field : "?", sizeof reading->field - 1);
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return err_set(&reading->err, ERR_INPUT, "%s", text);
}

static char *text_at(const struct reading *reading, size_t place)
{
    return place ? reading->out->texts.data + place - 1 : NULL;
}

static bool finish(struct exchange *exchange, struct reading *reading)
{
    struct task_filter *filter = &reading->out->filter;
    char *statuses = text_at(reading, reading->fields[STATUS]);
    bool good = !reading->field[0] && (!statuses || check_statuses(reading, statuses)) &&
                read_moment(reading, SINCE, &filter->since_us) &&
                read_moment(reading, UNTIL, &filter->until_us) && read_parent(reading);
    if (!good) {
        answer_field(exchange, reading->field, "%s", reading->err.text);
        selection_close(reading->out);
        return false;
    }
    filter->statuses = statuses;
    filter->name = text_at(reading, reading->fields[NAME]);
    filter->queue = text_at(reading, reading->fields[QUEUE]);
    filter->worker = text_at(reading, reading->fields[WORKER]);
    filter->text = text_at(reading, reading->fields[TEXT]);
    for (size_t i = 0; i < filter->tag_count; i++)
        reading->out->tags[i] = text_at(reading, reading->tags[i]);
    filter->tags = reading->out->tags;
    filter->only_like = exchange->grant->like;
    filter->only_by = grant_owner(exchange->grant);
    return true;
}

static bool check_statuses(struct reading *reading, char *statuses)
{
    char *copy = xstrdup(statuses), *rest = NULL;
    bool good = *statuses != '\0';
    for (char *word = strtok_r(copy, ",", &rest); word && good; word = strtok_r(NULL, ",", &rest)) {
        enum task_status status;
        good = task_status_parse(word, &status);
    }
    free(copy);
    return good || wrong(reading, "status",
                         "takes PENDING, STARTED, RETRY, SUCCESS, FAILURE and REVOKED, separated "
                         "by commas");
}

/* A duration counts backwards from now. */
static bool read_moment(struct reading *reading, int which, int64_t *wall_us)
{
    const char *text = text_at(reading, reading->fields[which]);
    int64_t ago_us;
    struct err err;
    if (!text) return true;
    if (duration_parse(text, &ago_us, NULL)) {
        *wall_us = clock_wall_us() - ago_us;
        return true;
    }
    return time_parse(text, wall_us, &err) || wrong(reading, names[which], "%s", err.text);
}

static bool read_parent(struct reading *reading)
{
    const char *text = text_at(reading, reading->fields[PARENT]);
    return !text || ident_parse(text, &reading->out->filter.parent) ||
           wrong(reading, "parent", "is no task id");
}

void selection_close(struct selection *filter) { buf_close(&filter->texts); }

bool query_int(struct exchange *exchange, const char *name, int64_t min, int64_t max, int64_t *out)
{
    const char *text = http_query(exchange->request, name);
    char *end;
    if (!text) return true;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*text && !*end && !errno && value >= min && value <= max) {
        *out = value;
        return true;
    }
    answer_field(exchange, name, "must be a whole number from %lld to %lld", (long long)min,
                 (long long)max);
    return false;
}

bool query_bool(struct exchange *exchange, const char *name, bool *out)
{
    const char *text = http_query(exchange->request, name);
    if (!text) return true;
    *out = !*text || strcmp(text, "true") == 0;
    if (*out || strcmp(text, "false") == 0) return true;
    answer_field(exchange, name, "must be true or false");
    return false;
}
