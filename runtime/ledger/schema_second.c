/* schema_second.c: the second migration: what the doors keep, and what a hook may cost. */
#include "ledger/schema.h"

/* clang-format off */
const char schema_second[] =
    /* As what a hook runs where it does; a process that died with it on the CPU is a loss. */
    "ALTER TABLE hooks_owed ADD COLUMN claim uuid,\n"
    "  ADD COLUMN losses integer NOT NULL DEFAULT 0;\n"
    /* What SQL's submit takes: the leader's CTUTOR_MAX_PARAMS. */
    "ALTER TABLE keeper ADD COLUMN max_params bigint NOT NULL DEFAULT 1048576;\n"
    /* Answers to repeated requests; a day old, they are forgotten. */
    "CREATE TABLE idempotency (\n"
    "  key text PRIMARY KEY,                            -- of one client: his token's id is in it\n"
    "  body text NOT NULL,                              -- hash of what was asked\n"
    "  task uuid NOT NULL, created_at timestamptz NOT NULL DEFAULT now()\n"
    ");\n"
    "CREATE INDEX idempotency_created_at ON idempotency (created_at);\n"
    /* Most tasks have no parent, and cost this nothing. */
    "CREATE INDEX tasks_parent ON tasks (parent_id, id) WHERE parent_id IS NOT NULL;\n"
    /* Who may ask for what. Never deleted: that one was made closes the API to strangers for good.
     * A session is a browser's, and lives no longer than the token that opened it. */
    "CREATE TABLE tokens (\n"
    "  id text PRIMARY KEY, hash bytea NOT NULL,        -- of its secret\n"
    "  name text NOT NULL, scope text NOT NULL,         -- read submit admin\n"
    "  tasks text, own boolean NOT NULL,                -- glob of names; only what it submitted\n"
    "  session boolean NOT NULL, parent text REFERENCES tokens,\n"
    "  created_at timestamptz NOT NULL DEFAULT now(), created_by text NOT NULL,\n"
    "  expires_at timestamptz, used_at timestamptz, revoked_at timestamptz\n"
    ");\n"
    "CREATE UNIQUE INDEX tokens_name ON tokens (name) WHERE NOT session AND revoked_at IS NULL;\n"
    /* What operators did, written in the transaction that did it. */
    "CREATE TABLE operations (\n"
    "  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n"
    "  at timestamptz NOT NULL DEFAULT now(), actor text NOT NULL, operation text NOT NULL,\n"
    "  target text NOT NULL, name text, before text, after text\n"
    ");\n"
    "CREATE INDEX operations_at ON operations (at);\n"
    "DROP FUNCTION IF EXISTS cancel_tasks(uuid[]), retry_tasks(uuid[]), delete_tasks(uuid[]);\n"
    /* What happened, by time; see schema_figures.c. Rows written before have no name: they are not
     * counted. */
    "ALTER TABLE outcomes ADD COLUMN name text, ADD COLUMN queue text;\n"
    "ALTER TABLE attempts ADD COLUMN name text, ADD COLUMN queue text,\n"
    "  ADD COLUMN run_at timestamptz;\n"
    "CREATE INDEX IF NOT EXISTS tasks_created_at ON tasks USING brin (created_at)\n"
    "  WITH (autosummarize = on);\n"
    "CREATE INDEX IF NOT EXISTS outcomes_finished_at ON outcomes USING brin (finished_at)\n"
    "  WITH (autosummarize = on);\n"
    "CREATE INDEX IF NOT EXISTS attempts_ended_at ON attempts USING brin (ended_at)\n"
    "  WITH (autosummarize = on);\n"
    /* Histograms are arrays of counts, kinds in the order of FAILURE_KINDS. */
    "CREATE TABLE figures (\n"
    "  minute timestamptz, task text, queue text,       -- minute -infinity: for ever\n"
    "  submitted bigint NOT NULL, succeeded bigint NOT NULL, failed bigint NOT NULL,\n"
    "  revoked bigint NOT NULL, kinds bigint[] NOT NULL,\n"
    "  run_seconds float8 NOT NULL, runs bigint[] NOT NULL,\n"
    "  wait_seconds float8 NOT NULL, waits bigint[] NOT NULL,\n"
    "  PRIMARY KEY (minute, task, queue)\n"
    ") WITH (fillfactor = 50);\n"
    "CREATE TABLE figures_mark (\n"
    "  single boolean PRIMARY KEY DEFAULT true CHECK (single),\n"
    "  until timestamptz NOT NULL DEFAULT now(),        -- what is older lies in figures\n"
    "  safe timestamptz NOT NULL DEFAULT now(),         -- nothing older will appear\n"
    "  ahead timestamptz NOT NULL DEFAULT now(),        -- nor this, once the barrier is passed:\n"
    "  barrier xid8 NOT NULL DEFAULT '0',               -- all transactions below it have ended\n"
    "  depth_at timestamptz\n"
    ");\n"
    "INSERT INTO figures_mark DEFAULT VALUES;\n"
    "CREATE TABLE depths (\n"
    "  minute timestamptz, queue text, waiting bigint NOT NULL, PRIMARY KEY (minute, queue)\n"
    ");\n"
    "CREATE TABLE counts (name text PRIMARY KEY, n bigint NOT NULL);\n";
