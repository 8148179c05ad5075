/* news.c: what happened to tasks, for those who follow them: of some tasks all, of all tasks what
 * changed lately. */
#include <stdlib.h>
#include <string.h>

#include "ledger/call.h"

#define CHANGES_DEADLINE_US 30000000 /* it may read all that waits */

struct news_call {
    struct call call;
    ledger_news_fn *done;
};
struct changes_call {
    struct call call;
    ledger_changes_fn *done;
};

static void news_answered(struct call *call, const struct pg_answer *answer);
static enum news_kind news_kind(const char *word);
static void changes_answered(struct call *call, const struct pg_answer *answer);

/* clang-format off */
static const struct pg_statement NEWS = {
    "news",
    "SELECT w.n::int4 - 1, e.kind, e.attempt, e.step, e.seq, e.data"
    " FROM unnest($1::uuid[], $2::int4[], $3::int4[], $4::int8[])"
    "  WITH ORDINALITY w (id, attempt, step, seq, n)"
    " CROSS JOIN LATERAL task_news(w.id, w.attempt, w.step, w.seq) WITH ORDINALITY"
    "  e (kind, attempt, step, seq, data, m) ORDER BY w.n, e.m"
};
static const struct pg_statement CHANGES = {
    "changes",
    "SELECT c.id, micros(now()) - micros(c.at), c.attempt, c.status,"
    " status_event(c.id, c.status, c.attempt, c.at) FROM recent_changes($1, $2) c"
};
/* clang-format on */

void ledger_news(struct ledger *ledger, const struct ident *ids, const struct known *known,
                 size_t count, ledger_news_fn *done, void *arg)
{
    struct news_call *news = call_new(ledger, sizeof *news, news_answered, arg);
    struct pg_params *params = &news->call.params;
    news->done = done;
    put_idents(params, ids, count);
    ARRAY_OF(params, PG_OID_INT4, count, pg_item_int4(params, known[i].attempt));
    ARRAY_OF(params, PG_OID_INT4, count, pg_item_int4(params, known[i].step));
    ARRAY_OF(params, PG_OID_INT8, count, pg_item_int8(params, known[i].seq));
    call_send(&news->call, &NEWS);
}

static void news_answered(struct call *call, const struct pg_answer *answer)
{
    struct news_call *of = container_of(call, struct news_call, call);
    const struct pg_rows *rows = answer->rows;
    int count = answer->err ? 0 : pg_row_count(rows);
    struct news *news = xcalloc((size_t)count + 1, sizeof *news);
    for (int row = 0; row < count; row++) {
        size_t len;
        news[row].of = (size_t)pg_get_int4(rows, row, 0);
        news[row].kind = news_kind(pg_get_text(rows, row, 1, &len));
        news[row].known = (struct known){ pg_get_int4(rows, row, 2), pg_get_int4(rows, row, 3),
                                          pg_get_int8(rows, row, 4) };
        news[row].data = pg_get_text(rows, row, 5, &news[row].len);
    }
    of->done(call->arg, news, (size_t)count, answer->err);
    free(news);
    call_free(call);
}

static enum news_kind news_kind(const char *word)
{
    static const char *const words[] = { "status", "log", "progress", "more", "going", "final" };
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strcmp(word, words[i]) == 0) return (enum news_kind)i;
    return NEWS_MISSING;
}

void ledger_changes(struct ledger *ledger, int64_t age_us, int32_t most, ledger_changes_fn *done,
                    void *arg)
{
    struct changes_call *changes = call_new(ledger, sizeof *changes, changes_answered, arg);
    changes->done = done;
    changes->call.deadline_us = CHANGES_DEADLINE_US;
    pg_int8(&changes->call.params, age_us);
    pg_int4(&changes->call.params, most);
    call_send(&changes->call, &CHANGES);
}

static void changes_answered(struct call *call, const struct pg_answer *answer)
{
    struct changes_call *of = container_of(call, struct changes_call, call);
    const struct pg_rows *rows = answer->rows;
    int count = answer->err ? 0 : pg_row_count(rows);
    struct change *changes = xcalloc((size_t)count + 1, sizeof *changes);
    for (int row = 0; row < count; row++) {
        size_t len;
        changes[row].id = pg_get_uuid(rows, row, 0);
        changes[row].age_us = pg_get_int8(rows, row, 1);
        changes[row].attempt = pg_get_int4(rows, row, 2);
        changes[row].status = pg_get_text(rows, row, 3, &len);
        changes[row].data = pg_get_text(rows, row, 4, &changes[row].len);
    }
    of->done(call->arg, changes, (size_t)count, answer->err);
    free(changes);
    call_free(call);
}
