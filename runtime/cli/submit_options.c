/* submit_options.c: see submit_options.h. What is refused here is only what cannot be said in JSON;
 * the door judges the rest. */
#include "cli/submit_options.h"

#include <string.h>

#include "base/clock.h"
#include "cli/options.h"
#include "cli/output.h"

const struct cli_option submit_options[] = {
    { "params", "JSON|@FILE|-", "all parameters as one JSON object", false },
    { "queue", "Q", "this queue instead of the task's", false },
    { "priority", "0-10", "higher starts first; default: the task's", false },
    { "delay", "D", "start it after this time (250ms, 10s, 5m, 2h, 1d)", false },
    { "at", "TIME", "start it then: 2026-11-24T08:00:00Z, or '2026-11-24 08:00' in local time",
      false },
    { "timeout", "D", "limit of one attempt; false: none", false },
    { "retries", "N", "failed attempts that are tried again", false },
    { "expires", "D", "forget it when it was not started until then", false },
    { "unique", "KEY", "only one task of this name and key at a time", false },
    { "id", "UUID", "the id (UUIDv7): repeating a submit with it is harmless", false },
    { "tag", "T", "label it; may be repeated", true },
    { "wait", "[D]", "wait for the result (at most D) and print it", false },
    { "bulk", "FILE|-", "submit one JSON object a line", false },
    { 0 }
};

static bool add_numbers(const struct cli_args *args, json_t *body, struct err *err);
static bool add_times(const struct cli_args *args, json_t *body, struct err *err);
static bool add_text(const struct cli_args *args, const char *option, json_t *body,
                     const char *field, struct err *err);
static bool add_tags(const struct cli_args *args, json_t *body, struct err *err);

bool submit_body(const struct cli_args *args, const char *name, json_t *takes_parameters,
                 json_t **out, struct err *err)
{
    json_t *body = json_object();
    json_object_set_new(body, "task_name", json_string(name));
    json_object_set_new(body, "parameters", takes_parameters);
    bool good = add_text(args, "queue", body, "queue", err) &&
                add_text(args, "unique", body, "unique_key", err) &&
                add_text(args, "id", body, "id", err) && add_tags(args, body, err) &&
                add_numbers(args, body, err) && add_times(args, body, err);
    if (good)
        *out = body;
    else
        json_decref(body);
    return good;
}

static bool add_numbers(const struct cli_args *args, json_t *body, struct err *err)
{
    int64_t priority = 0, retries = 0;
    if (!cli_int(args, "priority", 0, 10, &priority, err)) return false;
    if (!cli_int(args, "retries", 0, 1000, &retries, err)) return false;
    if (cli_has(args, "priority")) json_object_set_new(body, "priority", json_integer(priority));
    if (cli_has(args, "retries")) json_object_set_new(body, "retries", json_integer(retries));
    return true;
}

static bool add_times(const struct cli_args *args, json_t *body, struct err *err)
{
    const char *timeout = cli_value(args, "timeout"), *at = cli_value(args, "at");
    bool is_false = timeout && strcmp(timeout, "false") == 0;
    if (is_false) json_object_set_new(body, "timeout", json_false());
    if (!is_false && !add_text(args, "timeout", body, "timeout", err)) return false;
    if (!add_text(args, "delay", body, "delay", err)) return false;
    if (!add_text(args, "expires", body, "expires", err)) return false;
    if (!at) return true;
    int64_t wall_us;
    char text[TIME_TEXT_SIZE];
    if (cli_has(args, "delay"))
        return err_set(err, ERR_INPUT, "--at cannot be given together with --delay");
    if (!read_time("at", at, &wall_us, err)) return false;
    time_text(wall_us, text);
    json_object_set_new(body, "run_at", json_string(text));
    return true;
}

static bool add_text(const struct cli_args *args, const char *option, json_t *body,
                     const char *field, struct err *err)
{
    const char *text = cli_value(args, option);
    if (!text || json_object_set_new(body, field, json_string(text)) == 0) return true;
    return err_set(err, ERR_INPUT, "--%s is not valid UTF-8", option);
}

static bool add_tags(const struct cli_args *args, json_t *body, struct err *err)
{
    size_t count = cli_count(args, "tag");
    json_t *tags = json_array();
    bool good = true;
    for (size_t i = 0; good && i < count; i++)
        good = json_array_append_new(tags, json_string(cli_at(args, "tag", i))) == 0 ||
               err_set(err, ERR_INPUT, "--tag is not valid UTF-8");
    if (count) json_object_set(body, "tags", tags);
    json_decref(tags);
    return good;
}

/* Whether a zone is written shows in the last characters: Z, +HH:MM or -HH:MM behind a clock. */
static bool has_zone(const char *text)
{
    const char *clock = strchr(text, ':');
    return clock && strpbrk(clock, "Zz+-");
}

bool read_time(const char *option, const char *text, int64_t *wall_us, struct err *err)
{
    char utc[TIME_TEXT_SIZE];
    if (!time_parse(text, wall_us, err)) return err_wrap(err, "--%s", option);
    if (has_zone(text)) return true;
    struct buf local = BUF_EMPTY;
    output_add_local_time(&local, *wall_us);
    time_text(*wall_us, utc);
    output_note("--%s %s: understood as %s local time, %s", option, text, buf_text(&local), utc);
    buf_close(&local);
    return true;
}
