/* filter.c: see filter.h. */
#include "cli/filter.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/submit_options.h"

static bool read_statuses(const char *text, char **out, struct err *err);
static bool read_moment(const struct cli_args *args, const char *option, int64_t *wall_us,
                        struct err *err);

bool filter_read(const struct cli_args *args, struct filter *out, struct err *err)
{
    static const char *const names[] = { "status", "name",  "queue", "tag",
                                         "worker", "since", "until" };
    size_t tags = cli_count(args, "tag");
    *out = (struct filter){ .filter = { .name = cli_value(args, "name"),
                                        .queue = cli_value(args, "queue"),
                                        .worker = cli_value(args, "worker"),
                                        .tag_count = tags } };
    for (size_t i = 0; i < COUNT_OF(names); i++) out->is_any |= cli_has(args, names[i]);
    out->tags = xcalloc(tags + 1, sizeof *out->tags);
    for (size_t i = 0; i < tags; i++) out->tags[i] = cli_at(args, "tag", i);
    out->filter.tags = out->tags;
    const char *statuses = cli_value(args, "status");
    bool good = (!statuses || read_statuses(statuses, &out->statuses, err)) &&
                read_moment(args, "since", &out->filter.since_us, err) &&
                read_moment(args, "until", &out->filter.until_us, err);
    out->filter.statuses = out->statuses;
    if (!good) filter_close(out);
    return good;
}

void filter_close(struct filter *filter)
{
    free(filter->statuses);
    free(filter->tags);
    *filter = (struct filter){ 0 };
}

/* Any case, separated by commas. gives */
static bool read_statuses(const char *text, char **out, struct err *err)
{
    char *upper = xstrdup(text), *copy, *rest = NULL;
    for (char *c = upper; *c; c++) *c = (char)toupper((unsigned char)*c);
    copy = xstrdup(upper);
    bool good = strspn(text, ",") < strlen(text);
    const char *wrong = "";
    for (char *word = strtok_r(copy, ",", &rest); word && good; word = strtok_r(NULL, ",", &rest)) {
        enum task_status status;
        good = task_status_parse(word, &status);
        if (!good) wrong = word;
    }
    if (good)
        *out = upper;
    else
        err_set(err, ERR_INPUT,
                "--status takes PENDING, STARTED, RETRY, SUCCESS, FAILURE and REVOKED, "
                "separated by commas; '%.60s' is none of them",
                wrong);
    free(copy);
    if (!good) free(upper);
    return good;
}

/* A duration counts backwards from now. */
static bool read_moment(const struct cli_args *args, const char *option, int64_t *wall_us,
                        struct err *err)
{
    const char *text = cli_value(args, option);
    int64_t ago_us;
    if (!text) return true;
    if (!duration_parse(text, &ago_us, NULL)) return read_time(option, text, wall_us, err);
    *wall_us = clock_wall_us() - ago_us;
    return true;
}
