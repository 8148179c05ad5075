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
    "DROP FUNCTION IF EXISTS cancel_tasks(uuid[]), retry_tasks(uuid[]), delete_tasks(uuid[]);\n";
