/* schema_second.c: what the doors keep.
 * The second migration. */
#include "ledger/schema.h"

/* clang-format off */
const char schema_second[] =
    /* Answers to repeated requests; a day old, they are forgotten. */
    "CREATE TABLE idempotency (\n"
    "  key text PRIMARY KEY,                            -- of one client: his token's id is in it\n"
    "  body text NOT NULL,                              -- hash of what was asked\n"
    "  task uuid NOT NULL, created_at timestamptz NOT NULL DEFAULT now()\n"
    ");\n"
    "CREATE INDEX idempotency_created_at ON idempotency (created_at);\n"
    /* What changed lately: rows lie nearly in the order of their times. */
    "CREATE INDEX outcomes_finished_at ON outcomes USING brin (finished_at)\n"
    "  WITH (autosummarize = on);\n"
    "CREATE INDEX attempts_ended_at ON attempts USING brin (ended_at)\n"
    "  WITH (autosummarize = on);\n";
