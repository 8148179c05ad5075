/* remote_paths.c: see remote_paths.h. */
#include "cli/remote_paths.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "io/web.h"

/* The conditions of a filter as the API spells them; tags aside. */
struct words {
    char since[TIME_TEXT_SIZE], until[TIME_TEXT_SIZE];
    const char *at[6][2];
};

static void spell(const struct task_filter *filter, struct words *words)
{
    if (filter->since_us) time_text(filter->since_us, words->since);
    if (filter->until_us) time_text(filter->until_us, words->until);
    const char *const all[6][2] = { { "status", filter->statuses },
                                    { "name", filter->name },
                                    { "queue", filter->queue },
                                    { "worker", filter->worker },
                                    { "since", filter->since_us ? words->since : NULL },
                                    { "until", filter->until_us ? words->until : NULL } };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        words->at[i][0] = all[i][0];
        words->at[i][1] = all[i][1];
    }
}

void remote_task_path(char out[REMOTE_PATH_SIZE], const struct ident *id, const char *what)
{
    char text[IDENT_TEXT_SIZE];
    ident_text(id, text);
    snprintf(out, REMOTE_PATH_SIZE, "/tasks/%s%s", text, what);
}

static void add_query(struct buf *query, const char *name, const char *value)
{
    if (!value) return;
    buf_addf(query, "&%s=", name);
    web_add_escaped(query, value);
}

void remote_add_filter(struct buf *query, const struct task_filter *filter)
{
    struct words words;
    spell(filter, &words);
    for (size_t i = 0; i < COUNT_OF(words.at); i++)
        add_query(query, words.at[i][0], words.at[i][1]);
    for (size_t i = 0; i < filter->tag_count; i++) add_query(query, "tag", filter->tags[i]);
}

void remote_filter_body(struct buf *json, const struct task_filter *filter)
{
    struct words words;
    struct jsonw w;
    spell(filter, &words);
    jsonw_init(&w, json);
    jsonw_object(&w);
    jsonw_key(&w, "filter");
    jsonw_object(&w);
    for (size_t i = 0; i < COUNT_OF(words.at); i++)
        if (words.at[i][1]) jsonw_key_text(&w, words.at[i][0], words.at[i][1]);
    if (filter->tag_count) {
        jsonw_key(&w, "tag");
        jsonw_array(&w);
        for (size_t i = 0; i < filter->tag_count; i++) jsonw_text(&w, filter->tags[i]);
        jsonw_array_end(&w);
    }
    jsonw_object_end(&w);
    jsonw_object_end(&w);
}
