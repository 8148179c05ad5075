/* figures.c: how much was done. The work is in schema_figures.c. */
#include "ledger/call.h"

#define FIGURES_DEADLINE_US 30000000 /* a minute of a busy system is half a million rows */

/* clang-format off */
static const struct pg_statement ROLL = {
    "figures_roll", "SELECT roll_figures($1 * interval '1 microsecond')"
};
static const struct pg_statement FIGURES = {
    "figures",
    "SELECT stats_json($1 * interval '1 microsecond', $2 * interval '1 microsecond', $3, $4)::text"
};
static const struct pg_statement METRICS = { "metrics", "SELECT metrics_json()::text" };
/* clang-format on */

void ledger_figures_roll(struct ledger *ledger, int64_t lag_us, ledger_done_fn *done, void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    call->deadline_us = FIGURES_DEADLINE_US;
    pg_int8(&call->params, lag_us);
    call_send(call, &ROLL);
}

void ledger_figures(struct ledger *ledger, int64_t since_us, int64_t step_us, const char *name,
                    const char *queue, ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_int8(&call->params, since_us);
    pg_int8(&call->params, step_us);
    pg_text(&call->params, name);
    pg_text(&call->params, queue);
    call_send(call, &FIGURES);
}

void ledger_metrics(struct ledger *ledger, ledger_json_fn *done, void *arg)
{
    call_send(call_json(ledger, done, arg), &METRICS);
}
