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
    "CREATE INDEX tasks_parent ON tasks (parent_id, id) WHERE parent_id IS NOT NULL;\n";
