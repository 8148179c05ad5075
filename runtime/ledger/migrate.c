/* migrate.c: brings the schema to LEDGER_SCHEMA_VERSION.
 *
 * One DO block, hence one transaction: it takes an advisory lock, then applies each migration whose
 * number is not in schema_version. Of two callers at once the second waits, and finds nothing to
 * do. How many were applied is left in a session setting, since a block answers nothing.
 *
 * Functions keep the search path they are made under: the schema, and behind it pg_temp, which else
 * would come first and let a caller put a table of his own before ours. What a function may do is
 * for its caller's rights to say, so nothing is left to PUBLIC; ledger_grant opens the doors. */
#include "base/mem.h"
#include "ledger/call.h"
#include "ledger/schema.h"

#define MIGRATE_DEADLINE_US 60000000

static const struct migration {
    int version;
    const char *script;
} migrations[] = { { 1, schema_tables }, { 2, schema_second } };

/* Whatever was applied, what is called is today's. A view whose columns change is dropped by a
 * migration. */
static const char *const programs[] = { schema_words,
                                        schema_partitions,
                                        schema_ends,
                                        schema_access,
                                        schema_operate,
                                        schema_catalogue,
                                        schema_check,
                                        schema_door,
                                        schema_news,
                                        schema_figures,
                                        "SELECT make_partitions();\n" };

static void on_migrated(void *arg, const struct pg_answer *answer);
static void version_found(struct call *call, const struct pg_answer *answer);
static void add_script(struct buf *script, const char *namespace);
static void add_migration(struct buf *script, const struct migration *migration);
static void add_programs(struct buf *script, const char *quoted);
static void add_quoted(struct buf *out, const char *text, char quote);

/* clang-format off */
static const struct pg_statement APPLIED = {
    "applied", "SELECT coalesce(current_setting('ctutor.applied', true), '0')::int8"
};
static const struct pg_statement PRESENT = {
    "schema_present",
    "SELECT (to_regclass(format('%I.schema_version', $1)) IS NOT NULL)::int4::int8"
};
static const struct pg_statement VERSION = {
    "schema_version", "SELECT coalesce(max(version), 0)::int8 FROM schema_version"
};
static const struct pg_statement GRANT = {
    "grant", "SELECT grant_door($1, $2)::int4::int8"
};
/* clang-format on */

void ledger_migrate(struct ledger *ledger, ledger_done_fn *done, void *arg)
{
    struct buf script = BUF_EMPTY;
    add_script(&script, ledger_namespace(ledger));
    struct call *call = call_plain(ledger, done, arg);
    pg_script(ledger_pg(ledger), buf_text(&script), MIGRATE_DEADLINE_US, on_migrated, call);
    buf_close(&script);
}

static void on_migrated(void *arg, const struct pg_answer *answer)
{
    struct call *call = arg;
    if (answer->err) {
        call->answered(call, answer);
    } else {
        call_send(call, &APPLIED);
    }
}

void ledger_schema_version(struct ledger *ledger, ledger_done_fn *done, void *arg)
{
    struct call *call = call_new(ledger, sizeof *call, version_found, arg);
    call->done = done;
    pg_text(&call->params, ledger_namespace(ledger));
    call_send(call, &PRESENT);
}

static void version_found(struct call *call, const struct pg_answer *answer)
{
    bool is_there = !answer->err && pg_get_int8(answer->rows, 0, 0) == 1;
    if (is_there) {
        call_send(call_plain(call->ledger, call->done, call->arg), &VERSION);
    } else {
        call->done(call->arg, 0, answer->unknown, answer->err);
    }
    call_free(call);
}

void ledger_grant(struct ledger *ledger, const char *door, const char *role, ledger_done_fn *done,
                  void *arg)
{
    struct call *call = call_plain(ledger, done, arg);
    pg_text(&call->params, door);
    pg_text(&call->params, role);
    call_send(call, &GRANT);
}

static void add_script(struct buf *script, const char *namespace)
{
    struct buf quoted = BUF_EMPTY;  /* an identifier */
    struct buf literal = BUF_EMPTY; /* the same as a literal */
    add_quoted(&quoted, namespace, '"');
    add_quoted(&literal, buf_text(&quoted), '\'');
    buf_addf(script,
             "DO $ctutor$ BEGIN\n"
             "PERFORM pg_advisory_xact_lock(hashtextextended(%s || ' schema', 0));\n"
             "IF to_regnamespace(%s) IS NULL THEN CREATE SCHEMA %s; END IF;\n"
             "PERFORM set_config('search_path', %s || ', pg_temp', true);\n"
             "PERFORM set_config('ctutor.applied', '0', false);\n"
             "IF to_regclass('schema_version') IS NULL THEN\n"
             "  CREATE TABLE schema_version (version integer PRIMARY KEY,\n"
             "                               applied_at timestamptz NOT NULL DEFAULT now());\n"
             "END IF;\n",
             buf_text(&literal), buf_text(&literal), buf_text(&quoted), buf_text(&literal));
    for (size_t i = 0; i < COUNT_OF(migrations); i++) add_migration(script, &migrations[i]);
    add_programs(script, buf_text(&quoted));
    buf_add_text(script, "END $ctutor$;");
    buf_close(&quoted);
    buf_close(&literal);
}

static void add_migration(struct buf *script, const struct migration *migration)
{
    buf_addf(script,
             "IF NOT EXISTS (SELECT FROM schema_version WHERE version = %d) THEN\n"
             "EXECUTE $migration$\n",
             migration->version);
    buf_add_text(script, migration->script);
    buf_addf(script,
             "$migration$;\n"
             "INSERT INTO schema_version (version) VALUES (%d);\n"
             "PERFORM set_config('ctutor.applied',\n"
             "                   (current_setting('ctutor.applied')::int + 1)::text, false);\n"
             "END IF;\n",
             migration->version);
}

static void add_programs(struct buf *script, const char *quoted)
{
    buf_add_text(script, "IF current_setting('ctutor.applied') <> '0' THEN\n"
                         "EXECUTE $programs$\n");
    for (size_t i = 0; i < COUNT_OF(programs); i++) buf_add_text(script, programs[i]);
    buf_addf(script,
             "$programs$;\n"
             "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA %s FROM PUBLIC;\n"
             "END IF;\n",
             quoted);
}

static void add_quoted(struct buf *out, const char *text, char quote)
{
    buf_add_char(out, quote);
    for (; *text; text++) {
        if (*text == quote) buf_add_char(out, quote);
        buf_add_char(out, *text);
    }
    buf_add_char(out, quote);
}
