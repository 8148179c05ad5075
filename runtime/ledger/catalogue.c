/* catalogue.c: what tasks there are, in Postgres, so that every door can check and describe them
 * without a line of Lua. The newest successful load of any worker defines an entry. */
#include "ledger/call.h"

/* clang-format off */
static const struct pg_statement PUBLISH = {
    "catalogue_publish", "SELECT 0::int8 FROM (SELECT publish($1, $2::json)) p"
};
static const struct pg_statement FIND = {
    "catalogue_find", "SELECT entry::text FROM catalogue WHERE name = $1 AND NOT removed"
};
static const struct pg_statement LIST = {
    "catalogue_list",
    "SELECT coalesce(json_agg(row_to_json(t) ORDER BY t.name), '[]')::text "
    "FROM task_types t WHERE $1::text IS NULL OR t.name = $1"
};
/* clang-format on */

void ledger_catalogue_publish(struct ledger *ledger, const struct ident *supervisor,
                              const char *json, size_t len, ledger_done_fn *done, void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    pg_uuid(&call->params, supervisor);
    pg_text_len(&call->params, json, len);
    call_send(call, &PUBLISH);
}

void ledger_catalogue_find(struct ledger *ledger, const char *name, ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_text(&call->params, name);
    call_send(call, &FIND);
}

void ledger_catalogue_list(struct ledger *ledger, const char *name, ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_text(&call->params, name);
    call_send(call, &LIST);
}
