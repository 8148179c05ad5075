/* examine.c: what kind of server this is and what we may do there, and the traces that a trial of
 * it leaves. */
#include "ledger/call.h"

/* clang-format off */
/* What a new session would get for synchronous_commit is its reset value: ours is set by each of our
 * connections. Of the schema (absent: null) every table must be ours to change; only an owner may
 * attach partitions. */
static const struct pg_statement EXAMINE = {
    "examine",
    "SELECT json_build_object("
    " 'version', current_setting('server_version'),"
    " 'version_number', current_setting('server_version_num')::int4,"
    " 'fsync', current_setting('fsync') = 'on',"
    " 'full_page_writes', current_setting('full_page_writes') = 'on',"
    " 'synchronous_commit', current_setting('synchronous_commit'),"
    " 'synchronous_commit_of_others',"
    "  (SELECT s.reset_val FROM pg_settings s WHERE s.name = 'synchronous_commit'),"
    " 'search_path', current_setting('search_path'),"
    " 'statement_timeout', current_setting('statement_timeout'),"
    " 'autovacuum', current_setting('autovacuum') = 'on' AND current_setting('track_counts') = 'on',"
    " 'read_only', current_setting('transaction_read_only') = 'on',"
    " 'in_recovery', pg_is_in_recovery(),"
    " 'user', current_user::text,"
    " 'now_us', (extract(epoch FROM clock_timestamp()) * 1000000)::int8,"
    " 'connections', current_setting('max_connections')::int4,"
    " 'reserved', current_setting('superuser_reserved_connections')::int4"
    "  + coalesce(current_setting('reserved_connections', true), '0')::int4,"
    " 'used', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
    " 'role_limit', (SELECT r.rolconnlimit FROM pg_roles r WHERE r.rolname = current_user),"
    " 'database_limit', (SELECT d.datconnlimit FROM pg_database d"
    "  WHERE d.datname = current_database()),"
    " 'schema', to_regnamespace(quote_ident($1))::text,"
    " 'may_use', has_schema_privilege(to_regnamespace(quote_ident($1)), 'USAGE'),"
    " 'may_create', has_schema_privilege(to_regnamespace(quote_ident($1)), 'CREATE'),"
    " 'may_make_schema', has_database_privilege(current_database(), 'CREATE'),"
    " 'denied', (SELECT string_agg(c.relname, ', ' ORDER BY c.relname) FROM pg_class c"
    "  WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND c.relkind IN ('r', 'p')"
    "   AND c.relname <> 'schema_version' AND NOT c.relispartition"
    "   AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')"
    "    AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))),"
    " 'owns', (SELECT bool_and(pg_has_role(c.relowner, 'USAGE')) FROM pg_class c"
    "  WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND c.relkind = 'p'),"
    " 'unvacuumed', (SELECT string_agg(c.relname, ', ') FROM pg_class c"
    "  WHERE c.relnamespace = to_regnamespace(quote_ident($1))"
    "   AND 'autovacuum_enabled=false' = ANY (c.reloptions)))::text"
};
/* Weeks that lie wholly ahead: an id made then has a place to go to. */
static const struct pg_statement AHEAD = {
    "examine_ahead", "SELECT count(*) FROM weeks WHERE ends_at > now() + interval '1 week'"
};
static const struct pg_statement REMOVE = {
    "trial_remove",
    "WITH a AS (DELETE FROM active WHERE id = $1),"
    " w AS (DELETE FROM workers WHERE incarnation = $2) "
    "SELECT forget_tasks(ARRAY[$1])"
};
/* clang-format on */

void ledger_examine(struct ledger *ledger, ledger_json_fn *done, void *arg)
{
    struct call *call = call_json(ledger, done, arg);
    pg_text(&call->params, ledger_namespace(ledger));
    call_send(call, &EXAMINE);
}

void ledger_weeks_ahead(struct ledger *ledger, ledger_done_fn *done, void *arg)
{
    call_send(call_plain(ledger, done, arg), &AHEAD);
}

void ledger_trial_remove(struct ledger *ledger, const struct ident *id,
                         const struct ident *incarnation, ledger_done_fn *done, void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    pg_uuid(&call->params, id);
    pg_uuid(&call->params, incarnation);
    call_send(call, &REMOVE);
}
